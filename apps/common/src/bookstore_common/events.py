"""Domain events (SPEC 5.6): builders for the producers, JSON Schemas for both sides' contract tests.

Every payload holds ``event_id, event_type, schema_version, occurred_at`` and the event's body; amounts are text with
two decimals, times RFC 3339 UTC. The schemas lie beside this module in ``schemas/<event type>.json``.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA_VERSION = 1
EVENT_TYPES = (
    "order.created", "order.cancelled", "book.created", "inventory.updated", "inventory.rejected", "cdc.audit",
)  # fmt: skip


class EventError(ValueError):
    """A payload breaks its schema; the text names the place and the rule."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, ready for the outbox. Topic = ``event_type``, Kafka key = ``aggregate_id``."""

    event_id: uuid.UUID
    event_type: str
    aggregate_type: str
    aggregate_id: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventLine:
    """Copies of one book in an order; ``price`` per copy, in USD."""

    book_id: uuid.UUID
    quantity: int
    price: Decimal | None = None


def _event(event_type: str, aggregate_type: str, aggregate_id: uuid.UUID | str, body: Mapping[str, Any]) -> Event:
    event_id = uuid.uuid4()
    payload = {
        "event_id": str(event_id),
        "event_type": event_type,
        "schema_version": SCHEMA_VERSION,
        "occurred_at": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        **body,
    }
    return Event(event_id, event_type, aggregate_type, str(aggregate_id), payload)


def _lines(items: Sequence[EventLine], *, priced: bool) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for item in items:
        line: dict[str, Any] = {"book_id": str(item.book_id), "quantity": item.quantity}
        if priced:
            if item.price is None:
                raise EventError(f"book {item.book_id}: order.created needs the price paid")
            line["price"] = f"{item.price:.2f}"
        lines.append(line)
    return lines


def order_created(
    *, order_id: uuid.UUID, user_id: str, items: Sequence[EventLine], total: Decimal, currency: str = "USD"
) -> Event:
    """An order was placed; ``items`` with prices, ``total`` in ``currency``."""
    body = {
        "order_id": str(order_id),
        "user_id": user_id,
        "items": _lines(items, priced=True),
        "total": f"{total:.2f}",
        "currency": currency,
    }
    return _event("order.created", "order", order_id, body)


def order_cancelled(*, order_id: uuid.UUID, reason: str, items: Sequence[EventLine]) -> Event:
    """An order was cancelled; its copies go back to stock."""
    body = {"order_id": str(order_id), "reason": reason, "items": _lines(items, priced=False)}
    return _event("order.cancelled", "order", order_id, body)


def book_created(*, book_id: uuid.UUID, title: str) -> Event:
    """A book is new in the catalogue."""
    return _event("book.created", "book", book_id, {"book_id": str(book_id), "title": title})


def inventory_updated(
    *,
    book_id: uuid.UUID,
    previous_quantity: int,
    new_quantity: int,
    reserved: int,
    reason: str,
    order_id: uuid.UUID | None = None,
) -> Event:
    """A stock row changed; quantities in copies, ``reserved`` as it is after the change."""
    body: dict[str, Any] = {
        "book_id": str(book_id),
        "previous_quantity": previous_quantity,
        "new_quantity": new_quantity,
        "reserved": reserved,
        "reason": reason,
    }
    if order_id is not None:
        body["order_id"] = str(order_id)
    return _event("inventory.updated", "inventory", book_id, body)


def inventory_rejected(*, order_id: uuid.UUID, book_ids: Sequence[uuid.UUID]) -> Event:
    """An order's copies are not there; the order must be cancelled."""
    body = {"order_id": str(order_id), "book_ids": [str(book_id) for book_id in book_ids]}
    return _event("inventory.rejected", "order", order_id, body)


def cdc_audit(table: str, body: Mapping[str, Any]) -> Event:
    """A digest of the rows of a captured table; ``body`` as :mod:`bookstore_common.audit` makes it."""
    return _event("cdc.audit", "table", table, body)


def schema(event_type: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of ``event_type``; raises EventError if there is no such event."""
    if event_type not in EVENT_TYPES:
        raise EventError(f"event_type: {event_type!r} is unknown; known: {', '.join(EVENT_TYPES)}")
    text = resources.files("bookstore_common").joinpath("schemas", f"{event_type}.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _validator(event_type: str) -> Draft202012Validator:
    return Draft202012Validator(schema(event_type))


def validate(event: Event | Mapping[str, Any]) -> None:
    """Raise EventError if the payload (of an Event, or as received) breaks the schema of its ``event_type``."""
    payload = event.payload if isinstance(event, Event) else event
    event_type = payload.get("event_type")
    if not isinstance(event_type, str):
        raise EventError("event_type: missing or not text")
    problems = sorted(_validator(event_type).iter_errors(dict(payload)), key=lambda error: error.json_path)
    if problems:
        # Not the value: it may be what a person typed.
        raise EventError(f"{event_type} at {problems[0].json_path}: breaks the rule {problems[0].validator!r}")
