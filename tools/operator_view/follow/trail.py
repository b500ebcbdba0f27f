"""From what was seen of an order: its lines in time order, the steps of its way, and where it stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from operator_view.follow.seen import Event, Log, Object, Seen, moment

# As bookstore_common.gaps has it: what is older may be gone from the outbox.
OUTBOX_DAYS = 30
# Of a log line only these are shown, in this order: others may hold a person.
FIELDS = (
    "listener", "method", "path", "route", "status", "duration_ms", "flags", "topic", "result", "place", "event_id", "peer", "attempt",
    "error", "reason",
)  # fmt: skip
_MOST_TEXT = 120
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Who must have logged an order that was placed through the gateway.
EXPECTED = ("gateway", "ecom-api", "inventory-api", "inventory-worker")


@dataclass(frozen=True)
class Line:
    """One thing that happened."""

    at: datetime
    where: str
    text: str


@dataclass(frozen=True)
class Step:
    """``done`` is None when the part that knows it did not answer; ``text`` says what happened, or what did not."""

    done: bool | None
    text: str


def clock(at: datetime) -> str:
    """A time for people, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


# Logs -----------------------------------------------------------------------------------------------------------------


def parsed(log: Log, words: set[str]) -> list[Object]:
    """The lines that hold one of ``words`` and are records of ours; Envoy, libraries and a line cut off may print others."""
    found = []
    for line in log.text.splitlines():
        if not any(word in line for word in words):
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("timestamp"), str) and isinstance(record.get("event"), str):
            found.append(record)
    return found


def request_ids(seen: Seen) -> list[str]:
    """Of the requests that changed the order: those of its events, and those that the gateway passed on to it."""
    ids = {event.request_id for event in [*seen.events, *seen.caused] if event.request_id}
    for log in seen.logs:
        if log.service == "gateway":
            for record in parsed(log, {seen.order_id}):
                changes = record.get("method") not in SAFE_METHODS and seen.order_id in str(record.get("path"))
                if changes and isinstance(record.get("request_id"), str):
                    ids.add(record["request_id"])
    return sorted(ids)


def logged(seen: Seen, ids: list[str]) -> list[Line]:
    """Lines of the order's requests, and those that name the order but only look at it not."""
    found = []
    for log in seen.logs:
        for record in parsed(log, {seen.order_id, *ids}):
            mine = record.get("request_id") in ids
            if not mine and (record["event"] == "request" or seen.order_id not in json.dumps(record)):
                continue
            try:
                at = moment(record["timestamp"])
            except ValueError:
                continue
            if at.tzinfo is None:
                continue
            shown = [f"{name}={_short(record[name])}" for name in FIELDS if record.get(name) not in (None, "", "-")]
            own = f" [{record['request_id']}]" if mine else ""
            found.append(Line(at, f"{log.service} log", f"{_short(record['event'])} {' '.join(shown)}".rstrip() + own))
    return found


def _short(value: Any) -> str:
    """Whatever stands there, on one line."""
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}..."


def log_notes(seen: Seen, ids: list[str]) -> list[str]:
    """Why the logs do not tell all."""
    if not ids:
        return ["no request id is known of this order: it is older than the outbox's column, or no row is left; only its rows are shown"]
    notes = []
    for service in EXPECTED:
        mine = [log for log in seen.logs if log.service == service]
        if not mine or any(record.get("request_id") in ids for log in mine for record in parsed(log, set(ids))):
            continue
        begins = min((log.begins for log in mine if log.begins), default=None)
        placed = moment(seen.order["created_at"]) if seen.order else None
        late = begins is not None and placed is not None and begins > placed
        cut = "; more of it than is read here" if any(log.cut for log in mine) else ""
        since = f": its log begins {clock(begins)}" if late and begins else ""
        notes.append(f"{service} has no log line of these requests{since}{cut}")
    return notes


# Rows -----------------------------------------------------------------------------------------------------------------


def rows(seen: Seen) -> list[Line]:
    """What the databases know, where they know when."""
    found = []
    if seen.order:
        order = seen.order
        text = f"order placed: {order['lines']} lines, {order['copies']} copies, {order['total']} {order['currency']}"
        found.append(Line(moment(order["created_at"]), "ecom-db orders", text))
        if order["updated_at"] != order["created_at"]:
            because = f" ({order['reason']})" if order["reason"] else ""
            found.append(Line(moment(order["updated_at"]), "ecom-db orders", f"last change: now {order['status']}{because}"))
    for place, events in (("ecom-db", seen.events), ("inventory-db", seen.caused)):
        for event in events:
            own = f" [{event.request_id}]" if event.request_id else ""
            there = "published" if event.published else "not published yet"
            found.append(Line(event.at, f"{place} outbox", f"{event.type} {event.id}, {there}{own}"))
    for place, consumed, events in (
        ("inventory-db", seen.inventory, seen.events), ("ecom-db", seen.ecom_consumed, seen.caused),
    ):  # fmt: skip
        types = {event.id: event.type for event in events}
        for one in consumed.get("processed", []):
            found.append(Line(moment(one["at"]), f"{place} worker", f"consumed {types.get(one['id'], 'event')} {one['id']}"))
        for one in consumed.get("letters", []):
            text = f"set aside {types.get(one['id'], 'event')} {one['id']}: {_short(one['reason'])}"
            found.append(Line(moment(one["at"]), f"{place} worker", text + ("" if one["open"] else " (dealt with)")))
    for one in seen.inventory.get("movements", []):
        text = f"{one['reason']}: book {one['book']}, shelf {one['delta']:+d}, reserved {one['reserved']:+d}"
        found.append(Line(moment(one["at"]), "inventory-db stock", text))
    if seen.inventory.get("cancelled_at"):
        found.append(Line(moment(seen.inventory["cancelled_at"]), "inventory-db orders", "the cancellation is known"))
    if fact := seen.analytics.get("fact"):
        text = f"fact_orders: {fact['status']}; fact_order_items: {seen.analytics['lines']}"
        found.append(Line(moment(fact["synced_at"]), "analytics-db", text))
    for view in seen.analytics.get("views", []) if fact else []:
        if view["at"]:
            again = ", has to be again" if view["dirty"] else ""
            found.append(Line(moment(view["at"]), "analytics-db views", f"{view['name']} refreshed{again}"))
    return found


# Steps ----------------------------------------------------------------------------------------------------------------


def steps(seen: Seen) -> list[Step]:
    """The order's way, in its order."""
    found = [_row(seen)]
    if seen.order is None and "ecom-db" not in seen.away:
        return found
    if "ecom-db" not in seen.away:
        found += [step for event in _expected(seen) for step in _passage(seen, event, "inventory-worker", seen.inventory, "inventory-db")]
        for event in seen.caused:
            if event.type == "inventory.rejected":
                found += _passage(seen, event, "ecom-worker", seen.ecom_consumed, "ecom-db")
    return [*found, _reservation(seen), *_copies(seen)]


def _row(seen: Seen) -> Step:
    if "ecom-db" in seen.away:
        return Step(None, "whether there is such an order: ecom-db was not asked")
    if seen.order:
        return Step(True, f"the order is {seen.order['status']}")
    held = seen.inventory.get("reservations", [])
    if held:
        return Step(False, f"Inventory has {held[0]['status']} copies, and ecom-db has no such order: its checkout did not commit")
    return Step(False, "ecom-db has no such order")


def _expected(seen: Seen) -> list[Event | str]:
    """The order's events; the name of one that has to be there and is not."""
    order: Object = seen.order or {}
    wanted = {"order.created": order["created_at"]}
    if order["status"] == "CANCELLED" and order["reason"] != "out_of_stock":
        wanted["order.cancelled"] = order["updated_at"]
    found: list[Event | str] = []
    for name, since in wanted.items():
        mine = [event for event in seen.events if event.type == name]
        old = seen.now is not None and seen.now - moment(since) > timedelta(days=OUTBOX_DAYS)
        found += mine or ([] if old else [name])
    return found


def _passage(seen: Seen, event: Event | str, worker: str, consumed: Object, place: str) -> list[Step]:
    """One event from the outbox to who consumes it."""
    if isinstance(event, str):
        return [Step(False, f"the outbox has no {event} of this order, which is written in the same transaction")]
    if place in seen.away:
        if not event.published:
            return [_unpublished(event, worker)]
        return [Step(None, f"whether {worker} consumed {event.type}: {place} was not asked")]
    if any(one["id"] == event.id for one in consumed.get("processed", [])):
        return [Step(True, f"{worker} consumed {event.type}")]
    if letter := next((one for one in consumed.get("letters", []) if one["id"] == event.id and one["open"]), None):
        return [Step(False, f"{worker} set {event.type} {event.id} aside: {_short(letter['reason'])}; `make replay` gives it again")]
    if not event.published:
        return [_unpublished(event, worker)]
    return [Step(False, f"outbox row {event.type} written {clock(event.at)} and published; not yet consumed by {worker}")]


def _unpublished(event: Event, worker: str) -> Step:
    server = "debezium-ecom" if worker == "inventory-worker" else "debezium-inventory"
    return Step(False, f"outbox row {event.type} written {clock(event.at)}; not yet published by {server}, so not consumed by {worker}")


def _reservation(seen: Seen) -> Step:
    if "inventory-db" in seen.away:
        return Step(None, "what became of its copies: inventory-db was not asked")
    status = {one["status"] for one in seen.inventory.get("reservations", [])}
    told = "/".join(sorted(status)) or "none"
    if seen.order is None:
        return Step(None, f"its reservation is {told}")
    if seen.order["status"] == "CANCELLED":
        over = not status & {"HELD", "COMMITTED"}
        return Step(over, f"its reservation is {told}" + ("" if over else ": the copies of a cancelled order have to come back"))
    return Step(status == {"COMMITTED"}, f"its reservation is {told}" + ("" if status == {"COMMITTED"} else ", not COMMITTED"))


def _copies(seen: Seen) -> list[Step]:
    if "analytics-db" in seen.away:
        return [Step(None, "whether analytics shows it: analytics-db was not asked")]
    fact = seen.analytics.get("fact")
    if not fact and not seen.order:
        return [Step(None, "fact_orders has no such order")]
    if not fact:
        return [Step(False, "fact_orders has no such order yet: debezium-ecom or job cdc-fact-orders is behind")]
    if seen.order and fact["status"] != seen.order["status"]:
        return [Step(False, f"fact_orders still says {fact['status']}: debezium-ecom or job cdc-fact-orders is behind")]
    lines = seen.analytics["lines"]
    if seen.order and lines != seen.order["lines"]:
        return [Step(False, f"fact_order_items has {lines} of {seen.order['lines']} lines: job cdc-fact-order-items is behind")]
    since = moment(fact["synced_at"])
    views = seen.analytics.get("views", [])
    stale = [view["name"] for view in views if not view["at"] or moment(view["at"]) < since]
    copied = Step(True, f"analytics has it since {clock(since)}")
    if stale:
        behind = f"{len(stale)} of {len(views)} views were not refreshed since, first {stale[0]}: mv-refresher is behind"
        return [copied, Step(False, behind)]
    return [copied, Step(True, f"all {len(views)} views that show orders were refreshed since")]
