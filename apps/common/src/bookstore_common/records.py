"""Records of Kafka as they may really be: any bytes. Unreadable ones raise :class:`UnreadableError` only.

Python's parser takes more than JSON (NaN, lone surrogates, any number of equal keys, depth until the stack ends), and a
schema's check may take a time that grows with the square of what it is given; so both get only what events need.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bookstore_common.bodies import check_json
from bookstore_common.context import harmless
from bookstore_common.events import EventError, validate
from bookstore_common.problem import InvalidInputError

# The largest event is an audit's digest, some 10 KB; an order has up to 150 values.
MAX_BYTES = 262_144
_REASON_LENGTH = 300
_NUL = "\x00"
# debezium's outbox router makes it of the outbox's column; nobody else writes it.
REQUEST_ID_HEADER = "request_id"
_HEADER_BYTES = 512


class UnreadableError(ValueError):
    """A record that is not what its topic holds; the text says why, and holds nothing of the record."""


def shortened(text: str, length: int = _REASON_LENGTH) -> str:
    """``text`` as it may stand in a header, a log line and a column: short, without NUL and lone surrogates."""
    return text[:length].replace(_NUL, "").encode("utf-8", "backslashreplace").decode()[:length]


def json_object(value: bytes | None) -> dict[str, Any]:
    """Parse a record's value."""
    if value is None:
        raise UnreadableError("no value")
    if len(value) > MAX_BYTES:
        raise UnreadableError(f"{len(value)} bytes; no event has more than {MAX_BYTES}")
    try:
        # UTF-8, RFC 8259, no lone surrogates, bounded depth and number of values.
        check_json(value)
        found = json.loads(value, object_pairs_hook=_unique, parse_float=_finite)
    except InvalidInputError as error:
        raise UnreadableError(f"no JSON: {error.errors[0].message if error.errors else error}") from None
    except UnreadableError:
        raise
    except Exception as error:
        # Numbers of more digits than Python converts, a stack that ends: whatever it is, it is the record's.
        raise UnreadableError(f"no JSON: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise UnreadableError("no JSON object")
    return found


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadableError("a key stands twice in an object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise UnreadableError("a number is out of range")
    return number


def request_id(headers: Sequence[tuple[str, bytes | None]] | None) -> str | None:
    """The id of the request that caused an event, as Debezium writes it: JSON, with or without its schema.

    Anything else there, or nothing, is no id: the event is as good without one.
    """
    for name, value in headers or ():
        if name != REQUEST_ID_HEADER or value is None or len(value) > _HEADER_BYTES:
            continue
        try:
            found = json.loads(value)
        except ValueError:
            continue
        if isinstance(found, dict):
            found = found.get("payload")
        if isinstance(found, str) and harmless(found):
            return found
    return None


def event(value: bytes | None, topic: str) -> dict[str, Any]:
    """Parse an event of ``topic``: valid against its schema, and of the topic's type."""
    payload = json_object(value)
    try:
        validate(payload)
    except EventError as error:
        raise UnreadableError(str(error)) from None
    except Exception as error:
        raise UnreadableError(f"cannot be validated: {type(error).__name__}") from None
    if payload["event_type"] != topic:
        raise UnreadableError(f"event_type {payload['event_type']} does not belong into this topic")
    return payload


@dataclass(frozen=True, slots=True)
class Beat:
    """A source's time; ``snapshot``: as a new snapshot found the row, not as it was written."""

    moment: datetime
    snapshot: bool


def heartbeat(value: bytes | None, now: datetime, skew: timedelta) -> Beat | None:
    """A change of a source's table cdc_heartbeat; None if it has no time, as a deletion.

    A time more than ``skew`` after ``now`` is nobody's: who believed it would take things for known that are not.
    """
    if value is None:
        return None
    change = json_object(value)
    row = change.get("after")
    if row is None and "after" in change:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("ts"), str):
        raise UnreadableError("no time at after.ts")
    try:
        moment = datetime.fromisoformat(row["ts"])
        zone = moment.tzinfo
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnreadableError("after.ts is no time") from None
    if zone is None:
        raise UnreadableError("after.ts has no time zone")
    if moment > now + skew:
        raise UnreadableError(f"after.ts is {moment.isoformat()}, which is to come")
    return Beat(moment, change.get("op") == "r")
