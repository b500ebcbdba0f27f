"""SQL of the worker beside stock and reservations."""

import uuid
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.dialects import postgresql

from bookstore_common.db import Session
from inventory.events.models import CancelledOrder
from inventory.reservations.models import Reservation, Status

_LINES = Reservation.__table__.c


class CancellationRepository:
    """Which orders are cancelled; the caller holds the order's lock."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, order_id: uuid.UUID) -> None:
        statement = postgresql.insert(CancelledOrder).values(order_id=order_id)
        await self._session.execute(statement.on_conflict_do_nothing())

    async def contains(self, order_id: uuid.UUID) -> bool:
        return bool(await self._session.scalar(select(exists().where(CancelledOrder.order_id == order_id))))


class ExpiryRepository:
    """Holds whose time is over."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def overdue(self, moment: datetime, after: uuid.UUID, limit: int) -> list[uuid.UUID]:
        """Orders whose hold ended before ``moment``, by id, those after ``after``."""
        rows = await self._session.execute(
            select(_LINES.order_id)
            .where(_LINES.status == Status.HELD, _LINES.expires_at < moment, _LINES.order_id > after)
            .group_by(_LINES.order_id)
            .order_by(_LINES.order_id)
            .limit(limit)
        )
        return list(rows.scalars())
