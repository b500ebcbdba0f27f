"""From the outbox through Debezium and Kafka to the workers: each event takes effect once (SPEC 5.4, 5.6, 7)."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from .goods import Goods, Sql
from .people import People
from .signin import body_of
from .waiting import until
from .workloads import Workloads

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def broker(cluster: Cluster) -> Broker:
    """The broker's own tool."""
    return Broker(cluster, 60)


def insert_event(sql: Sql, event_type: str, aggregate: str, payload: dict[str, Any]) -> str:
    """Write an outbox row as a service would; returns its id."""
    event_id = str(uuid.uuid4())
    document = json.dumps({"event_id": event_id, "event_type": event_type, **payload})
    sql(
        "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)"
        f" VALUES ('{event_id}', 'test', '{aggregate}', '{event_type}', '{document}')"
    )
    return event_id


def end(broker: Broker, topic: str) -> int:
    """Records that were ever written to a topic."""
    offset: int = broker.describe()["topics"][topic]["end"]
    return offset


def test_an_order_is_published_once_and_commits_its_hold(
    people: People, goods: Goods, broker: Broker, ecom_sql: Sql, inventory_sql: Sql
) -> None:
    book, customer = goods.book(copies=3), people.customer()
    placed = body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], 2)["total"]))
    status = f"SELECT status FROM reservations WHERE order_id = '{placed['id']}'"
    took = until(lambda: inventory_sql(status) == "COMMITTED", "order.created to commit the hold")
    print(f"committed {took:.2f} s after the order")
    event_id = ecom_sql(f"SELECT id FROM outbox_events WHERE event_type = 'order.created' AND aggregate_id = '{placed['id']}'")
    assert inventory_sql(f"SELECT count(*) FROM processed_events WHERE event_id = '{event_id}'") == "1"
    records = broker.records("order.created", json.dumps(placed["id"]))
    assert len(records) == 1
    payload = json.loads(records[0]["value"])
    assert (payload["event_id"], payload["order_id"]) == (event_id, placed["id"])
    assert [(line["book_id"], line["quantity"]) for line in payload["items"]] == [(book["id"], 2)]
    # Addresses do not leave the database.
    captured = broker.records("cdc.ecom.public.orders", json.dumps({"id": placed["id"]}, separators=(",", ":")))
    assert captured
    assert "shipping" not in json.dumps(captured)


def test_a_new_book_gets_a_stock_row(goods: Goods, inventory_sql: Sql, ecom_sql: Sql) -> None:
    book = goods.book(copies=1)
    event = f"SELECT id FROM outbox_events WHERE event_type = 'book.created' AND aggregate_id = '{book['id']}'"
    event_id = ecom_sql(event)
    until(
        lambda: inventory_sql(f"SELECT count(*) FROM processed_events WHERE event_id = '{event_id}'") == "1", "book.created to be consumed"
    )
    assert inventory_sql(f"SELECT quantity FROM inventory WHERE book_id = '{book['id']}'") == "1"


def test_an_order_without_copies_is_rejected_and_cancelled(
    cluster: Cluster, people: People, goods: Goods, ecom_sql: Sql, inventory_sql: Sql
) -> None:
    """As if its hold had expired and others had bought the rest: the hold and the copies are taken away by hand."""
    book, customer = goods.book(copies=2), people.customer()
    total = customer.add(book["id"], 2)["total"]
    workloads = Workloads(cluster)
    with workloads.without("Deployment", "inventory", "inventory-worker"):
        placed = body_of(customer.checkout(str(uuid.uuid4()), total))
        inventory_sql(f"""
            UPDATE reservations SET status = 'EXPIRED' WHERE order_id = '{placed['id']}';
            UPDATE inventory SET quantity = 0, reserved = 0 WHERE book_id = '{book['id']}';
        """)
    order = f"SELECT status || '|' || coalesce(cancel_reason, '') FROM orders WHERE id = '{placed['id']}'"
    until(lambda: ecom_sql(order) == "CANCELLED|out_of_stock", "inventory.rejected to cancel the order", 60)


def test_what_is_no_event_is_set_aside_and_does_not_stop_the_others(
    people: People, goods: Goods, broker: Broker, ecom_sql: Sql, inventory_sql: Sql
) -> None:
    book, customer = goods.book(copies=1), people.customer()
    before = end(broker, "order.created.dlq")
    insert_event(ecom_sql, "order.created", book["id"], {"schema_version": 1, "order_id": "no uuid"})
    placed = body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"])["total"]))
    status = f"SELECT status FROM reservations WHERE order_id = '{placed['id']}'"
    until(lambda: inventory_sql(status) == "COMMITTED", "the good event to be applied")
    until(lambda: end(broker, "order.created.dlq") == before + 1, "the other one to be set aside", pause=2)
    assert "no uuid" in broker.records("order.created.dlq")[-1]["value"]
    letter = inventory_sql("SELECT event_id IS NOT NULL, reason FROM dead_letters WHERE resolved_at IS NULL")
    assert letter.startswith("t|order.created at $"), letter
    # Dealt with, as `make replay` does when it is acknowledged: verify takes a dead letter for a fault.
    inventory_sql("UPDATE dead_letters SET resolved_at = now() WHERE resolved_at IS NULL")
    broker.call("purge", "order.created.dlq")
