"""What happens to stock, between HTTP (or the worker) and SQL."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bookstore_common.db import Session
from bookstore_common.events import inventory_updated
from bookstore_common.inputs import MAX_STOCK
from bookstore_common.outbox import OutboxRepository
from bookstore_common.pagination import PageRequest
from bookstore_common.preconditions import StaleVersionError
from bookstore_common.problem import NotFoundError, ProblemError
from inventory.stock import arithmetic
from inventory.stock.arithmetic import Stock
from inventory.stock.repository import Change, StockReadRepository, StockRepository
from inventory.stock.schemas import StockFilter

# The version of a stock that is not kept yet; a row's versions begin at 1.
NO_STOCK_VERSION = 0
_TOLD_WHEN_STALE = ("quantity", "reserved", "low_stock_threshold")


class BelowReservedError(ProblemError):
    """Orders have been promised more copies than would be left."""

    status = 409
    code = "below_reserved"


class AboveMaximumError(ProblemError):
    """More copies than the service counts."""

    status = 409
    code = "above_maximum"


class StockReadService:
    """Answers as plain dictionaries, ready to be serialised once."""

    def __init__(self, stock: StockReadRepository) -> None:
        self._stock = stock

    async def get(self, book_id: uuid.UUID) -> dict[str, Any]:
        """Raises NotFoundError if the book is unknown."""
        return _known(book_id, await self._stock.get(book_id))

    async def get_many(self, book_ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
        """The known ones of ``book_ids``; nothing is asked if there are none."""
        return await self._stock.get_many(book_ids) if book_ids else []

    async def find(self, wanted: StockFilter, page: PageRequest) -> dict[str, Any]:
        return page.body(*await self._stock.find(wanted, page))

    async def get_for_admin(self, book_id: uuid.UUID) -> dict[str, Any]:
        """Raises NotFoundError if the book is unknown."""
        return _known(book_id, await self._stock.get_for_admin(book_id))

    async def movements(self, book_id: uuid.UUID, page: PageRequest) -> dict[str, Any]:
        """Raises NotFoundError if the book is unknown."""
        found = await self._stock.movements(book_id, page)
        if found is None:
            raise _unknown(book_id)
        return page.body(*found)


class StockLedger:
    """The one way in which counts change: row, audit and event in one transaction (SPEC 5.4).

    Lock the books of a transaction with one call, before anything is computed from them.
    """

    def __init__(self, session: Session) -> None:
        self._stock = StockRepository(session)
        self._outbox = OutboxRepository(session)

    async def lock(self, book_ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, Stock]:
        """Counts of the known ones of ``book_ids``, which stay so until the transaction ends."""
        return await self._stock.lock(book_ids)

    async def record(self, changes: Sequence[Change]) -> None:
        """Write what was computed; changes that change nothing leave no trace."""
        real = [change for change in changes if change.before != change.after]
        if not real:
            return
        await self._stock.write(real)
        for change in real:
            await self._outbox.add(
                inventory_updated(
                    book_id=change.book_id,
                    previous_quantity=change.before.quantity,
                    new_quantity=change.after.quantity,
                    reserved=change.after.reserved,
                    reason=change.reason,
                    order_id=change.order_id,
                )
            )


class StockAdminService:
    """What admins do to stock; ``actor`` is the admin's sub."""

    def __init__(self, session: Session) -> None:
        self._stock = StockRepository(session)
        self._ledger = StockLedger(session)

    async def set_quantity(
        self, book_id: uuid.UUID, version: int, quantity: int, low_stock_threshold: int | None, actor: str
    ) -> dict[str, Any]:
        """Say how many copies there are, as counted when the stock had ``version``.

        :data:`NO_STOCK_VERSION` makes the stock of a book that had none. Raises StaleVersionError if the stock changed
        since (an order held copies, for example: the count is wrong by now), and BelowReservedError.
        """
        made = version == NO_STOCK_VERSION and await self._stock.create_missing(book_id)
        before = (await self._ledger.lock([book_id])).get(book_id)
        if before is None:
            raise _stale(version, NO_STOCK_VERSION, quantity=0, reserved=0)
        # Nobody changes a locked row.
        row = await self._stock.get_for_admin(book_id)
        if not made and row["version"] != version:
            raise _stale(version, row["version"], **{name: row[name] for name in _TOLD_WHEN_STALE})
        after = _allowed(lambda: arithmetic.set_quantity(before, quantity), before)
        await self._ledger.record([Change(book_id, before, after, "set", actor)])
        if low_stock_threshold is not None:
            await self._stock.set_threshold(book_id, low_stock_threshold)
        return await self._stock.get_for_admin(book_id)

    async def adjust(self, book_id: uuid.UUID, delta: int, reason: str, actor: str) -> dict[str, Any]:
        """Add or remove copies; raises NotFoundError, BelowReservedError, AboveMaximumError."""
        before = (await self._ledger.lock([book_id])).get(book_id)
        if before is None:
            raise _unknown(book_id)
        after = _allowed(lambda: arithmetic.adjust(before, delta), before)
        await self._ledger.record([Change(book_id, before, after, reason, actor)])
        return await self._stock.get_for_admin(book_id)


def _stale(version: int, current: int, **counts: Any) -> StaleVersionError:
    """With what is there now, so that the admin can see what happened to the count."""
    return StaleVersionError(
        f"The stock was changed meanwhile: it has version {current}, not {version}; there are {counts['quantity']}"
        f" copies, {counts['reserved']} of them reserved.",
        version=current,
        **counts,
    )


def _allowed(change: Callable[[], Stock], before: Stock) -> Stock:
    """The stock after ``change``, or the problem that an admin is told."""
    counts: dict[str, Any] = {"quantity": before.quantity, "reserved": before.reserved}
    try:
        return change()
    except arithmetic.BelowReservedError:
        raise BelowReservedError(
            f"{before.reserved} of {before.quantity} copies are reserved for orders; no fewer can remain.", **counts
        ) from None
    except arithmetic.AboveMaximumError:
        raise AboveMaximumError(
            f"There are {before.quantity} copies; there cannot be more than {MAX_STOCK}.", **counts
        ) from None


def _known(book_id: uuid.UUID, stock: dict[str, Any] | None) -> dict[str, Any]:
    if stock is None:
        raise _unknown(book_id)
    return stock


def _unknown(book_id: uuid.UUID) -> NotFoundError:
    return NotFoundError(f"No stock is kept of a book with the id {book_id}.")
