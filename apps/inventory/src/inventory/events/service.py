"""What the worker does to stock: orders' events, new books, holds that nobody claimed (SPEC 5.4).

Each effect locks the order first and the books by book_id afterwards, as the API does, and leaves movement and
``inventory.updated`` in the same transaction.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from bookstore_common.db import Database, Session, not_now
from bookstore_common.events import inventory_rejected
from bookstore_common.outbox import OutboxRepository
from inventory.events.repository import CancellationRepository, ExpiryRepository
from inventory.reservations.models import Status
from inventory.reservations.repository import ReservationRepository
from inventory.stock import arithmetic
from inventory.stock.arithmetic import NO_STOCK
from inventory.stock.repository import Change, StockRepository
from inventory.stock.service import StockLedger

ACTOR = "inventory-worker"
_SWEPT_AT_ONCE = 100
_log = structlog.get_logger(__name__)


class OrderEvents:
    """Effects of one transaction."""

    def __init__(self, session: Session) -> None:
        self._stock = StockRepository(session)
        self._ledger = StockLedger(session)
        self._reservations = ReservationRepository(session)
        self._cancellations = CancellationRepository(session)
        self._outbox = OutboxRepository(session)

    async def created(self, order_id: uuid.UUID, items: Mapping[uuid.UUID, int]) -> None:
        """The order's copies leave the shelf; if its hold is gone and they are not there, the order is rejected.

        A hold that was given back does not mean that there is no order: checkout also releases when it does not know
        how its commit ended.
        """
        await self._reservations.lock_order(order_id)
        if await self._cancellations.contains(order_id):
            return
        held = await self._reservations.get(order_id)
        if held is not None and held.status is Status.COMMITTED:
            return
        if held is not None and held.status is Status.HELD:
            await self._record(order_id, held.items, arithmetic.commit, "committed")
            await self._reservations.set_status(order_id, Status.COMMITTED)
            return
        stock = await self._ledger.lock(items)
        short = sorted(book for book, copies in items.items() if stock.get(book, NO_STOCK).available < copies)
        if short:
            await self._outbox.add(inventory_rejected(order_id=order_id, book_ids=short))
            return
        await self._record(order_id, items, arithmetic.deduct, "committed")
        # Lines that a later cancellation brings back.
        await self._reservations.hold(order_id, items, timedelta(0))
        await self._reservations.set_status(order_id, Status.COMMITTED)

    async def cancelled(self, order_id: uuid.UUID) -> None:
        """Whatever was taken or held for the order comes back, once."""
        await self._reservations.lock_order(order_id)
        if await self._cancellations.contains(order_id):
            return
        await self._cancellations.add(order_id)
        held = await self._reservations.get(order_id)
        if held is None or held.status not in {Status.HELD, Status.COMMITTED}:
            return
        if held.status is Status.HELD:
            await self._record(order_id, held.items, arithmetic.release, "released")
        else:
            await self._record(order_id, held.items, arithmetic.restock, "restocked")
        await self._reservations.set_status(order_id, Status.RELEASED)

    async def book_created(self, book_id: uuid.UUID) -> None:
        """A row without copies, unless somebody was faster."""
        await self._stock.create_missing(book_id)

    async def expire(self, order_id: uuid.UUID, moment: datetime) -> bool:
        """Take back a hold that ended before ``moment``; returns whether it was still there."""
        await self._reservations.lock_order(order_id)
        held = await self._reservations.get(order_id)
        if held is None or held.status is not Status.HELD or held.expires_at >= moment:
            return False
        await self._record(order_id, held.items, arithmetic.expire, "expired")
        await self._reservations.set_status(order_id, Status.EXPIRED)
        return True

    async def _record(self, order_id: uuid.UUID, items: Mapping[uuid.UUID, int], change: Any, reason: str) -> None:
        stock = await self._ledger.lock(items)
        await self._ledger.record(
            [
                Change(book, stock[book], change(stock[book], copies), reason, ACTOR, order_id)
                for book, copies in sorted(items.items())
            ]
        )


async def order_created(session: Session, event: Mapping[str, Any]) -> None:
    """Effect of ``order.created``."""
    items = {uuid.UUID(item["book_id"]): int(item["quantity"]) for item in event["items"]}
    await OrderEvents(session).created(uuid.UUID(event["order_id"]), items)


async def order_cancelled(session: Session, event: Mapping[str, Any]) -> None:
    """Effect of ``order.cancelled``."""
    await OrderEvents(session).cancelled(uuid.UUID(event["order_id"]))


async def book_created(session: Session, event: Mapping[str, Any]) -> None:
    """Effect of ``book.created``."""
    await OrderEvents(session).book_created(uuid.UUID(event["book_id"]))


EFFECTS = {"order.created": order_created, "order.cancelled": order_cancelled, "book.created": book_created}


@dataclass
class Swept:
    """Numbers of holds that were taken back, and of those that could not be."""

    expired: int = 0
    failed: int = 0


async def sweep(database: Database, moment: datetime) -> Swept:
    """Expire the holds that ended before ``moment``, each in a transaction of its own.

    ``moment`` must be one until which all placed orders are known here, or a placed order would lose its hold. A hold
    that contradicts its stock is told and left as it is: neither other holds nor events are to wait for it.
    """
    swept, last = Swept(), uuid.UUID(int=0)
    while True:
        async with database.transaction() as session:
            orders = await ExpiryRepository(session).overdue(moment, last, _SWEPT_AT_ONCE)
        for order_id in orders:
            last = order_id
            try:
                async with database.transaction() as session:
                    swept.expired += await OrderEvents(session).expire(order_id, moment)
            except Exception as error:
                if not_now(error):
                    raise
                swept.failed += 1
                _log.exception("hold_not_expired", order_id=str(order_id))
        if len(orders) < _SWEPT_AT_ONCE:
            return swept
