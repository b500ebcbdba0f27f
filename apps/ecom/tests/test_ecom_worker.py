"""What ``inventory.rejected`` does to orders (SPEC 5.3, 5.6), in a real PostgreSQL; Kafka is part of the live tests."""

import uuid
from typing import Any

import pytest
from ecom_testing import Caller
from kafka import TopicPartition

from bookstore_common import consumer, events
from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from bookstore_common.testing.kafka import Broker, until, worker_settings
from ecom.app import Service
from ecom.events.service import EFFECTS
from ecom.worker import __main__ as process

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


async def test_the_worker_applies_a_rejection_once_and_sets_aside_what_is_none(
    customer: Caller, books: Any, environment: Any, fresh: str
) -> None:
    """The process's own worker, with a broker in memory."""
    order = await customer.order()
    event = events.inventory_rejected(order_id=uuid.UUID(order["id"]), book_ids=[uuid.uuid4()])
    settings = worker_settings(environment(fresh))
    database, metrics = Database(settings, process.SERVICE), Metrics()
    with Broker({**dict.fromkeys(EFFECTS, 3), process.HEARTBEATS: 1}).behind(consumer) as broker:
        topic = event.event_type
        broker.event(topic, {**event.payload, "book_ids": "none"}, partition=2)
        broker.event(topic, event.payload, partition=2, event_id=event.event_id)
        broker.event(topic, event.payload, partition=2, event_id=event.event_id)
        async with process.make_worker(settings, database, metrics).running():
            await until(lambda: broker.committed.get(TopicPartition(topic, 2)) == 3, "all to be consumed")
    await database.close()
    assert order_of(books, order["id"]) == ("CANCELLED", "out_of_stock", 0)
    assert books.execute("SELECT count(*) FROM processed_events").fetchone() == (1,)
    assert len(broker.values(f"{topic}.dlq")) == 1
