"""What happens to reservations, between HTTP and SQL.

Who changes reservations (the worker, too) takes its locks in one order: first the order, then the books' rows by
book_id. So nobody ever waits in a circle, at READ COMMITTED and without retries.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta

from bookstore_common.db import Session
from bookstore_common.problem import NotFoundError, ProblemError
from inventory.reservations.metrics import ReservationMetrics, Result
from inventory.reservations.models import Status
from inventory.reservations.repository import Held, ReservationReadRepository, ReservationRepository
from inventory.stock import arithmetic
from inventory.stock.arithmetic import NO_STOCK
from inventory.stock.repository import Change
from inventory.stock.service import StockLedger


class InsufficientStockError(ProblemError):
    """Nothing was held; member ``books`` lists each short book with ``requested`` and ``available``."""

    status = 409
    code = "insufficient_stock"


class ReservationMismatchError(ProblemError):
    """The order already has a reservation of other items, which stays as it is."""

    status = 409
    code = "reservation_mismatch"


class AlreadyCommittedError(ProblemError):
    """The order was placed; its copies come back by cancelling it."""

    status = 409
    code = "already_committed"


async def find(reservations: ReservationReadRepository, order_id: uuid.UUID) -> Held:
    """I-05; raises NotFoundError."""
    held = await reservations.get(order_id)
    if held is None:
        raise NotFoundError(f"Nothing was ever reserved for the order {order_id}.")
    return held


class ReservationService:
    """Holds and releases; ``period`` is how long a hold lasts."""

    def __init__(self, session: Session, metrics: ReservationMetrics, period: timedelta) -> None:
        self._session = session
        self._reservations = ReservationRepository(session)
        self._ledger = StockLedger(session)
        self._metrics = metrics
        self._period = period

    async def hold(self, order_id: uuid.UUID, wanted: Mapping[uuid.UUID, int], actor: str) -> tuple[Held, bool]:
        """I-04: hold all of ``wanted`` (copies per book) or nothing; the flag says whether it was done now.

        A repeat with the same items finds the hold that is there and gives it the whole period again: who repeats is
        about to place the order, and must not lose the copies while doing so. What was given back or expired
        meanwhile is held anew.
        Raises InsufficientStockError, ReservationMismatchError.
        """
        await self._reservations.lock_order(order_id)
        existing = await self._reservations.get(order_id)
        if existing is not None and dict(existing.items) != dict(wanted):
            self._metrics.refused(Result.MISMATCH)
            raise ReservationMismatchError(
                f"The order {order_id} has a reservation of other items; use a new order id for another order."
            )
        if existing is not None and existing.status in {Status.HELD, Status.COMMITTED}:
            if existing.status is Status.HELD:
                existing = await self._reservations.renew(existing, self._period)
            self._metrics.when_committed(self._session, Result.REPEATED)
            return existing, False
        await self._take(order_id, wanted, actor)
        held = await self._reservations.hold(order_id, wanted, self._period)
        self._metrics.when_committed(self._session, Result.HELD)
        return held, True

    async def release(self, order_id: uuid.UUID, actor: str) -> None:
        """I-06: give a hold back; nothing to do if there is none. Raises AlreadyCommittedError."""
        await self._reservations.lock_order(order_id)
        existing = await self._reservations.get(order_id)
        if existing is None or existing.status in {Status.RELEASED, Status.EXPIRED}:
            return
        if existing.status is Status.COMMITTED:
            raise AlreadyCommittedError(f"The order {order_id} was placed; cancel it to return its copies.")
        stock = await self._ledger.lock(existing.items)
        await self._ledger.record(
            [
                Change(book, stock[book], arithmetic.release(stock[book], copies), "released", actor, order_id)
                for book, copies in existing.items.items()
            ]
        )
        await self._reservations.set_status(order_id, Status.RELEASED)
        self._metrics.when_committed(self._session, Result.RELEASED)

    async def _take(self, order_id: uuid.UUID, wanted: Mapping[uuid.UUID, int], actor: str) -> None:
        stock = await self._ledger.lock(wanted)
        changes, short = [], []
        for book, copies in sorted(wanted.items()):
            before = stock.get(book, NO_STOCK)
            try:
                changes.append(Change(book, before, arithmetic.hold(before, copies), "reserved", actor, order_id))
            except arithmetic.InsufficientStockError:
                short.append({"book_id": book, "requested": copies, "available": before.available})
        if short:
            self._metrics.refused(Result.INSUFFICIENT_STOCK)
            raise InsufficientStockError("Fewer copies are available than wanted; nothing was reserved.", books=short)
        await self._ledger.record(changes)
