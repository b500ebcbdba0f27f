"""Contract of the producer (SPEC 5.6): each stock change is one ``inventory.updated`` row of its own transaction."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from inventory_testing import book, commit, order

from bookstore_common import events
from inventory.app import Service

pytestmark = pytest.mark.anyio
STOCK = "/internal/admin/stock"
HOLDS = "/internal/reservations"
Headers = dict[str, str]


def published(rows: Any) -> list[dict[str, Any]]:
    """Payloads in the order of writing; each must keep to its schema and agree with its row."""
    found = rows.execute(
        "SELECT id::text, aggregate_type, aggregate_id, event_type, payload, created_at FROM outbox_events"
        " ORDER BY created_at"
    ).fetchall()
    payloads = []
    for event_id, aggregate_type, aggregate_id, event_type, payload, created_at in found:
        events.validate(payload)
        assert (payload["event_id"], payload["event_type"]) == (event_id, event_type)
        # Kafka's key, so that one book's events stay in order.
        assert (aggregate_type, aggregate_id) == ("inventory", payload["book_id"])
        assert abs(datetime.fromisoformat(payload["occurred_at"]) - created_at) < timedelta(minutes=1)
        assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=5)
        payloads.append(payload)
    return payloads


def body_of(payload: dict[str, Any]) -> dict[str, Any]:
    """The event without what every event has."""
    return {
        name: value
        for name, value in payload.items()
        if name not in {"event_id", "event_type", "schema_version", "occurred_at"}
    }


async def test_events_of_each_change(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers, admin: Headers, rows: Any
) -> None:
    items = [{"book_id": book(29), "quantity": 2}]
    await internal.post(HOLDS, json={"order_id": order(1), "items": items}, headers=ecom)
    await internal.delete(f"{HOLDS}/{order(1)}", headers=ecom)
    await internal.post(HOLDS, json={"order_id": order(2), "items": items}, headers=ecom)
    await commit(service, order(2))
    more = await internal.post(f"{STOCK}/{book(29)}/adjust", json={"delta": 6, "reason": "delivery"}, headers=admin)
    over = {**admin, "if-match": more.headers["etag"]}
    await internal.put(f"{STOCK}/{book(29)}", json={"quantity": 5}, headers=over)
    found = published(rows)
    assert {payload["event_type"] for payload in found} == {"inventory.updated"}
    assert len({payload["event_id"] for payload in found}) == 6
    same = {"book_id": book(29)}
    assert [body_of(payload) for payload in found] == [
        {**same, "previous_quantity": 3, "new_quantity": 3, "reserved": 2, "reason": "reserved", "order_id": order(1)},
        {**same, "previous_quantity": 3, "new_quantity": 3, "reserved": 0, "reason": "released", "order_id": order(1)},
        {**same, "previous_quantity": 3, "new_quantity": 3, "reserved": 2, "reason": "reserved", "order_id": order(2)},
        {**same, "previous_quantity": 3, "new_quantity": 1, "reserved": 0, "reason": "committed", "order_id": order(2)},
        {**same, "previous_quantity": 1, "new_quantity": 7, "reserved": 0, "reason": "delivery"},
        {**same, "previous_quantity": 7, "new_quantity": 5, "reserved": 0, "reason": "set"},
    ]


async def test_one_event_and_one_movement_per_book(internal: httpx2.AsyncClient, ecom: Headers, rows: Any) -> None:
    items = [{"book_id": book(number), "quantity": number} for number in (7, 3, 5)]
    await internal.post(HOLDS, json={"order_id": order(1), "items": items}, headers=ecom)
    assert {payload["book_id"]: payload["reserved"] for payload in published(rows)} == {
        book(3): 3, book(5): 5, book(7): 7,
    }  # fmt: skip
    # xmin is the transaction that wrote a row: all of them in one.
    transactions = rows.execute(
        "SELECT xmin::text FROM outbox_events UNION SELECT xmin::text FROM stock_movements WHERE reason = 'reserved'"
        " UNION SELECT xmin::text FROM reservations UNION SELECT xmin::text FROM inventory WHERE reserved > 0"
    ).fetchall()
    assert len(transactions) == 1


async def test_what_is_refused_is_not_told(
    internal: httpx2.AsyncClient, ecom: Headers, admin: Headers, rows: Any
) -> None:
    short = {"order_id": order(1), "items": [{"book_id": book(n), "quantity": 9} for n in (1, 29)]}
    assert (await internal.post(HOLDS, json=short, headers=ecom)).status_code == 409
    assert (await internal.delete(f"{HOLDS}/{order(1)}", headers=ecom)).status_code == 204
    bad = {"delta": -51, "reason": "lost"}
    assert (await internal.post(f"{STOCK}/{book(1)}/adjust", json=bad, headers=admin)).status_code == 409
    assert published(rows) == []


async def test_an_admins_words_arrive_as_written(internal: httpx2.AsyncClient, admin: Headers, rows: Any) -> None:
    words = "Rücksendung „3 Stück“ - 'beschädigt'; \\ \u05d0\u0301 🙂" + "x" * 200
    answer = await internal.post(f"{STOCK}/{book(1)}/adjust", json={"delta": 1, "reason": words}, headers=admin)
    assert answer.status_code == 200
    assert [payload["reason"] for payload in published(rows)] == [words]
    assert json.loads(json.dumps(published(rows)[0]))["reason"] == words
