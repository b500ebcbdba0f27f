"""Rules without a database: cart arithmetic, order transitions, order ids."""

import uuid
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bookstore_common.inputs import MAX_QUANTITY
from ecom.cart.arithmetic import MAX_LINES, add, merge
from ecom.checkout.service import order_id_of
from ecom.orders.transitions import Status, following

# Few books, so that they meet.
BOOKS = [uuid.UUID(int=number) for number in range(60)]
quantities = st.integers(1, MAX_QUANTITY)
carts = st.dictionaries(st.sampled_from(BOOKS), quantities, max_size=MAX_LINES)
guests = st.lists(st.tuples(st.sampled_from(BOOKS), quantities), max_size=MAX_LINES)
shelves = st.sets(st.sampled_from(BOOKS))


@given(st.integers(0, MAX_QUANTITY), quantities)
def test_adding_never_takes_away_nor_passes_the_cap(present: int, more: int) -> None:
    after = add(present, more)
    assert max(present, 1) <= after <= MAX_QUANTITY
    assert after == present + more or after == MAX_QUANTITY


@given(carts, guests, shelves)
def test_merge(present: dict[uuid.UUID, int], wanted: list[tuple[uuid.UUID, int]], on_sale: set[uuid.UUID]) -> None:
    merged = merge(present, wanted, on_sale)
    after = {**present, **merged.quantities}
    asked: Counter[uuid.UUID] = Counter()
    for book, quantity in wanted:
        asked[book] += quantity
    # Nothing that was in the cart gets lost or less.
    assert all(after[book] >= quantity for book, quantity in present.items())
    assert len(after) <= MAX_LINES
    # Every wanted book is in exactly one place, and it is the right one.
    assert set(asked) == set(merged.quantities) | set(merged.unknown) | set(merged.full)
    assert set(merged.unknown) == set(asked) - on_sale
    assert not set(merged.full) & (set(present) | set(merged.quantities))
    assert not merged.full or len(after) == MAX_LINES
    for book, quantity in merged.quantities.items():
        assert quantity == min(present.get(book, 0) + asked[book], MAX_QUANTITY)
    # Each is named once.
    assert len(set(merged.unknown)) == len(merged.unknown)
    assert len(set(merged.full)) == len(merged.full)


@given(carts, guests)
def test_merge_fills_lines_in_the_guests_order(
    present: dict[uuid.UUID, int], wanted: list[tuple[uuid.UUID, int]]
) -> None:
    merged = merge(present, wanted, BOOKS)
    new = [book for book in dict.fromkeys(book for book, _ in wanted) if book not in present]
    assert [*(book for book in merged.quantities if book not in present), *merged.full] == new


def test_transitions() -> None:
    allowed = {(before, after) for before in Status for after in following(before)}
    assert allowed == {
        (Status.CONFIRMED, Status.SHIPPED),
        (Status.CONFIRMED, Status.CANCELLED),
        (Status.SHIPPED, Status.DELIVERED),
    }


@given(st.lists(st.sampled_from(Status), max_size=12))
def test_no_walk_leaves_a_final_status_or_returns(wishes: list[Status]) -> None:
    walk = [Status.CONFIRMED]
    for wish in wishes:
        if wish in following(walk[-1]):
            walk.append(wish)
    assert len(set(walk)) == len(walk)
    assert Status.CANCELLED not in walk[:-1]
    assert not {Status.SHIPPED, Status.CANCELLED} <= set(walk)


keys = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255)


@given(st.uuids(), keys, keys)
def test_order_id(user: uuid.UUID, key: str, other: str) -> None:
    assert order_id_of(str(user), key) == uuid.uuid5(user, key)
    assert (order_id_of(str(user), key) == order_id_of(str(user), other)) is (key == other)


@given(st.text(max_size=40), st.text(max_size=40), keys)
def test_order_ids_of_two_customers_never_meet(user: str, other: str, key: str) -> None:
    """Also if an identity provider gives subs that are no UUIDs."""

    def canonical(sub: str) -> str:
        try:
            return str(uuid.UUID(sub))
        except ValueError:
            return sub

    same = canonical(user) == canonical(other)
    assert (order_id_of(user, key) == order_id_of(other, key)) is same
