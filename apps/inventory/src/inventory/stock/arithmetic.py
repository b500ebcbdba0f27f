"""Stock arithmetic: the only place where quantities are added and subtracted.

Pure functions from one :class:`Stock` to the next. The API and the worker load rows under a lock, compute here and
write the result. All counts are copies of one book. The law behind every function (issue 4):

    copies ever put in = available + reserved + committed

``hold``, ``release`` and ``expire`` move copies between available and reserved, ``commit`` moves reserved ones to
committed (they leave the shelf), ``deduct`` moves available ones there, ``restock`` brings committed ones back;
``adjust`` and ``set_quantity`` are the admin's, and change the left side.
"""

from dataclasses import dataclass
from typing import Literal

from bookstore_common.inputs import MAX_STOCK

StockStatus = Literal["in_stock", "low_stock", "out_of_stock"]
DEFAULT_LOW_STOCK_THRESHOLD = 5


class StockError(ValueError):
    """A change that the stock does not allow; nothing has changed."""


class InsufficientStockError(StockError):
    """Fewer copies are available than asked for."""


class BelowReservedError(StockError):
    """Fewer copies would be there than are promised to orders."""


class AboveMaximumError(StockError):
    """More than MAX_STOCK copies."""


class NotReservedError(StockError):
    """More copies would be given up than are reserved: the caller's books are wrong, not the customer's input."""


@dataclass(frozen=True, slots=True)
class Stock:
    """Copies on the shelf (``quantity``) and how many of them are promised to orders (``reserved``)."""

    quantity: int
    reserved: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.reserved <= self.quantity:
            raise StockError(f"reserved {self.reserved} must be from 0 to quantity {self.quantity}")

    @property
    def available(self) -> int:
        """Copies that can still be promised."""
        return self.quantity - self.reserved


# A book that Inventory has never heard of.
NO_STOCK = Stock(0)


def hold(stock: Stock, copies: int) -> Stock:
    """Promise ``copies`` to an order; raises InsufficientStockError."""
    _require_positive(copies)
    if copies > stock.available:
        raise InsufficientStockError(f"{copies} wanted, {stock.available} available")
    return Stock(stock.quantity, stock.reserved + copies)


def release(stock: Stock, copies: int) -> Stock:
    """Take a promise back before it was kept; raises NotReservedError."""
    _require_reserved(stock, copies)
    return Stock(stock.quantity, stock.reserved - copies)


def expire(stock: Stock, copies: int) -> Stock:
    """Take back a promise that nobody claimed in time; the same move as :func:`release`."""
    return release(stock, copies)


def commit(stock: Stock, copies: int) -> Stock:
    """Keep a promise: the copies leave the shelf. Raises NotReservedError."""
    _require_reserved(stock, copies)
    return Stock(stock.quantity - copies, stock.reserved - copies)


def deduct(stock: Stock, copies: int) -> Stock:
    """Take copies off the shelf for an order whose hold is gone; raises InsufficientStockError."""
    return commit(hold(stock, copies), copies)


def restock(stock: Stock, copies: int) -> Stock:
    """Put copies of a cancelled order back, whatever the maximum: they exist."""
    _require_positive(copies)
    return Stock(stock.quantity + copies, stock.reserved)


def adjust(stock: Stock, delta: int) -> Stock:
    """Add (or with a negative ``delta`` remove) copies.

    Raises BelowReservedError if fewer would remain than are reserved, AboveMaximumError.
    """
    if delta == 0:
        raise StockError("delta must not be 0")
    return set_quantity(stock, stock.quantity + delta)


def set_quantity(stock: Stock, quantity: int) -> Stock:
    """Say how many copies there are; raises BelowReservedError, AboveMaximumError."""
    if quantity < stock.reserved:
        raise BelowReservedError(f"{quantity} is below the {stock.reserved} reserved")
    # Lowering is always allowed: restock may have gone beyond.
    if quantity > max(MAX_STOCK, stock.quantity):
        raise AboveMaximumError(f"{quantity} is above {MAX_STOCK}")
    return Stock(quantity, stock.reserved)


def status_of(available: int, low_stock_threshold: int) -> StockStatus:
    """What a shopper is told; ``low_stock`` includes the threshold itself."""
    if available <= 0:
        return "out_of_stock"
    return "low_stock" if available <= low_stock_threshold else "in_stock"


def _require_positive(copies: int) -> None:
    if copies <= 0:
        raise StockError(f"copies must be 1 or more, not {copies}")


def _require_reserved(stock: Stock, copies: int) -> None:
    _require_positive(copies)
    if copies > stock.reserved:
        raise NotReservedError(f"{copies} to give up, {stock.reserved} reserved")
