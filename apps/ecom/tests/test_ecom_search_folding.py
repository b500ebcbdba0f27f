"""E-03: one folding for what is stored and for what is looked for, over all scripts of Unicode."""

# ruff: noqa: RUF001 # look-alikes are what this is about
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx2
import pytest
from ecom_testing import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_ecom_search import titles

from bookstore_common.characters import refuse_invisible

pytestmark = pytest.mark.anyio

PAIRS = [
    # What is looked for, and what is to be found: letters with strokes, ligatures, case without a counterpart.
    ("nesbo", "Nesbø"), ("stanislaw", "Stanisław"), ("grossstadt", "Großstadt"), ("GROSSSTADT", "Großstadt"),
    ("oeuvres", "Œuvres"), ("œuvres", "Oeuvres"), ("aeon", "Æon"), ("dordevic", "Đorđević"), ("thorr", "Þórr"),
    ("diyarbakir", "Diyarbakır"), ("DIYARBAKIR", "Diyarbakır"), ("istanbul", "İSTANBUL"), ("οδυσσευς", "ΟΔΥΣΣΕΥΣ"),
    ("οδυσσεύς", "Οδυσσεύς"), ("full width", "Ｆｕｌｌ Ｗｉｄｔｈ"), ("file", "ﬁle"), ("elephant", "Éléphant"),
    # Arabic without its points, and with other hamzas.
    ("الايام", "الأَيَّام"), ("الأيام", "الأَيَّام"), ("کتاب", "كتاب"),
    # Apostrophes, hyphens, initials, names of several words.
    ("obrien", "O'Brien"), ("obrien", "Oʼ Brien"), ("o'brien", "O’Brien"), ("o brien", "OʼBrien"),
    ("etranger", "L’Étranger"), ("letranger", "L'Étranger"), ("jrr tolkien", "J.R.R. Tolkien"),
    ("jrr tolkien", "J. R. R. Tolkien"),
    ("j. r. r. tolkien", "JRR Tolkien"), ("j r r tolkien", "J.R.R. Tolkien"), ("jk rowling", "J. K. Rowling"),
    ("leguin", "Ursula K. Le Guin"), ("ursula le guin", "Ursula LeGuin"), ("van der meer", "VanderMeer"),
    ("vandermeer", "Van der Meer"), ("ussr", "U. S. S. R."), ("email", "E-mail"), ("e-mail", "Email"),
    ("catch22", "Catch-22"), ("cooperation", "co\u00adoperation"), ("co\u00adoperation", "cooperation"),
    ("co\u200boperation", "cooperation"),
    # Writing without spaces: a part of it, with spaces that are not there, without those that are.
    ("仮面", "ガラスの仮面"), ("ガラスの 仮面", "ガラスの仮面"), ("ガラスの仮面", "ガラスの 仮面"),
    ("面", "ガラスの仮面"), ("ｶﾞﾗｽ", "ガラスの仮面"), ("ไทย", "ภาษาไทย ที่รัก"),
    ("कहानियाँ", "हिन्दी कहानियाँ"), ("한국", "한국어 이야기"),
    ("红楼", "红楼梦"),
    # Symbols only.
    ("1984", "1984"), ("???", "???"), ("🙂", "🙂"), ("c++", "C++"), ("c#", "C#"), ("+", "+"), ("'", "'"), ("´", "´"),
    ("!", "!!"), ("\\", "\\"), ("' \\' \\", "' \\' \\"),
]  # fmt: skip


@pytest.mark.parametrize(("q", "title"), PAIRS)
async def test_other_ways_to_write_it(
    shop: httpx2.AsyncClient, add_book: Callable[..., str], q: str, title: str
) -> None:
    add_book(title, author="Nobody")
    add_book("Nothing of it", author=title)
    assert title in await titles(shop, q)
    assert "Nothing of it" in await titles(shop, q)


@pytest.mark.parametrize(
    ("q", "title"),
    [
        ("仮面の", "ガラスの仮面"),
        ("lion", "Rebellion"),
        ("fantasia", "Fantasy"),
        ("गाय", "गये"),
        ("ガス", "カラス"),
        ("?!", "???"),
    ],
)
async def test_what_is_not_found(shop: httpx2.AsyncClient, add_book: Callable[..., str], q: str, title: str) -> None:
    add_book(title)
    assert title not in await titles(shop, q)


async def test_symbols_tell_equal_words_apart(shop: httpx2.AsyncClient, add_book: Callable[..., str]) -> None:
    for title in ("C", "C# in Depth", "C++ Primer", "C Primer"):
        add_book(title)
    assert (await titles(shop, "c++ primer"))[0] == "C++ Primer"
    assert (await titles(shop, "c# in depth"))[0] == "C# in Depth"


async def test_admins_search_in_the_same_way(admin: Any, add_book: Callable[..., str]) -> None:
    add_book("Doktor Proktors Prompepulver", author="Jo Nesbø", active=False)
    response = await admin.get("/internal/admin/books?q=nesbo")
    assert [item["author"] for item in response.json()["items"]] == ["Jo Nesbø"]


async def test_a_changed_title_is_found_anew(shop: httpx2.AsyncClient, books: Connection) -> None:
    books.execute("UPDATE books SET title = 'Ørkenplaneten' WHERE title = 'Dune'")
    assert await titles(shop, "dune messiah") == []
    assert await titles(shop, "orkenplaneten") == ["Ørkenplaneten"]
    books.execute("DELETE FROM books WHERE title = 'Ørkenplaneten'")
    assert await titles(shop, "ørkenplaneten") == []  # another text: the first one's answer is kept for a minute


def accepted(text: str) -> bool:
    """Whether the API takes it for a title."""
    try:
        return 0 < len(refuse_invisible(text).strip()) <= 255 and not text.isspace()
    except ValueError:
        return False


def variants(title: str) -> set[str]:
    """How somebody else may write it; the first 100 characters are what E-03 takes."""
    forms = {title, title.upper(), title.lower(), title.casefold(), title.swapcase()}
    forms |= {unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD") for text in set(forms)}
    hyphenated = title[:1] + "\u00ad" + title[1:] if title[:1].isalpha() and title[1:2].isalpha() else title
    return forms | {hyphenated, title.strip()[:100]}


def lost(books: Connection, wanted: Iterable[str]) -> list[tuple[str, str]]:
    """Titles, and the ways to write them in which they are not found."""
    pairs = [(title, text) for title in wanted for text in sorted(variants(title)) if text.strip()]
    found = books.execute(
        "SELECT title, q FROM unnest(%s::text[], %s::text[]) AS t (title, q)"
        " WHERE (book_search_terms(title, 'Anon', NULL, NULL) @@ (book_search_query(q)).matches) IS NOT TRUE",
        [[title for title, _ in pairs], [text for _, text in pairs]],
    ).fetchall()
    return [(str(title), str(text)) for title, text in found]


# Ranges that hold thousands of characters of one kind: some of each will do.
_LARGE = (
    (0x3400, 0xA48C), (0xAC00, 0xD7A3), (0xF900, 0xFAD9), (0x12000, 0x16A38), (0x17000, 0x18CD5), (0x1B170, 0x1B2FB),
    (0x1D800, 0x1DAAF), (0x20000, 0x3FFFF),
)  # fmt: skip


def every_character() -> Sequence[str]:
    """All characters that a title may hold, in runs of neighbours, which mostly are of one script."""
    kept = [
        chr(code)
        for code in range(0x20, sys.maxunicode + 1)
        if (code % 97 == 0 or not any(first <= code <= last for first, last in _LARGE)) and accepted(f"a{chr(code)}a")
    ]
    runs = ["".join(kept[place : place + 12]) for place in range(0, len(kept), 12)]
    return [run for run in runs if accepted(run)]


def test_every_character_is_found(books: Connection) -> None:
    runs = every_character()
    assert sum(map(len, runs)) > 20_000
    assert lost(books, runs) == []
    # Also with words around them, and one by one where a script has few.
    assert lost(books, [f"The {run[:3]} of {run[3:5]}s" for run in runs[::5]]) == []
    assert lost(books, [character for run in runs[::10] for character in run[:2] if accepted(character)]) == []


CHARACTERS = st.characters(exclude_categories=["Cc", "Cs", "Cf", "Co", "Cn", "Zl", "Zp"])
WORDS = st.text(CHARACTERS, min_size=1, max_size=12)
TITLES = st.one_of(
    st.text(CHARACTERS, min_size=1, max_size=255), st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
).filter(accepted)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(TITLES, min_size=1, max_size=10))
def test_every_title_is_found_by_itself(books: Connection, wanted: list[str]) -> None:
    assert lost(books, wanted) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=TITLES)
async def test_every_title_is_found_over_http(
    shop: httpx2.AsyncClient, books: Connection, add_book: Callable[..., str], title: str
) -> None:
    books.execute("DELETE FROM books WHERE author = 'Anon'")
    add_book(title)
    q = title.strip()[:100].strip()
    assert title in await titles(shop, q)
