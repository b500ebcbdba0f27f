"""Quantities of a cart, without a database (SPEC 5.3, E-08 and E-12)."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bookstore_common.inputs import MAX_QUANTITY

MAX_LINES = 50


def add(present: int, more: int) -> int:
    """Copies in a line of ``present`` (0: no line yet) after adding ``more``; never above 99."""
    return min(present + more, MAX_QUANTITY)


@dataclass(frozen=True, slots=True)
class Merge:
    """``quantities``: new quantity of each line that changes or appears; ``unknown`` and ``full``: books left out."""

    quantities: dict[uuid.UUID, int]
    unknown: list[uuid.UUID]
    full: list[uuid.UUID]


def merge(
    present: Mapping[uuid.UUID, int], wanted: Iterable[tuple[uuid.UUID, int]], on_sale: Iterable[uuid.UUID]
) -> Merge:
    """Add the guest's ``wanted`` (book, quantity) pairs, in their order, to the lines ``present``.

    Books that are not on sale are unknown; new lines beyond 50 do not fit; a book named twice counts twice.
    """
    known = frozenset(on_sale)
    result = Merge({}, [], [])
    lines = set(present)
    for book_id, quantity in wanted:
        if book_id not in known:
            left_out = result.unknown
        elif book_id in lines or len(lines) < MAX_LINES:
            lines.add(book_id)
            before = result.quantities.get(book_id, present.get(book_id, 0))
            result.quantities[book_id] = add(before, quantity)
            continue
        else:
            left_out = result.full
        if book_id not in left_out:
            left_out.append(book_id)
    return result
