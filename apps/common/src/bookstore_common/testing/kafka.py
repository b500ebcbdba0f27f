"""A broker in memory behind the two classes of kafka-python that a worker uses.

Positions, commits, seeks and assignments are kept as Kafka keeps them; nothing else of a broker is here.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event, RLock
from types import SimpleNamespace
from typing import Any, Self

import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError, KafkaError, MessageSizeTooLargeError

from bookstore_common.consumer import WorkerSettings
from bookstore_common.settings import load_settings

_POLL_SECONDS = 0.01
# What a producer sends at most.
_MOST_BYTES = 1_048_576


@dataclass(frozen=True)
class Record:
    """As the client hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp: int = field(default_factory=lambda: int(time.time() * 1000))


@dataclass
class Broker:
    """Topics, offsets of the one group, and what is to go wrong."""

    partitions: Mapping[str, int]
    records: dict[TopicPartition, list[Record]] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    # Log starts: what was before them is deleted.
    begins: dict[TopicPartition, int] = field(default_factory=dict)
    # Records whose batch, of them alone, the client cannot take apart.
    unreadable: set[tuple[TopicPartition, int]] = field(default_factory=set)
    # Partitions that another member of the group has.
    elsewhere: set[TopicPartition] = field(default_factory=set)
    # Number of calls that fail, by name: connect, poll, commit, send.
    failures: dict[str, int] = field(default_factory=dict)
    consumers: list["Consumer"] = field(default_factory=list)
    paused: Event = field(default_factory=Event)
    lock: RLock = field(default_factory=RLock)

    def put(
        self,
        topic: str,
        value: bytes | None,
        *,
        partition: int = 0,
        key: bytes | None = None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
    ) -> Record:
        """Append a record."""
        with self.lock:
            log = self.records.setdefault(TopicPartition(topic, partition), [])
            log.append(Record(topic, partition, len(log), key, value, headers))
            return log[-1]

    def expire(self, part: TopicPartition, begin: int) -> None:
        """Delete what is before the offset ``begin``."""
        with self.lock:
            self.begins[part] = begin

    def event(
        self,
        topic: str,
        body: Mapping[str, Any],
        *,
        partition: int = 0,
        event_id: uuid.UUID | None = None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
    ) -> str:
        """Append an event of the topic's type; returns its id."""
        payload = {
            "event_id": str(event_id or uuid.uuid4()), "event_type": topic, "schema_version": 1,
            "occurred_at": "2026-01-01T00:00:00Z", **body,
        }  # fmt: skip
        self.put(topic, json.dumps(payload).encode(), partition=partition, headers=headers)
        return str(payload["event_id"])

    def heartbeat(self, topic: str, moment: datetime, operation: str = "u") -> None:
        """Append a change of a source's heartbeat row, as Debezium writes it; ``r`` is one of a snapshot."""
        self.put(topic, json.dumps({"after": {"id": 1, "ts": moment.isoformat()}, "op": operation}).encode())

    def values(self, topic: str) -> list[bytes | None]:
        """What the topic holds."""
        with self.lock:
            return [record.value for part, log in self.records.items() if part.topic == topic for record in log]

    def fail(self, call: str) -> None:
        """Raise if this call is to fail."""
        with self.lock:
            if self.failures.get(call, 0) > 0:
                self.failures[call] -= 1
                raise KafkaError(f"{call} was told to fail")

    def end(self, part: TopicPartition) -> int:
        """The next offset."""
        return len(self.records.get(part, []))

    def all(self, topics: tuple[str, ...]) -> set[TopicPartition]:
        """The partitions of topics."""
        return {TopicPartition(topic, number) for topic in topics for number in range(self.partitions[topic])}

    @contextmanager
    def behind(self, module: Any) -> Iterator[Self]:
        """Let ``module`` find this broker instead of kafka-python."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "KafkaConsumer", lambda *topics, **_: Consumer(self, topics))
            patch.setattr(module, "KafkaProducer", lambda **_: Producer(self))
            yield self


class Consumer:
    """One member of the group; assigned in its first poll."""

    def __init__(self, broker: Broker, topics: tuple[str, ...]) -> None:
        broker.fail("connect")
        self._broker, self._topics = broker, topics
        self._positions: dict[TopicPartition, int] = {}
        self.closed = False
        broker.consumers.append(self)

    def assignment(self) -> set[TopicPartition]:
        return set(self._positions)

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._broker.partitions[topic]))

    def assign(self, parts: list[TopicPartition]) -> None:
        self._positions = {part: self._start(part) for part in parts}
        self._topics = ()

    def _start(self, part: TopicPartition) -> int:
        """auto_offset_reset=earliest."""
        begin = self._broker.begins.get(part, 0)
        committed = self._broker.committed.get(part, begin)
        return committed if begin <= committed <= self._broker.end(part) else begin

    def poll(self, _timeout_ms: int, max_records: int | None = None) -> dict[TopicPartition, list[Record]]:
        broker = self._broker
        broker.fail("poll")
        with broker.lock:
            wanted = broker.all(self._topics) - broker.elsewhere if self._topics else set(self._positions)
            if wanted != set(self._positions):
                self._positions = {part: self._start(part) for part in wanted}
            for part, position in self._positions.items():
                if not broker.begins.get(part, 0) <= position <= broker.end(part):
                    self._positions[part] = broker.begins.get(part, 0)
            found = {} if broker.paused.is_set() else {
                part: self._take(part, position, max_records)
                for part, position in self._positions.items()
                if broker.end(part) > position
            }  # fmt: skip
            found = {part: records for part, records in found.items() if records}
            for part, records in found.items():
                self._positions[part] = records[-1].offset + 1
            stuck = {
                part for part, position in self._positions.items() if (part, position) in broker.unreadable
            } - found.keys()  # fmt: skip
        if stuck and not found and not broker.paused.is_set():
            raise CorruptRecordError("cannot be taken apart")
        if not found:
            Event().wait(_POLL_SECONDS)  # what a broker does while there is nothing
        return found

    def _take(self, part: TopicPartition, position: int, most: int | None) -> list[Record]:
        records = self._broker.records[part][position:]
        bad = next((at for at, record in enumerate(records) if (part, record.offset) in self._broker.unreadable), None)
        return records[:bad][:most]

    def seek(self, part: TopicPartition, offset: int) -> None:
        self._positions[part] = offset

    def position(self, part: TopicPartition) -> int:
        return self._positions[part]

    def committed(self, part: TopicPartition) -> int | None:
        return self._broker.committed.get(part)

    def beginning_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        with self._broker.lock:
            return {part: self._broker.begins.get(part, 0) for part in parts}

    def end_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        with self._broker.lock:
            return {part: self._broker.end(part) for part in parts}

    def commit(self, offsets: Mapping[TopicPartition, Any] | None = None) -> None:
        self._broker.fail("commit")
        with self._broker.lock:
            positions = {part: at.offset for part, at in offsets.items()} if offsets else self._positions
            self._broker.committed.update(positions)

    def close(self, _autocommit: bool = True) -> None:
        self.closed = True


class Producer:
    """Writes to the broker at once."""

    def __init__(self, broker: Broker) -> None:
        broker.fail("produce")
        self._broker = broker

    def send(self, topic: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]) -> Any:
        # As the client's own check.
        if not all(isinstance(name, str) and isinstance(held, bytes) for name, held in headers):
            raise TypeError("All headers items must be (str, bytes) tuples")
        if len(value or b"") + len(key or b"") + sum(len(name) + len(held) for name, held in headers) > _MOST_BYTES:
            raise MessageSizeTooLargeError

        def get(timeout: float) -> None:
            self._broker.fail("send")
            with self._broker.lock:
                log = self._broker.records.setdefault(TopicPartition(topic, 0), [])
                log.append(Record(topic, 0, len(log), key, value, tuple(headers)))

        return SimpleNamespace(get=get)

    def close(self, _timeout: float) -> None:
        pass


def worker_settings(environment: Mapping[str, str], **changes: str) -> WorkerSettings:
    """The settings of a worker over the database of ``environment``."""
    variables = {
        **environment,
        "KAFKA_BOOTSTRAP_SERVERS": "nowhere:9092",
        **changes,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return load_settings(WorkerSettings)


async def until(done: Callable[[], Any], what: str, seconds: float = 60) -> None:
    """Poll a fact that no event announces."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for: {what}")
        await asyncio.sleep(_POLL_SECONDS)
