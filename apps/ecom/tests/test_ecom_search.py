"""E-03: what a person types finds what that person means."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from ecom_testing import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecom.books import searching

pytestmark = pytest.mark.anyio
SEARCH = "/ecom/books/search"


async def titles(client: httpx2.AsyncClient, q: str, **query: Any) -> list[str]:
    response = await client.get(SEARCH, params={"q": q, "size": 100, **query})
    assert response.status_code == 200, response.text
    return [item["title"] for item in response.json()["items"]]


@pytest.mark.parametrize(
    ("q", "first"),
    [
        ("dune", "Dune"),
        ("DUNE", "Dune"),
        ("  dune  ", "Dune"),
        ("pride prejudice", "Pride and Prejudice"),
        ("Pride and Prejudice", "Pride and Prejudice"),
        ("prejudice pride", "Pride and Prejudice"),
        ("pridejud", None),
        ("prej", "Pride and Prejudice"),
        ("fellowsh ring", "The Fellowship of the Ring"),
        ("agatha", "Murder on the Orient Express"),
        ("christie orient", "Murder on the Orient Express"),
        ("marquez", "One Hundred Years of Solitude"),
        ("Márquez", "One Hundred Years of Solitude"),
        ("bronte", "Jane Eyre"),
        ("eighty-four", "Nineteen Eighty-Four"),
        ("eighty four", "Nineteen Eighty-Four"),
        ("intensive data", "Designing Data-Intensive Applications"),
        ("design application", "Designing Data-Intensive Applications"),
        ("9780441172719", "Dune"),
        ("978-0-441-17271-9", "Dune"),
        ("978044117", "Dune"),
        ("0-441-17271-7", "Dune"),
        ("germs, steel!", "Guns, Germs, and Steel"),
        ("the hound", "The Hound of the Baskervilles"),
        ("!!!", None),
        ("%", None),
        ("' OR 1=1 --", None),
        ("nothing of this kind", None),
    ],
)
async def test_finds(client: httpx2.AsyncClient, q: str, first: str | None) -> None:
    found = await titles(client, q)
    assert (found[0] if found else None) == first


async def test_genre_is_searched(client: httpx2.AsyncClient) -> None:
    assert set(await titles(client, "science fiction")) >= {"Dune", "Foundation", "Neuromancer"}


async def test_relevance(shop: httpx2.AsyncClient, add_book: Callable[..., str]) -> None:
    add_book("Zest", author="Zed", genre="Winter")
    add_book("Winterbourne", author="Anon")
    add_book("Wintering", author="Anon")
    add_book("A Tale", author="Ann Winter")
    add_book("The Winter Garden", author="Anon")
    add_book("Winter", author="Anon")
    found = await titles(shop, "winter")
    # The title itself, a word of the title, its stem, the author, the beginning of a title's word, the genre.
    assert found == ["Winter", "The Winter Garden", "Wintering", "A Tale", "Winterbourne", "Zest"]


async def test_punctuation_in_titles(shop: httpx2.AsyncClient, add_book: Callable[..., str]) -> None:
    add_book("Catch-22")
    add_book("The Handmaid’s Tale")
    add_book("Slaughterhouse-Five, or The Children's Crusade")
    assert await titles(shop, "catch 22") == ["Catch-22"]
    assert await titles(shop, "catch-22") == ["Catch-22"]
    assert await titles(shop, "handmaid's tale") == ["The Handmaid’s Tale"]
    assert await titles(shop, "handmaid") == ["The Handmaid’s Tale"]
    assert await titles(shop, "slaughterhouse five") == ["Slaughterhouse-Five, or The Children's Crusade"]


async def test_pages(client: httpx2.AsyncClient) -> None:
    whole = await titles(client, "the")
    assert len(whole) > 4
    pages = [title for page in (1, 2, 3) for title in await titles(client, "the", page=page, size=4)]
    assert pages == whole[:12]
    response = await client.get(SEARCH, params={"q": "the", "page": 99})
    assert (response.json()["items"], response.json()["total"]) == ([], len(whole))


@pytest.mark.parametrize(
    "query",
    ["", "q=", "q=%20%20", f"q={'x' * 101}", "q=a%00b", "q=dune%0A", "q=%1b[31m", "q=%7f", "q=a%C2%85b", "q=%09"],
)
async def test_bad_text_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    response = await client.get(f"{SEARCH}?{query}")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["q"]


async def test_length_counts_characters(client: httpx2.AsyncClient) -> None:
    assert await titles(client, "é" * 100) == []


@pytest.fixture
def large(books: Connection) -> Connection:
    """A catalogue of 2,500 books, "the" in each title."""
    books.execute(
        "INSERT INTO books (title, author, price) SELECT 'The Filler ' || n, 'Anon', 1 FROM generate_series(1, 2500) n"
    )
    books.execute("ANALYZE books, book_search")
    return books


async def test_index_is_used(large: Connection) -> None:
    large.execute("SET enable_seqscan = off")
    plan = large.execute("EXPLAIN SELECT book_id FROM book_search WHERE terms @@ '''dune'':*'::tsquery").fetchall()
    assert "book_search_terms_idx" in str(plan)


async def test_frequent_words(shop: httpx2.AsyncClient, large: Connection, add_book: Callable[..., str]) -> None:
    """Only some of the matches are ranked, the same title always is, and pages hold each match once."""
    add_book("The")
    first = (await shop.get(SEARCH, params={"q": "the", "size": 100})).json()
    assert first["items"][0]["title"] == "The"
    assert first["total"] > 2500
    seen: set[str] = set()
    for page in range(1, first["pages"] + 1, 7):
        items = (await shop.get(SEARCH, params={"q": "the", "size": 100, "page": page})).json()["items"]
        assert not seen & {item["id"] for item in items}
        seen |= {item["id"] for item in items}
    assert large.execute("SELECT count(*) FROM book_search").fetchone() == (2531,)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(q=st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=100))
async def test_no_text_breaks_it(client: httpx2.AsyncClient, q: str) -> None:
    response = await client.get(SEARCH, params={"q": q})
    assert response.status_code == (200 if q.strip() else 422), response.text


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("978-0-14-143951-8", "9780141439518"),
        ("978 0141", "9780141"),
        ("0-14-143951-3", "978014143951"),
        ("080442957X", "978080442957"),
        ("0-14-143951-4", None),  # wrong check digit: not an ISBN
        ("1984", None),
        ("97801414395189", None),
        ("978-0 and more", None),
    ],
)
def test_isbn_is_recognised(text: str, digits: str | None) -> None:
    assert searching._isbn_digits(text) == digits
