"""Records on their way into ``<topic>.dlq``: as they came, with where they were and why they are there."""

import re
import uuid
from typing import Any

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from bookstore_common import records
from bookstore_common.records import shortened

# Below what a topic takes (1 MiB): a record may have been larger, its batch was compressed.
_MOST_BYTES = 900_000
_CUT_BYTES = 65_536
_SECONDS = 15
# Written as JSON, with or without its schema.
_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_WITHIN = 500
Letter = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


def place(record: Any) -> str:
    """Where a record is, for people."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def event_id(record: Any) -> uuid.UUID | None:
    """The event that a record is, or was meant to be: Debezium says so in a header, whatever the value is."""
    for name, value in record.headers or ():
        if name == "id" and (found := _ID.search(value or b"", 0, _ID_WITHIN)):
            return uuid.UUID(found[0].decode())
    try:
        return uuid.UUID(records.json_object(record.value)["event_id"])
    except Exception:
        # Of what is no event anything may stand there, or nothing.
        return None


def letter(record: Any, reason: str) -> Letter:
    """Value, key and headers; of a record that no topic would take, the beginning of its value."""
    ours = [("dlq.place", place(record).encode()), ("dlq.reason", shortened(reason).encode())]
    # A header without value cannot be sent.
    theirs = [(name, value or b"") for name, value in record.headers or ()]
    size = len(record.value or b"") + len(record.key or b"") + sum(len(name) + len(value) for name, value in theirs)
    if size > _MOST_BYTES:
        return cut(record, reason)
    return record.value, record.key, [*theirs, *ours]


def cut(record: Any, reason: str) -> Letter:
    """As much of a record as any topic takes; its own topic keeps the whole one for as long as it keeps any."""
    value = None if record.value is None else record.value[:_CUT_BYTES]
    headers = [
        ("dlq.place", place(record).encode()),
        ("dlq.reason", shortened(reason).encode()),
        ("dlq.cut", f"of {len(record.value or b'')} bytes".encode()),
    ]
    return value, None, headers


def send(producer: KafkaProducer, record: Any, reason: str) -> None:
    """Write the letter; raises KafkaError if the broker does not take it. Blocks."""

    def write(made: Letter) -> None:
        value, key, headers = made
        producer.send(f"{record.topic}.dlq", value=value, key=key, headers=headers).get(timeout=_SECONDS)

    try:
        write(letter(record, reason))
    except MessageSizeTooLargeError:
        write(cut(record, reason))
