"""What happens to placed orders, between HTTP and SQL."""

import asyncio
import uuid
from typing import Any

import structlog

from bookstore_common.events import EventLine, order_cancelled
from bookstore_common.outbox import OutboxRepository
from bookstore_common.pagination import PageRequest
from bookstore_common.problem import NotFoundError, ProblemError
from ecom.orders.models import Order
from ecom.orders.repository import OrderFilter, OrderReadRepository, OrderRepository, OrderRow
from ecom.orders.transitions import Status, following
from ecom.reservations.clients import InventoryUnavailableError, Reservations

GIVE_BACK_SECONDS = 2.0
CANCELLED_BY_CUSTOMER = "cancelled_by_customer"
CANCELLED_BY_ADMIN = "cancelled_by_admin"
_log = structlog.get_logger(__name__)


class InvalidTransitionError(ProblemError):
    status = 409
    code = "invalid_transition"

    def __init__(self, present: Status, wanted: Status) -> None:
        allowed = ", ".join(sorted(following(present))) or "none: it is final"
        super().__init__(f"An order that is {present} cannot become {wanted}; possible next statuses: {allowed}.")


def order_body(order: Order | OrderRow, *, with_user: bool = False) -> dict[str, Any]:
    """The order as its owner sees it; ``with_user`` as administrators do."""
    return {
        "id": order.id,
        **({"user_id": order.user_id} if with_user else {}),
        "status": order.status,
        "total": str(order.total),
        "currency": order.currency,
        "cancel_reason": order.cancel_reason,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
        "shipping": order.shipping,
        "items": [
            {
                "book_id": item.book_id,
                "title": item.title_at_purchase,
                "quantity": item.quantity,
                "price": str(item.price_at_purchase),
                "line_total": str(item.price_at_purchase * item.quantity),
            }
            for item in order.items
        ],
    }


class OrderReads:
    """Looks orders up. Without ``owner`` every order is visible and carries its user_id."""

    def __init__(self, orders: OrderReadRepository) -> None:
        self._orders = orders

    async def find(self, wanted: OrderFilter, page: PageRequest, *, owner: bool) -> dict[str, Any]:
        rows, total = await self._orders.find(wanted, page)
        if owner:
            for row in rows:
                del row["user_id"]
        return page.body(rows, total)

    async def get(self, order_id: uuid.UUID, user_id: str | None = None) -> dict[str, Any]:
        """Raises NotFoundError, also for an order of somebody else than ``user_id``."""
        row = await self._orders.get(order_id, user_id)
        if row is None:
            raise NotFoundError(f"No order has the id {order_id}.")
        return order_body(row, with_user=user_id is None)


class OrderChanges:
    """Moves orders on; the outbox row is written in the same transaction."""

    def __init__(self, orders: OrderRepository, outbox: OutboxRepository) -> None:
        self._orders = orders
        self._outbox = outbox
        self._cancelled: list[uuid.UUID] = []

    async def give_back(self, reservations: Reservations) -> None:
        """To be called after the commit: release what is still held for orders that were cancelled.

        Without it their stock would come back only with the ``order.cancelled`` event; that event also covers a hold
        that was committed meanwhile, and Inventory being down now.
        """
        for order_id in self._cancelled:
            try:
                async with asyncio.timeout(GIVE_BACK_SECONDS):
                    await reservations.release(order_id)
            except (InventoryUnavailableError, TimeoutError) as error:
                _log.warning("stock_returns_by_event", order_id=str(order_id), reason=type(error).__name__)

    async def cancel(self, order_id: uuid.UUID, user_id: str, reason: str | None) -> Order:
        """Raises NotFoundError, also for somebody else's order, and InvalidTransitionError unless CONFIRMED."""
        return await self._move(order_id, user_id, Status.CANCELLED, reason or CANCELLED_BY_CUSTOMER)

    async def set_status(self, order_id: uuid.UUID, wanted: Status) -> Order:
        """Raises NotFoundError and InvalidTransitionError."""
        return await self._move(order_id, None, wanted, CANCELLED_BY_ADMIN)

    async def _move(self, order_id: uuid.UUID, user_id: str | None, wanted: Status, reason: str) -> Order:
        order = await self._orders.get(order_id, user_id)
        if order is None:
            raise NotFoundError(f"No order has the id {order_id}.")
        present = Status(order.status)
        if wanted not in following(present):
            raise InvalidTransitionError(present, wanted)
        order.status = wanted.value
        if wanted is Status.CANCELLED:
            order.cancel_reason = reason
            items = [EventLine(item.book_id, item.quantity) for item in order.items]
            await self._outbox.add(order_cancelled(order_id=order.id, reason=reason, items=items))
            self._cancelled.append(order.id)
        await self._orders.flush()
        return order
