"""Turns what a person typed into a full-text query.

The column side is the SQL function ``books_search_vector`` of migration 0001, which folds text in the same way.
"""

import re
import unicodedata
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = str.maketrans("", "", "'’‘`´")
_ISBN_LIKE = re.compile(r"97[89][0-9 -]*|[0-9][0-9 -]{7,15}[0-9Xx]")
_ISBN10_LENGTH = 10
_ISBN13_LENGTH = 13


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """``words``: tsquery text of whole words; ``prefixes``: each word as a prefix; ``phrase``: the folded text."""

    words: str
    prefixes: str
    phrase: str


def fold(value: str) -> str:
    """Lower case, no accents, no apostrophes: ``García's`` -> ``garcias``."""
    decomposed = unicodedata.normalize("NFKD", value.translate(_APOSTROPHES))
    return "".join(character for character in decomposed if not unicodedata.combining(character)).lower()


def parse(value: str) -> SearchQuery | None:
    """Return None if nothing searchable remains, for example of ``!!!``."""
    isbn = _isbn_digits(value)
    words = [isbn] if isbn else list(dict.fromkeys(_WORD.findall(fold(value))))
    if not words:
        return None
    return SearchQuery(
        " & ".join(f"'{word}'" for word in words),
        " & ".join(f"'{word}':*" for word in words),
        " ".join(words),
    )


def _isbn_digits(value: str) -> str | None:
    """Digits of an ISBN or the start of one, written with or without hyphens; an ISBN-10 becomes its ISBN-13's start.

    An ISBN-13 is 978, the first nine digits of the ISBN-10, and another check digit (ISO 2108).
    """
    if not _ISBN_LIKE.fullmatch(value):
        return None
    digits = value.replace("-", "").replace(" ", "").upper()
    if len(digits) == _ISBN10_LENGTH and _is_isbn10(digits):
        return f"978{digits[:9]}"
    if digits.startswith(("978", "979")) and len(digits) <= _ISBN13_LENGTH and digits.isdigit():
        return digits
    return None


def _is_isbn10(digits: str) -> bool:
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(weight * value for weight, value in zip(range(10, 0, -1), values, strict=True)) % 11 == 0
