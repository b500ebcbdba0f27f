"""Characters that nobody sees are refused, those that scripts need are not."""

import sys
import unicodedata

import httpx2
import pytest

from bookstore_common.characters import refuse_invisible
from inputs_testing import client, refused

__all__ = ["client"]

WRITTEN = [
    "Nesbø", "Οδυσσεύς", "Ё", "हिन्दी कहानियाँ", "ガラスの仮面", "الأَيَّام", "ภาษาไทย ที่รัก", "한국어",
    "Cafe\u0301", "C++", "R&D.",
    "naïve\u00a0!", "全角\u3000空白",
    # Joiners of Persian, Devanagari, Malayalam and Bengali.
    "می\u200cخواهم", "क्\u200dष", "അവന്\u200d", "শ\u09cd\u200cর",  # noqa: RUF001 # Arabic it is
    "❤\ufe0f", "👩\u200d🚀", "👩🏽\u200d🚀", "🏳\ufe0f\u200d🌈", "1\ufe0f\u20e3", "‼\ufe0f",
]  # fmt: skip
HIDDEN = [
    "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e", "\u200f",
    "\u061c", "\u200b", "\u200c", "\u200d", "\ufeff", "\u2060", "\u00ad", "\u034f", "\u115f", "\u3164", "\uffa0",
    "\u2800", "\u180e", "\ufe00", "\ufe0f", "\U000e0100", "\U000e0041", "\u2028", "\u2029", "\ufff9", "\ufffb",
    "\ue000", "\U0010ffff", "\ufdd0", "\u0378", "\x00", "\x7f", "\x85", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_what_people_write(text: str) -> None:
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, text)
        assert refuse_invisible(written) == written


@pytest.mark.parametrize("hidden", HIDDEN, ids=lambda hidden: f"U+{ord(hidden):04X}")
@pytest.mark.parametrize("text", ["Du{}ne", "{}Dune", "Dune{}", "Dune {}", "नमस्ते {}", "سلام {}"])
def test_what_hides(text: str, hidden: str) -> None:
    with pytest.raises(ValueError, match=rf"must not contain U\+{ord(hidden):04X} "):
        refuse_invisible(text.format(hidden))


def test_every_character_by_its_category() -> None:
    """None of a hidden category passes between letters, and no letter, number or punctuation mark is refused."""
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        try:
            refuse_invisible(f"a{chr(code)}b")
            passed = True
        except ValueError:
            passed = False
        if category in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
            assert not passed, hex(code)
        elif category[0] in "NPZ" or category in {"Lu", "Ll", "Lt", "Lm", "Mc"}:
            assert passed, hex(code)


@pytest.mark.anyio
@pytest.mark.parametrize("field", ["name", "city"])
@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\u00ad", "\ufeff", "\n"])
async def test_the_field_and_the_character_are_named(client: httpx2.AsyncClient, field: str, hidden: str) -> None:
    (error,) = refused(await client.post("/things", json={field: f"Du{hidden}ne"}))["errors"]
    assert (error["field"], error["location"]) == (field, "body")
    assert f"U+{ord(hidden):04X}" in error["message"]


@pytest.mark.anyio
async def test_several_lines(client: httpx2.AsyncClient) -> None:
    story = "one\n\ttwo, co\u00adoperation, \u0e01\u200b\u0e02"
    assert (await client.post("/things", json={"story": story})).json()["story"] == story
    for hidden in ("\u202e", "\u2066", "\u2028", "\x00", "\ue000", "\U000e0041"):
        refused(await client.post("/things", json={"story": f"one\n{hidden}"}))


@pytest.mark.anyio
async def test_queries_are_compared_and_not_refused(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/search", params={"q": "co\u00adoperation"})).json() == "co\u00adoperation"


def test_a_long_text_takes_little_time() -> None:
    """Lengths are checked later, so work must be proportional to what came."""
    assert refuse_invisible("\u3000" * 300_000)
    with pytest.raises(ValueError, match="202E"):
        refuse_invisible("x" * 1_000_000 + "\u202e")
