"""What ``inventory.rejected`` does to orders (SPEC 5.3, 5.6). Real PostgreSQL; Kafka is part of the live tests."""

import uuid
from typing import Any

import pytest
from ecom_testing import Caller

from bookstore_common import events
from ecom.app import Service
from ecom.events.service import EFFECTS

pytestmark = pytest.mark.anyio


async def reject(service: Service, order_id: str) -> None:
    event = events.inventory_rejected(order_id=uuid.UUID(order_id), book_ids=[uuid.uuid4()])
    async with service.database.transaction() as session:
        await EFFECTS[event.event_type](session, event.payload)


def order_of(books: Any, order_id: str) -> tuple[str, str | None, int]:
    """Status, reason, and how many events tell of a cancellation."""
    status, reason = books.execute("SELECT status, cancel_reason FROM orders WHERE id = %s", (order_id,)).fetchone()
    told = books.execute("SELECT count(*) FROM outbox_events WHERE event_type = 'order.cancelled'").fetchone()[0]
    return status, reason, told


async def test_a_rejected_order_is_cancelled_without_an_event(service: Service, customer: Caller, books: Any) -> None:
    order = await customer.order()
    await reject(service, order["id"])
    assert order_of(books, order["id"]) == ("CANCELLED", "out_of_stock", 0)
    await reject(service, order["id"])
    assert order_of(books, order["id"]) == ("CANCELLED", "out_of_stock", 0)


async def test_an_order_that_was_sent_stays_so(service: Service, customer: Caller, books: Any) -> None:
    order = await customer.order()
    books.execute("UPDATE orders SET status = 'SHIPPED' WHERE id = %s", (order["id"],))
    await reject(service, order["id"])
    assert order_of(books, order["id"]) == ("SHIPPED", None, 0)


async def test_an_unknown_order_is_no_trouble(service: Service, books: Any) -> None:
    await reject(service, str(uuid.uuid4()))
    assert books.execute("SELECT count(*) FROM orders").fetchone() == (0,)
