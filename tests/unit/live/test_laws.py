"""The laws of the fault tests themselves: what must break them does."""

from __future__ import annotations

import pytest

from tests.live.laws import Laws, set_aside

BOOK = "00000000-0000-4000-8000-000000000001"


def nothing(_statement: str) -> str:
    raise AssertionError("analytics has no part in it")


@pytest.mark.parametrize(
    ("stock", "sold", "kept"),
    [
        # quantity, reserved, by movements, held, committed
        ("8|0|8|0|0|2", f"{BOOK}|2", True),
        ("10|0|10|0|0|0", "", True),
        # The order's event never came: its copies are held for ever.
        ("10|2|10|2|2|0", f"{BOOK}|2", False),
        ("8|0|8|0|0|2", "", False),
        ("8|0|10|0|0|2", f"{BOOK}|2", False),
        ("8|1|8|0|0|2", f"{BOOK}|2", False),
    ],
)
def test_copies_follow_from_movements_and_orders(stock: str, sold: str, kept: bool) -> None:
    laws = Laws(lambda _statement: sold, lambda _statement: f"{BOOK}|{stock}", nothing)
    assert (laws.broken_stock([BOOK]) == []) is kept


def test_only_dead_letters_count() -> None:
    topics = {"order.created": {"begin": 0, "end": 9}, "order.created.dlq": {"begin": 4, "end": 4}}
    assert set_aside(topics) == []
    topics["order.created.dlq"]["end"] = 5
    assert set_aside(topics) == ["order.created.dlq: 1 events could not be applied"]
