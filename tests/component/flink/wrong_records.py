"""Records that a change topic should never hold, made of recorded ones, and what is to become of each."""

from __future__ import annotations

import json
import random
import uuid
from typing import Any

from .broker import Record

Change = dict[str, Any]
KEYS = {"cdc.inventory.public.inventory": "book_id"}
# Topic to a column of each kind that it has: text (with its length), decimal, integer, time.
COLUMNS: dict[str, dict[str, Any]] = {
    "cdc.ecom.public.books": {"text": ("title", 255), "decimal": "price", "time": "created_at"},
    "cdc.ecom.public.orders": {"text": ("user_id", 255), "decimal": "total", "time": "updated_at"},
    "cdc.ecom.public.order_items": {"text": ("order_id", 36), "decimal": "price_at_purchase", "integer": "quantity"},
    "cdc.inventory.public.inventory": {"integer": "reserved", "time": "updated_at"},
}


def key_of(topic: str, identity: str) -> bytes:
    """The key that Debezium writes."""
    return json.dumps({KEYS.get(topic, "id"): identity}, separators=(",", ":")).encode()


def recorded(topic: str, lines: list[str]) -> list[Record]:
    """The recorded lines with their keys; an empty line is a tombstone."""
    records: list[Record] = []
    for line in lines:
        if line:
            change = json.loads(line)
            row = change["after"] or change["before"]
            records.append((key_of(topic, row[KEYS.get(topic, "id")]), line.encode()))
        else:
            records.append((records[-1][0], None))
    return records


def insertion(topic: str, line: str, identity: str, **columns: Any) -> Change:
    """The recorded insertion as one of another row, with other values."""
    change: Change = json.loads(line)
    change["after"].update({KEYS.get(topic, "id"): identity, **columns})
    return change


def encoded(change: Change) -> bytes:
    return json.dumps(change, separators=(",", ":")).encode()


def wrong(topic: str, line: str) -> list[tuple[bytes, str]]:
    """Values and what the reason must hold; ``line``: the recorded insertion of the topic."""
    key = KEYS.get(topic, "id")

    def row(**columns: Any) -> bytes:
        return encoded(insertion(topic, line, str(uuid.uuid4()), **columns))

    def record(**parts: Any) -> bytes:
        return encoded({**json.loads(line), **parts})

    columns = COLUMNS[topic]
    without = insertion(topic, line, str(uuid.uuid4()))
    missing = next(name for name in columns.values() if isinstance(name, str))
    del without["after"][missing]
    found = [
        (b"x", "no JSON"), (b"", "no JSON object"), (b"\xff\xfe", "no UTF-8"), (b"[]", "no JSON object"), (b"null", "no JSON object"),
        (b"[" * 100_000, "no JSON"), (b'{"op":"c"}', "without an object after"), (b'{"op":"u","after":7}', "without an object after"),
        (b'{"op":1}', "no text op"), (b'{"op":"c","op":"d"}', "no JSON"), (b"{}{}", "no JSON"), (b"1" * 5000, "no JSON"),
        (b"y" * 100_000, "(kept: the first 65536 of 100000 bytes)"),
        (record(op="t", before=None, after=None), "truncated"), (record(op="m"), "op 'm' is none of"), (record(op="\x00"), r"op '\u0000'"),
        (record(op="d", before=None, after=None), "without an object before"),
        (record(op="d", before={}, after=None), f"column {key}: the record does not have it"),
        (encoded(without), f"column {missing}: the record does not have it"),
        (row(**{key: "i" * 37}), f"column {key}: a text of 37 characters"),
        (row(**{missing: None}), f"column {missing}: null"),
        (row(**{missing: {"a": 1}}), f"column {missing}: an object is"),
    ]  # fmt: skip
    if "text" in columns:
        name, length = columns["text"]
        found += [
            (row(**{name: "\N{OPEN BOOK}" * (length + 1)}), f"column {name}: a text of {length + 1} characters"),
            (row(**{name: "a\0b"}), f"column {name}: 'a\\u0000b' is a text with U+0000"),
            (row(**{name: "\ud800"}), f"column {name}: '\\ud800' is a text with half"),
            (row(**{name: "__debezium_unavailable_value"}), f"column {name}: the record does not hold its value"),
            (row(**{name: 7}), f"column {name}: '7' is no text"),
        ]
    if "decimal" in columns:
        name = columns["decimal"]
        for value in ("NaN", "Infinity", "-Infinity", "1e3", "", "١٢", "1" * 5000, True):
            found.append((row(**{name: value}), f"column {name}: "))
        for value in ("0.001", "99999999999.00", "1" * 40):
            found.append((row(**{name: value}), f"column {name}: '{value}' is more digits than"))
        found.append((row().replace(f'"{name}":"'.encode(), f'"{name}":1e999999999,"_":"'.encode()), "more digits than"))
    if "integer" in columns:
        name = columns["integer"]
        for number in (2**31, -(2**31) - 1, 10**40, 1.5, "1"):
            found.append((row(**{name: number}), f"column {name}: "))
    if "time" in columns:
        name = columns["time"]
        for value in ("infinity", "-infinity", "+10000-01-01T00:00:00Z", "0000-12-31T23:59:59Z", "2026-02-30T00:00:00Z", 1795445239315,
                      "2026-01-01T00:00:00.1234567Z", "2026-01-01", "9999-12-31T23:59:59-01:00"):  # fmt: skip
            found.append((row(**{name: value}), f"column {name}: "))
    if topic.endswith("order_items"):
        found.append((row(quantity=2**31 - 1, price_at_purchase="99999999.99"), "column line_total: 214748364678525163.53 does not fit"))
    if topic.endswith("inventory"):
        found.append((row(quantity=2**31 - 1, reserved=-1), "column available: 2147483648 does not fit INT"))
    return found


def mutated(chance: random.Random, value: bytes) -> bytes:
    """A record with a fault that nobody thought of."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.randbytes(chance.randrange(200))
    changed = bytearray(value)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(changed))
        if kind == 1:
            changed[place] = chance.randrange(256)
        elif kind == 2:
            del changed[place : place + chance.randrange(1, 40)]
            changed = changed or bytearray(b"{")
        elif kind == 3:
            changed[place:place] = chance.randbytes(chance.randrange(1, 8))
        elif kind == 4:
            other = chance.randrange(len(changed))
            changed[place:place] = changed[other : other + chance.randrange(1, 60)]
        else:
            changed[place:place] = chance.choice((b"null", b"1e999999999", b'"NaN"', b'"', b"{", b"}", b"\\u0000", b"[" * 2000, b"-", b"0"))
    return bytes(changed)
