"""Workers: consume domain events so that each takes effect once (SPEC 5.6).

An event's id and its effect are written in one transaction, and Kafka's offset is committed afterwards: whatever dies
in between, the event comes again and its id shows that it is done. A message that cannot be applied ends in
``<topic>.dlq`` after :data:`ATTEMPTS`; one that is no event of its topic ends there at once. An unreachable database or
broker is no fault of the message, and neither is a schema that is still being migrated: the worker waits for them,
without end.
"""

import asyncio
import contextlib
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from prometheus_client import Counter
from pydantic import Field
from sqlalchemy import text

from bookstore_common.db import Database, Session, not_now
from bookstore_common.events import EventError, validate
from bookstore_common.health import Check, CheckFailedError
from bookstore_common.kafka import connect
from bookstore_common.metrics import Metrics
from bookstore_common.settings import DatabaseSettings, ServerSettings

ATTEMPTS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_SILENCE_SECONDS = 30.0
_POLL_MS = 500
_BATCH = 100
_FETCH_BYTES = 1_048_576
# Less than a pod is given to end: who is told to end may have to wait for this.
_BOOTSTRAP_MS = 5_000
_log = structlog.get_logger(__name__)
_MARK = text(
    "INSERT INTO processed_events (event_id, topic) VALUES (:event_id, :topic)"
    " ON CONFLICT DO NOTHING RETURNING event_id"
)

Effect = Callable[[Session, Mapping[str, Any]], Awaitable[None]]
Heartbeat = Callable[[datetime], Awaitable[None]]


class WorkerSettings(ServerSettings, DatabaseSettings):
    """Environment of every worker; of the listeners only the management one is opened."""

    kafka_bootstrap_servers: str = Field(
        pattern=r"^[A-Za-z0-9.-]+:[0-9]+$", description="the broker, for example kafka.infra.svc.cluster.local:9092"
    )
    # Nobody sends requests to a worker.
    shutdown_lame_duck_seconds: float = Field(default=0, ge=0, le=60, description="0: nobody sends requests")
    database_pool_size: int = Field(default=2, ge=1, le=200, description="connections kept, for example 2")
    cdc_audit_seconds: float = Field(
        default=300, ge=1, le=86_400, description="seconds between two audits of captured tables, for example 300"
    )


class _StoppedError(Exception):
    """The worker is told to end while it waits; what it was about to do comes again."""


class Backlog:
    """Grows from one pause to the next, with jitter, until something succeeded."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    async def pause(self) -> None:
        """Wait a little longer than the last time."""
        await asyncio.sleep(self._next * random.uniform(0.7, 1.3))  # noqa: S311 # spreads load, guards nothing
        self._next = min(self._next * 2, _LONGEST_PAUSE)


class Worker:
    """Applies the events of ``effects`` (topic to effect) as one member of the consumer group ``group``.

    Nothing is consumed before ``schema`` passes; ``prepared`` is set then. ``heartbeat``: a topic with the changes of a
    source's table cdc_heartbeat, and what to do with its time. It is called when everything that the source had
    committed until then was published and consumed by this worker: Debezium publishes in the order of commits, and the
    offsets behind the heartbeat were read after it was seen. A worker that shares the topics with another one cannot
    know that, and does not call it.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        group: str,
        effects: Mapping[str, Effect],
        database: Database,
        metrics: Metrics,
        schema: Check,
        heartbeat: tuple[str, Heartbeat] | None = None,
    ) -> None:
        self.prepared = asyncio.Event()
        self._settings = settings
        self.schema = schema
        self._group = group
        self._effects = effects
        self._database = database
        self._heartbeat_topic = heartbeat[0] if heartbeat else ""
        self._on_heartbeat = heartbeat[1] if heartbeat else None
        self._events = Counter(
            "consumer_events_total", "Events consumed, by result.", ["topic", "result"], registry=metrics.registry
        )
        self._stopping = False
        self._assigned = False
        # What positions and heartbeats below are about.
        self._mine: frozenset[TopicPartition] = frozenset()
        # Heartbeats wait for the end of what was in the topics when they were seen: (time, ends).
        self._pending: tuple[datetime, dict[TopicPartition, int]] | None = None
        self._seen: datetime | None = None

    async def check(self) -> None:
        """Readiness check: the broker gave this worker its partitions."""
        if not self._assigned:
            raise CheckFailedError("no partitions are assigned; is Kafka up, and do the topics exist?")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Consume until the block ends; what was begun is finished."""
        task = asyncio.create_task(self._run(), name=f"worker-{self._group}")
        try:
            yield task
        finally:
            self._stopping = True
            await asyncio.wait([task])

    async def _run(self) -> None:
        await self._prepare()
        backlog = Backlog()
        while not self._stopping:
            try:
                consumer, producer = await asyncio.to_thread(self._connect)
            except (KafkaError, OSError) as error:
                _log.warning("kafka_unavailable", error=type(error).__name__)
                await backlog.pause()
                continue
            try:
                backlog = Backlog()
                await self._consume(consumer, producer)
            except _StoppedError:
                pass
            except (KafkaError, OSError) as error:
                # Nothing is lost: what was not committed comes again.
                _log.warning("kafka_lost", error=type(error).__name__)
                await backlog.pause()
            finally:
                self._assigned = False
                with contextlib.suppress(KafkaError, OSError):
                    await asyncio.to_thread(producer.close, 5)
                with contextlib.suppress(KafkaError, OSError):
                    await asyncio.to_thread(consumer.close, False)

    async def _prepare(self) -> None:
        """Wait for the schema of this release: to an older one no event could be applied."""
        backlog, told = Backlog(), 0.0
        while not self._stopping:
            try:
                await self.schema()
            except Exception as error:
                # A check may fail in every way; readiness tells the same reason.
                if not told or time.monotonic() - told > _SILENCE_SECONDS:
                    told = time.monotonic()
                    _log.warning("schema_awaited", reason=str(error) or type(error).__name__)
                await backlog.pause()
            else:
                self.prepared.set()
                return

    def _connect(self) -> tuple[KafkaConsumer, KafkaProducer]:
        servers = [self._settings.kafka_bootstrap_servers]
        with ExitStack() as begun:
            consumer = connect(
                KafkaConsumer,
                *self._effects,
                *([self._heartbeat_topic] if self._on_heartbeat else []),
                bootstrap_servers=servers,
                group_id=self._group,
                client_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=10_000,
                heartbeat_interval_ms=3_000,
                max_poll_records=_BATCH,
                max_partition_fetch_bytes=_FETCH_BYTES,
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
            )
            begun.callback(consumer.close, False)
            producer = connect(
                KafkaProducer,
                bootstrap_servers=servers,
                client_id=f"{self._group}-dlq",
                acks="all",
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
            )
            begun.pop_all()
        return consumer, producer

    async def _consume(self, consumer: KafkaConsumer, producer: KafkaProducer) -> None:
        self._forget()
        while not self._stopping:
            batches = await asyncio.to_thread(consumer.poll, _POLL_MS)
            self._assigned = bool(consumer.assignment())
            for partition, records in batches.items():
                for record in records:
                    if self._stopping:
                        # Seen again by the next process; the commit below covers what was done.
                        await asyncio.to_thread(consumer.seek, partition, record.offset)
                        break
                    if partition.topic == self._heartbeat_topic:
                        self._see(record.value)
                    else:
                        await self._process(producer, record)
            if batches:
                await asyncio.to_thread(consumer.commit)
            await self._advance(consumer)

    def _see(self, value: bytes | None) -> None:
        row = (json.loads(value).get("after") or {}) if value else {}
        if "ts" in row:
            self._seen = datetime.fromisoformat(row["ts"])

    def _forget(self, mine: frozenset[TopicPartition] = frozenset()) -> None:
        """Heartbeats that were seen before say nothing about other partitions or another consumer's positions."""
        self._mine, self._pending, self._seen = mine, None, None

    async def _advance(self, consumer: KafkaConsumer) -> None:
        """Tell of a heartbeat once everything that was published before it is consumed."""
        if self._on_heartbeat is None:
            return
        mine = frozenset(consumer.assignment())
        if mine != self._mine:
            self._forget(mine)
            return
        if self._pending is None and self._seen is not None:
            moment, self._seen = self._seen, None
            topics = await asyncio.to_thread(self._all_partitions, consumer)
            if topics is None or not topics <= mine:
                # Whoever has the others may be behind.
                _log.info("heartbeat_not_alone", group=self._group)
                return
            self._pending = (moment, await asyncio.to_thread(consumer.end_offsets, sorted(topics)))
        if self._pending is not None:
            moment, ends = self._pending
            positions = {part: await asyncio.to_thread(consumer.position, part) for part in ends}
            if all(positions[part] >= end for part, end in ends.items()):
                self._pending = None
                await self._undisturbed(lambda: self._told(moment))

    def _all_partitions(self, consumer: KafkaConsumer) -> set[TopicPartition] | None:
        """Those of all topics with events, whoever has them; None while one is not known."""
        found = {topic: consumer.partitions_for_topic(topic) for topic in self._effects}
        if not all(found.values()):
            return None
        return {TopicPartition(topic, number) for topic, numbers in found.items() for number in numbers}

    async def _told(self, moment: datetime) -> None:
        if self._on_heartbeat is not None:
            await self._on_heartbeat(moment)

    async def _process(self, producer: KafkaProducer, record: Any) -> None:
        try:
            payload = self._decode(record)
        except (ValueError, EventError) as error:
            await self._set_aside(producer, record, "invalid", str(error))
            return
        backlog = Backlog()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                result = await self._undisturbed(lambda: self._apply(record.topic, payload))
            except _StoppedError:
                raise
            except Exception as error:
                _log.warning(
                    "event_failed", topic=record.topic, event_id=payload["event_id"], attempt=attempt,
                    error=type(error).__name__,
                )  # fmt: skip
                if attempt == ATTEMPTS:
                    await self._set_aside(producer, record, "failed", type(error).__name__)
                    return
                await backlog.pause()
            else:
                self._events.labels(record.topic, result).inc()
                return

    def _decode(self, record: Any) -> dict[str, Any]:
        if record.value is None:
            raise ValueError("no value")
        payload = json.loads(record.value)
        if not isinstance(payload, dict):
            raise ValueError("no JSON object")
        validate(payload)
        if payload["event_type"] != record.topic:
            raise ValueError(f"event_type {payload['event_type']} does not belong into this topic")
        return payload

    async def _apply(self, topic: str, payload: Mapping[str, Any]) -> str:
        event_id = uuid.UUID(payload["event_id"])
        async with self._database.transaction() as session:
            # Whoever else applies it waits here for our commit, and then finds it done.
            fresh = await session.scalar(_MARK, {"event_id": event_id, "topic": topic})
            if fresh is None:
                return "repeated"
            await self._effects[topic](session, payload)
        return "applied"

    async def _undisturbed(self, action: Callable[[], Awaitable[Any]]) -> Any:
        """Do ``action``, waiting for the database as long as it takes (or until the worker is stopped)."""
        backlog = Backlog()
        told = 0.0
        while True:
            try:
                return await action()
            except Exception as error:
                if not not_now(error):
                    raise
                if self._stopping:
                    raise _StoppedError from error
                if time.monotonic() - told > _SILENCE_SECONDS:
                    told = time.monotonic()
                    _log.warning("database_unavailable", error=type(error).__name__)
                await backlog.pause()

    async def _set_aside(self, producer: KafkaProducer, record: Any, result: str, reason: str) -> None:
        """Put the message, as it came, and why into the dead-letter topic; raises KafkaError if that fails."""
        place = f"{record.topic}/{record.partition}/{record.offset}"
        headers = [*(record.headers or []), ("dlq.place", place.encode()), ("dlq.reason", reason.encode())]

        def send() -> None:
            producer.send(f"{record.topic}.dlq", value=record.value, key=record.key, headers=headers).get(timeout=15)

        await asyncio.to_thread(send)
        _log.error("event_set_aside", place=place, reason=reason)
        self._events.labels(record.topic, result).inc()
