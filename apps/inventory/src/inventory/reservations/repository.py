"""All SQL of the reservations."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Integer, Interval, Row, String, Uuid, bindparam, func, select, text, update
from sqlalchemy.dialects import postgresql

from bookstore_common.db import ReadSession, Session
from inventory.reservations.models import Reservation, Status

_LINES = Reservation.__table__.c
_LOCK_ORDER = text("SELECT pg_advisory_xact_lock(:key)")
_OF_ORDER = (
    select(_LINES.book_id, _LINES.quantity, _LINES.status, _LINES.expires_at)
    .where(_LINES.order_id == bindparam("order_id"))
    .order_by(_LINES.book_id)
)
# One moment for all lines; the clock's time, not the transaction's: it may have waited for a lock.
_ENDS = func.statement_timestamp() + bindparam("period", type_=Interval)
# Arrays instead of a list of rows: one statement to prepare, however many books.
_NEW = (
    func.unnest(bindparam("ids", type_=ARRAY(Uuid)), bindparam("quantities", type_=ARRAY(Integer)))
    .table_valued("book_id", "quantity")
    .render_derived(name="wanted")
)
_INSERT = postgresql.insert(Reservation.__table__).from_select(  # type: ignore[arg-type] # typed as FromClause, but is a Table
    ["order_id", "book_id", "quantity", "status", "expires_at"],
    select(
        bindparam("order_id", type_=Uuid),
        _NEW.c.book_id,
        _NEW.c.quantity,
        bindparam("status", type_=String),
        _ENDS,
    ),
)
_HOLD = _INSERT.on_conflict_do_update(
    index_elements=["order_id", "book_id"],
    set_={"status": _INSERT.excluded.status, "expires_at": _INSERT.excluded.expires_at},
).returning(_LINES.expires_at)
_RENEW = (
    update(Reservation)
    .where(_LINES.order_id == bindparam("of_order", type_=Uuid))
    .values(expires_at=_ENDS)
    .returning(_LINES.expires_at)
)


@dataclass(frozen=True, slots=True)
class Held:
    """The reservation of one order. A hold whose time is over is one until the sweeper has noticed."""

    order_id: uuid.UUID
    items: Mapping[uuid.UUID, int]
    status: Status
    expires_at: datetime

    def body(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "order_id": self.order_id,
            "status": self.status.value,
            "expires_at": self.expires_at,
            "items": [{"book_id": book, "quantity": quantity} for book, quantity in self.items.items()],
        }


class ReservationReadRepository:
    """What others ask about."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def get(self, order_id: uuid.UUID) -> Held | None:
        return _held(order_id, (await self._session.execute(_OF_ORDER, {"order_id": order_id})).all())


class ReservationRepository:
    """Changes one order's lines; the caller locks the order first and the books afterwards."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def lock_order(self, order_id: uuid.UUID) -> None:
        """Until the transaction ends nobody else touches this order, not even one that has no row yet.

        An advisory lock on the id's 64-bit fold: two orders that share it merely wait for each other. It is taken
        before any row, and only one per transaction, so it cannot be part of a deadlock.
        """
        await self._session.execute(_LOCK_ORDER, {"key": _lock_key(order_id)})

    async def get(self, order_id: uuid.UUID) -> Held | None:
        return _held(order_id, (await self._session.execute(_OF_ORDER, {"order_id": order_id})).all())

    async def hold(self, order_id: uuid.UUID, items: Mapping[uuid.UUID, int], period: timedelta) -> Held:
        """Write HELD lines that expire after ``period``; lines that were given back are held again."""
        rows = await self._session.execute(
            _HOLD,
            {
                "order_id": order_id,
                "ids": list(items),
                "quantities": list(items.values()),
                "status": Status.HELD,
                "period": period,
            },
        )
        return Held(order_id, dict(sorted(items.items())), Status.HELD, rows.scalars().first())

    async def renew(self, held: Held, period: timedelta) -> Held:
        """Let the order's lines expire ``period`` from now."""
        rows = await self._session.execute(_RENEW, {"of_order": held.order_id, "period": period})
        return replace(held, expires_at=rows.scalars().first())

    async def set_status(self, order_id: uuid.UUID, status: Status) -> None:
        await self._session.execute(update(Reservation).where(_LINES.order_id == order_id).values(status=status))


def _held(order_id: uuid.UUID, rows: Any) -> Held | None:
    if not rows:
        return None
    first: Row[Any] = rows[0]
    items = {row.book_id: row.quantity for row in rows}
    return Held(order_id, items, Status(first.status), first.expires_at)


def _lock_key(order_id: uuid.UUID) -> int:
    """64 bits, signed, of a 128-bit id."""
    folded = (order_id.int >> 64) ^ (order_id.int & 0xFFFF_FFFF_FFFF_FFFF)
    return folded - (1 << 64) if folded >= 1 << 63 else folded
