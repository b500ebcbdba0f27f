"""Records on their way into ``<topic>.dlq``: as they came, with where they were and why they are there."""

from typing import Any

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from bookstore_common.records import shortened

# Below what a topic takes (1 MiB): a record may have been larger, its batch was compressed.
_MOST_BYTES = 900_000
_CUT_BYTES = 65_536
_SECONDS = 15
Letter = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


def place(record: Any) -> str:
    """Where a record is, for people."""
    return f"{record.topic}/{record.partition}/{record.offset}"


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
