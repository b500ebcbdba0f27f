"""What was found of an order, as plain data, and the statements that find it. No address, e-mail, token or user is asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Object = dict[str, Any]
SLOTS = {"ecom": "debezium_ecom_slot", "inventory": "debezium_inventory_slot"}
# What a customer wrote stays in the database.
REASONS = ("cancelled_by_customer", "cancelled_by_admin", "out_of_stock")
ORDER_EVENTS = ("order.created", "order.cancelled")
# More are not shown.
MOST_ROWS = 200

_EVENTS = """(SELECT coalesce(json_agg(e ORDER BY e.at), '[]') FROM (
    SELECT id, event_type AS type, created_at AS at, request_id, wal_position < coalesce(
        (SELECT max(pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')) FROM pg_replication_slots WHERE slot_name = '{slot}'), 0) AS published
    FROM outbox_events WHERE {condition} ORDER BY created_at LIMIT {most}) e)"""
_CONSUMED = """'processed', (SELECT coalesce(json_agg(json_build_object('id', event_id, 'at', processed_at)), '[]')
        FROM processed_events WHERE event_id IN ({ids})),
    'letters', (SELECT coalesce(json_agg(json_build_object('id', event_id, 'at', set_aside_at, 'reason', reason,
        'open', resolved_at IS NULL)), '[]') FROM dead_letters WHERE event_id IN ({ids}))"""


def _listed(values: list[str]) -> str:
    return ", ".join(f"'{value}'" for value in values) or "NULL"


def ecom(order: str) -> str:
    """SQL for the order's row and its events; the order's time bounds what is read of the outbox."""
    reasons = _listed(list(REASONS))
    condition = (
        f"aggregate_id = '{order}' AND event_type IN ({_listed(list(ORDER_EVENTS))})"
        f" AND created_at >= (SELECT created_at - interval '1 minute' FROM orders WHERE id = '{order}')"
    )
    events = _EVENTS.format(slot=SLOTS["ecom"], condition=condition, most=MOST_ROWS)
    return f"""SELECT json_build_object('order', (SELECT json_build_object('status', status, 'total', total::text, 'currency', currency,
        'reason', CASE WHEN cancel_reason IN ({reasons}) THEN cancel_reason WHEN cancel_reason <> '' THEN 'in words of their own' END,
        'created_at', created_at, 'updated_at', updated_at,
        'lines', (SELECT count(*) FROM order_items WHERE order_id = orders.id),
        'copies', (SELECT coalesce(sum(quantity), 0) FROM order_items WHERE order_id = orders.id)) FROM orders WHERE id = '{order}'),
    'events', {events}, 'now', clock_timestamp())"""


def inventory(order: str, ids: list[str], since: datetime | None) -> str:
    """SQL for reservations, movements, events that they caused, and which events ``ids`` of the order are consumed."""
    books = f"(SELECT book_id FROM reservations WHERE order_id = '{order}')"
    caused = (
        f"(event_type = 'inventory.rejected' AND aggregate_id = '{order}' OR event_type = 'inventory.updated'"
        f" AND aggregate_id IN (SELECT book_id::text FROM reservations WHERE order_id = '{order}') AND payload->>'order_id' = '{order}')"
    )
    if since:
        caused += f" AND created_at >= timestamptz '{since.isoformat()}' - interval '1 minute'"
    events = _EVENTS.format(slot=SLOTS["inventory"], condition=caused, most=MOST_ROWS)
    return f"""SELECT json_build_object(
    'reservations', (SELECT coalesce(json_agg(json_build_object('book', book_id, 'copies', quantity, 'status', status,
        'expires_at', expires_at) ORDER BY book_id), '[]') FROM reservations WHERE order_id = '{order}'),
    'movements', (SELECT coalesce(json_agg(m ORDER BY m.at), '[]') FROM (
        SELECT created_at AS at, book_id AS book, delta, reserved_delta AS reserved, reason FROM stock_movements
        WHERE book_id IN {books} AND order_id = '{order}' ORDER BY id LIMIT {MOST_ROWS}) m),
    'cancelled_at', (SELECT cancelled_at FROM cancelled_orders WHERE order_id = '{order}'),
    'events', {events}, {_CONSUMED.format(ids=_listed(ids))})"""


def consumed(ids: list[str]) -> str:
    """SQL for which events the other service has consumed."""
    return f"SELECT json_build_object({_CONSUMED.format(ids=_listed(ids))})"


def analytics(order: str) -> str:
    """SQL for the copies of the order's rows, and the views that show them."""
    return f"""SELECT json_build_object(
    'fact', (SELECT json_build_object('status', status, 'synced_at', synced_at) FROM fact_orders WHERE order_id = '{order}'),
    'lines', (SELECT count(*) FROM fact_order_items WHERE order_id = '{order}'),
    'views', (SELECT coalesce(json_agg(json_build_object('name', mv_name, 'at', last_refresh_at, 'dirty', dirty) ORDER BY mv_name), '[]')
        FROM mv_refresh_state JOIN mv_dependencies USING (mv_name) WHERE source = 'fact_orders'))"""


@dataclass(frozen=True)
class Event:
    """A row of an outbox. ``published``: the slot is past it; only a row that was given again may be behind what was consumed."""

    id: str
    type: str
    at: datetime
    request_id: str | None
    published: bool


@dataclass(frozen=True)
class Log:
    """What a container printed; ``begins``: when its process started. ``cut``: there is more than was read."""

    service: str
    text: str
    begins: datetime | None = None
    cut: bool = False


@dataclass
class Seen:
    """``away``: part to the reason why it could not be asked. A part that was asked and knows nothing is empty, and not away."""

    order_id: str
    order: Object | None = None
    now: datetime | None = None
    events: list[Event] = field(default_factory=list)
    inventory: Object = field(default_factory=dict)
    caused: list[Event] = field(default_factory=list)
    ecom_consumed: Object = field(default_factory=dict)
    analytics: Object = field(default_factory=dict)
    logs: list[Log] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether any part has a row of the order."""
        found = (self.order, self.inventory.get("reservations"), self.inventory.get("cancelled_at"), self.analytics.get("fact"))
        return any(bool(one) for one in found)


def moment(text: str) -> datetime:
    """A time of PostgreSQL's JSON, or of a log line."""
    return datetime.fromisoformat(text)


def events(found: list[Object]) -> list[Event]:
    """Rows of an outbox."""
    return [Event(one["id"], one["type"], moment(one["at"]), one["request_id"], bool(one["published"])) for one in found]


def put(seen: Seen, part: str, answer: str) -> None:
    """Take the answer of a part."""
    found: Object = json.loads(answer)
    if part == "ecom-db":
        seen.order, seen.now, seen.events = found["order"], moment(found["now"]), events(found["events"])
    elif part == "inventory-db":
        seen.inventory, seen.caused = found, events(found["events"])
    elif part == "ecom-db (consumed)":
        seen.ecom_consumed = found
    else:
        seen.analytics = found
