"""Stock arithmetic: single moves, and any sequence of them against a plain model."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from bookstore_common.inputs import MAX_STOCK
from inventory.stock import arithmetic
from inventory.stock.arithmetic import Stock, StockError

COPIES = st.integers(1, 12)


def stocks() -> st.SearchStrategy[Stock]:
    return st.integers(0, 200).flatmap(lambda quantity: st.builds(Stock, st.just(quantity), st.integers(0, quantity)))


@pytest.mark.parametrize(("quantity", "reserved"), [(-1, 0), (0, 1), (3, 4), (3, -1), (-2, -2)])
def test_impossible_stock_cannot_be_made(quantity: int, reserved: int) -> None:
    with pytest.raises(StockError, match="must be from 0"):
        Stock(quantity, reserved)


@pytest.mark.parametrize(
    "move", [arithmetic.hold, arithmetic.release, arithmetic.expire, arithmetic.commit, arithmetic.deduct,
             arithmetic.restock]
)  # fmt: skip
@pytest.mark.parametrize("copies", [0, -1])
def test_moves_are_of_one_copy_at_least(move: Callable[[Stock, int], Stock], copies: int) -> None:
    with pytest.raises(StockError, match="1 or more"):
        move(Stock(9, 5), copies)


def test_limits() -> None:
    with pytest.raises(arithmetic.InsufficientStockError):
        arithmetic.hold(Stock(10, 8), 3)
    with pytest.raises(arithmetic.InsufficientStockError):
        arithmetic.deduct(Stock(10, 8), 3)
    for give_up in (arithmetic.release, arithmetic.expire, arithmetic.commit):
        with pytest.raises(arithmetic.NotReservedError):
            give_up(Stock(10, 2), 3)
    with pytest.raises(arithmetic.BelowReservedError):
        arithmetic.adjust(Stock(10, 8), -3)
    with pytest.raises(arithmetic.BelowReservedError):
        arithmetic.set_quantity(Stock(10, 8), 7)
    with pytest.raises(arithmetic.BelowReservedError):
        arithmetic.set_quantity(Stock(10, 0), -1)
    with pytest.raises(arithmetic.AboveMaximumError):
        arithmetic.set_quantity(Stock(10, 8), MAX_STOCK + 1)
    with pytest.raises(arithmetic.AboveMaximumError):
        arithmetic.adjust(Stock(MAX_STOCK), 1)
    with pytest.raises(StockError, match="must not be 0"):
        arithmetic.adjust(Stock(10, 8), 0)
    assert arithmetic.set_quantity(Stock(10, 8), 8) == Stock(8, 8)
    assert arithmetic.set_quantity(Stock(0), MAX_STOCK) == Stock(MAX_STOCK)


def test_returned_copies_may_exceed_the_maximum_and_be_removed_again() -> None:
    over = arithmetic.restock(Stock(MAX_STOCK, 1), 9)
    assert over == Stock(MAX_STOCK + 9, 1)
    assert arithmetic.adjust(over, -2) == Stock(MAX_STOCK + 7, 1)
    with pytest.raises(arithmetic.AboveMaximumError):
        arithmetic.adjust(over, 1)


@pytest.mark.parametrize(
    ("available", "threshold", "status"),
    [(0, 5, "out_of_stock"), (0, 0, "out_of_stock"), (-1, 5, "out_of_stock"), (1, 5, "low_stock"),
     (5, 5, "low_stock"), (6, 5, "in_stock"), (1, 0, "in_stock")],
)  # fmt: skip
def test_status(available: int, threshold: int, status: str) -> None:
    assert arithmetic.status_of(available, threshold) == status


@given(stocks(), COPIES)
def test_moves_undo_each_other(stock: Stock, copies: int) -> None:
    more = arithmetic.adjust(stock, copies)
    assert arithmetic.adjust(more, -copies) == stock
    assert arithmetic.release(arithmetic.hold(more, copies), copies) == more
    assert arithmetic.restock(arithmetic.commit(arithmetic.hold(more, copies), copies), copies) == more
    assert arithmetic.deduct(more, copies) == arithmetic.commit(arithmetic.hold(more, copies), copies)
    assert arithmetic.expire(arithmetic.hold(more, copies), copies) == more


@given(stocks(), st.integers(-300, 300))
def test_refused_or_exact(stock: Stock, delta: int) -> None:
    """An adjustment is done to the copy or refused; it never touches what is reserved."""
    if delta == 0:
        return
    if stock.quantity + delta < stock.reserved:
        with pytest.raises(arithmetic.BelowReservedError):
            arithmetic.adjust(stock, delta)
    else:
        assert arithmetic.adjust(stock, delta) == Stock(stock.quantity + delta, stock.reserved)


class Shelf(RuleBasedStateMachine):
    """One book, many orders. The model keeps each order's copies apart; the code keeps two numbers."""

    held = Bundle("held")
    committed = Bundle("committed")

    @initialize(quantity=st.integers(0, 40))
    def fill(self, quantity: int) -> None:
        self.stock = Stock(quantity)
        self.put_in = quantity
        self.holds: dict[int, int] = {}
        self.sold: dict[int, int] = {}
        self.orders = 0

    @rule(target=held, copies=COPIES)
    def hold(self, copies: int) -> object:
        if copies > self.put_in - sum(self.holds.values()) - sum(self.sold.values()):
            before = self.stock
            with pytest.raises(arithmetic.InsufficientStockError):
                arithmetic.hold(self.stock, copies)
            assert self.stock == before
            return multiple()
        self.stock = arithmetic.hold(self.stock, copies)
        self.orders += 1
        self.holds[self.orders] = copies
        return self.orders

    @rule(order=consumes(held))
    def release(self, order: int) -> None:
        self.stock = arithmetic.release(self.stock, self.holds.pop(order))

    @rule(order=consumes(held))
    def expire(self, order: int) -> None:
        self.stock = arithmetic.expire(self.stock, self.holds.pop(order))

    @rule(target=committed, order=consumes(held))
    def commit(self, order: int) -> int:
        self.stock = arithmetic.commit(self.stock, self.holds[order])
        self.sold[order] = self.holds.pop(order)
        return order

    @rule(target=committed, copies=COPIES)
    def deduct(self, copies: int) -> object:
        """An order whose hold expired before its event arrived."""
        if copies > self.stock.available:
            with pytest.raises(arithmetic.InsufficientStockError):
                arithmetic.deduct(self.stock, copies)
            return multiple()
        self.stock = arithmetic.deduct(self.stock, copies)
        self.orders += 1
        self.sold[self.orders] = copies
        return self.orders

    @rule(order=consumes(committed))
    def cancel(self, order: int) -> None:
        self.stock = arithmetic.restock(self.stock, self.sold.pop(order))

    @rule(delta=st.integers(-15, 15).filter(bool))
    def adjust(self, delta: int) -> None:
        if self.stock.quantity + delta < sum(self.holds.values()):
            with pytest.raises(arithmetic.BelowReservedError):
                arithmetic.adjust(self.stock, delta)
            return
        self.stock = arithmetic.adjust(self.stock, delta)
        self.put_in += delta

    @rule(quantity=st.integers(0, 40))
    def count(self, quantity: int) -> None:
        if quantity < sum(self.holds.values()):
            with pytest.raises(arithmetic.BelowReservedError):
                arithmetic.set_quantity(self.stock, quantity)
            return
        self.put_in += quantity - self.stock.quantity
        self.stock = arithmetic.set_quantity(self.stock, quantity)

    @invariant()
    def law(self) -> None:
        """Copies put in = available + held + committed, and no copy is promised twice."""
        assert self.put_in == self.stock.available + sum(self.holds.values()) + sum(self.sold.values())
        assert self.stock.reserved == sum(self.holds.values())
        assert self.stock.available >= 0


Shelf.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestShelf = Shelf.TestCase
