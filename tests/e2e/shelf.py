"""Books with the facts that a test needs, in a genre of its own; the fixture ``goods`` removes them."""

from __future__ import annotations

import random
import secrets
import string
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live.goods import Goods
from tests.live.signin import Shopper, body_of

Book = dict[str, Any]
_CHOICE = random.SystemRandom()


def word() -> str:
    """A word that stands in no other book; letters only, so that the search takes it for a word."""
    return "".join(_CHOICE.choice(string.ascii_lowercase) for _ in range(12))


def isbn() -> str:
    """An ISBN-13 with its check digit."""
    digits = "978" + "".join(_CHOICE.choice(string.digits) for _ in range(9))
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


@dataclass
class Shelf:
    """Makes books as the administrator's pages do, all of one genre."""

    admin: Shopper
    goods: Goods
    genre: str

    def book(self, **fields: Any) -> Book:
        """A new book; ``fields`` are A-04's, ``initial_quantity`` copies of it."""
        usual = {"title": f"E2e {word()}", "author": "A Test", "genre": self.genre, "price": "10.00", "initial_quantity": 50}
        made = body_of(self.admin.send("POST", "/admin/books", {**usual, **fields}))
        self.goods.adopt(made["id"])
        assert made["stock_status"] != "pending", "the stock of a new book could not be set"
        return made


@pytest.fixture
def shelf(admin: Shopper, goods: Goods) -> Shelf:
    """A genre of the test's own, empty as yet."""
    return Shelf(admin, goods, f"E2e {secrets.token_hex(6)}")
