"""All SQL of the orders, for their owners and for administrators."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Text, cast, exists, func, select, text
from sqlalchemy.orm import selectinload

from bookstore_common.db import ReadSession, Session
from bookstore_common.pagination import PageRequest, read_page
from ecom.orders.models import Order, OrderItem
from ecom.orders.transitions import Status

# As in ecom.cart.repository; 2 stands for orders.
_LOCK = text("SELECT pg_advisory_xact_lock(2, hashtext(:order_id))")
_SUMMARY: tuple[ColumnElement[Any], ...] = (
    Order.__table__.c.id,
    Order.__table__.c.user_id,
    Order.__table__.c.status,
    cast(Order.total, Text).label("total"),
    Order.__table__.c.currency,
    Order.__table__.c.cancel_reason,
    Order.__table__.c.created_at,
    Order.__table__.c.updated_at,
)
_ITEM_COUNT = (
    select(func.sum(OrderItem.quantity)).where(OrderItem.order_id == Order.id).scalar_subquery().label("item_count")
)
_NEWEST_FIRST = (Order.created_at.desc(), Order.__table__.c.id)


_ORDERS, _ITEMS = Order.__table__.c, OrderItem.__table__.c
_ORDER: tuple[ColumnElement[Any], ...] = (
    _ORDERS.id,
    _ORDERS.user_id,
    _ORDERS.status,
    _ORDERS.total,
    _ORDERS.currency,
    _ORDERS.cancel_reason,
    _ORDERS.created_at,
    _ORDERS.updated_at,
    _ORDERS.shipping,
)
_ITEM: tuple[ColumnElement[Any], ...] = (
    _ITEMS.book_id,
    _ITEMS.title_at_purchase,
    _ITEMS.quantity,
    _ITEMS.price_at_purchase,
)


class OrderItemRow(NamedTuple):
    """As :data:`_ITEM`; named as the columns of :class:`OrderItem`."""

    book_id: uuid.UUID
    title_at_purchase: str
    quantity: int
    price_at_purchase: Decimal


class OrderRow(NamedTuple):
    """As :data:`_ORDER`, and the items; named as the columns of :class:`Order`."""

    id: uuid.UUID
    user_id: str
    status: str
    total: Decimal
    currency: str
    cancel_reason: str | None
    created_at: datetime
    updated_at: datetime
    shipping: dict[str, Any]
    items: Sequence[OrderItemRow]


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders: of one user, in one status, created at or after ``created_from`` and before ``created_before``."""

    user_id: str | None = None
    status: Status | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = []
        if self.user_id is not None:
            conditions.append(Order.user_id == self.user_id)
        if self.status is not None:
            conditions.append(Order.status == self.status.value)
        if self.created_from is not None:
            conditions.append(Order.created_at >= self.created_from)
        if self.created_before is not None:
            conditions.append(Order.created_at < self.created_before)
        return conditions


class OrderReadRepository:
    """Orders as rows; with a ``user_id``, other users' orders do not exist."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def find(self, wanted: OrderFilter, page: PageRequest) -> tuple[list[dict[str, Any]], int]:
        """Summaries of the page, newest first, and the number of matches that pages reach."""
        statement = select(*_SUMMARY, _ITEM_COUNT).where(*wanted.conditions())
        return await read_page(self._session, statement, _NEWEST_FIRST, page, key=Order.__table__.c.id)

    async def get(self, order_id: uuid.UUID, user_id: str | None = None) -> OrderRow | None:
        """One order with ``shipping`` and ``items``."""
        conditions = [Order.id == order_id, *OrderFilter(user_id=user_id).conditions()]
        row = (await self._session.execute(select(*_ORDER).where(*conditions))).one_or_none()
        if row is None:
            return None
        items = await self._session.execute(
            select(*_ITEM).where(OrderItem.order_id == order_id).order_by(OrderItem.book_id)
        )
        return OrderRow._make([*row, [OrderItemRow._make(item) for item in items]])


class OrderRepository:
    """Orders as objects, to be changed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def lock(self, order_id: uuid.UUID) -> None:
        """Until the transaction ends nobody else places or gives up this order, which may have no row yet."""
        await self._session.execute(_LOCK, {"order_id": str(order_id)})

    async def exists(self, order_id: uuid.UUID) -> bool:
        return bool(await self._session.scalar(select(exists().where(Order.id == order_id))))

    async def get(self, order_id: uuid.UUID, user_id: str | None = None) -> Order | None:
        """The order with its items, locked against changes; with a ``user_id`` only if it is that user's."""
        conditions = [Order.id == order_id, *OrderFilter(user_id=user_id).conditions()]
        return await self._session.scalar(
            select(Order).where(*conditions).options(selectinload(Order.items)).with_for_update()
        )

    def add(self, order: Order) -> None:
        self._session.add(order)

    async def flush(self) -> None:
        """Send the changes now; objects get what the database filled in."""
        await self._session.flush()
