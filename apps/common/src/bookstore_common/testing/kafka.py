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
from kafka.errors import KafkaError

from bookstore_common.consumer import WorkerSettings
from bookstore_common.settings import load_settings

_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Record:
    """As the client hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Broker:
    """Topics, offsets of the one group, and what is to go wrong."""

    partitions: Mapping[str, int]
    records: dict[TopicPartition, list[Record]] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    # Partitions that another member of the group has.
    elsewhere: set[TopicPartition] = field(default_factory=set)
    # Number of calls that fail, by name: connect, poll, commit, send.
    failures: dict[str, int] = field(default_factory=dict)
    consumers: list["Consumer"] = field(default_factory=list)
    paused: Event = field(default_factory=Event)
    lock: RLock = field(default_factory=RLock)

    def put(self, topic: str, value: bytes | None, *, partition: int = 0, key: bytes | None = None) -> Record:
        """Append a record."""
        with self.lock:
            log = self.records.setdefault(TopicPartition(topic, partition), [])
            log.append(Record(topic, partition, len(log), key, value))
            return log[-1]

    def event(
        self, topic: str, body: Mapping[str, Any], *, partition: int = 0, event_id: uuid.UUID | None = None
    ) -> str:
        """Append an event of the topic's type; returns its id."""
        payload = {
            "event_id": str(event_id or uuid.uuid4()), "event_type": topic, "schema_version": 1,
            "occurred_at": "2026-01-01T00:00:00Z", **body,
        }  # fmt: skip
        self.put(topic, json.dumps(payload).encode(), partition=partition)
        return str(payload["event_id"])

    def heartbeat(self, topic: str, moment: datetime) -> None:
        """Append a change of a source's heartbeat row, as Debezium writes it."""
        self.put(topic, json.dumps({"after": {"id": 1, "ts": moment.isoformat()}}).encode())

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

    def poll(self, _timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        broker = self._broker
        broker.fail("poll")
        with broker.lock:
            wanted = broker.all(self._topics) - broker.elsewhere
            if wanted != set(self._positions):
                self._positions = {part: broker.committed.get(part, 0) for part in wanted}
            found = {} if broker.paused.is_set() else {
                part: broker.records[part][position:]
                for part, position in self._positions.items()
                if broker.end(part) > position
            }  # fmt: skip
            for part in found:
                self._positions[part] = broker.end(part)
        if not found:
            Event().wait(_POLL_SECONDS)  # what a broker does while there is nothing
        return found

    def seek(self, part: TopicPartition, offset: int) -> None:
        self._positions[part] = offset

    def position(self, part: TopicPartition) -> int:
        return self._positions[part]

    def end_offsets(self, parts: list[TopicPartition]) -> dict[TopicPartition, int]:
        with self._broker.lock:
            return {part: self._broker.end(part) for part in parts}

    def commit(self) -> None:
        self._broker.fail("commit")
        with self._broker.lock:
            self._broker.committed.update(self._positions)

    def close(self, _autocommit: bool = True) -> None:
        self.closed = True


class Producer:
    """Writes to the broker at once."""

    def __init__(self, broker: Broker) -> None:
        broker.fail("produce")
        self._broker = broker

    def send(self, topic: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]) -> Any:
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
        "CORS_ALLOWED_ORIGINS": "https://shop.test:1",
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
