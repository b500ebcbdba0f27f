"""What a person typed, before PostgreSQL makes a query of it.

Folding, words and the query are the SQL functions of migration 0009, which index the books, too: one folding for both.
"""

import re
from dataclasses import dataclass

_ISBN_LIKE = re.compile(r"97[89][0-9 -]*|[0-9][0-9 -]{7,15}[0-9Xx]")
_ISBN10_LENGTH = 10
_ISBN13_LENGTH = 13


@dataclass(frozen=True, slots=True)
class SearchText:
    """``isbn``: the digits of an ISBN-13 or the start of one, if the text is an ISBN or the start of one."""

    text: str
    isbn: str | None


def parse(value: str) -> SearchText:
    return SearchText(value, _isbn_digits(value))


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
