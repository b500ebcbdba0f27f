"""Workers: consume domain events so that each takes effect once (SPEC 5.6).

An event's id and its effect are written in one transaction, and Kafka's offset is committed afterwards: whatever dies
in between, the event comes again and its id shows that it is done. A message that cannot be applied ends in
``<topic>.dlq`` after :data:`ATTEMPTS`; one that is no event of its topic ends there at once. An unreachable database or
broker is no fault of the message, and neither is a schema that is still being migrated: the worker waits for them,
without end. An effect that is too slow each time, or never gets the locks that it needs, is one that cannot be applied.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import structlog
from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from prometheus_client import Counter
from pydantic import Field
from sqlalchemy import text

from bookstore_common import deadletters, records
from bookstore_common.batches import BatchError, poll, step_over
from bookstore_common.context import request_context
from bookstore_common.db import Database, Session, contended
from bookstore_common.gaps import Continuity, Gap, Gaps
from bookstore_common.health import Check, CheckFailedError
from bookstore_common.heartbeats import Heartbeat, Heartbeats
from bookstore_common.kafka import connect
from bookstore_common.metrics import Metrics
from bookstore_common.patience import SILENCE_SECONDS, Backlog, StoppedError, away_or_busy, undisturbed
from bookstore_common.settings import DatabaseSettings, ProcessSettings

ATTEMPTS = 5
# A database that has too much to do gets more time than one that refuses: with the time of the attempts, most of a
# minute until an event is given up.
_BUSY_PAUSE = 2.0
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


class WorkerSettings(ProcessSettings, DatabaseSettings):
    """Environment of every worker."""

    kafka_bootstrap_servers: str = Field(
        pattern=r"^[A-Za-z0-9.-]+:[0-9]+$", description="the broker, for example kafka.infra.svc.cluster.local:9092"
    )
    # Nobody sends requests to a worker.
    shutdown_lame_duck_seconds: float = Field(default=0, ge=0, le=60, description="0: nobody sends requests")
    database_pool_size: int = Field(default=2, ge=1, le=200, description="connections kept, for example 2")
    cdc_audit_seconds: float = Field(
        default=300, ge=1, le=86_400, description="seconds between two audits of captured tables, for example 300"
    )


class Worker:
    """Applies the events of ``effects`` (topic to effect) as one member of the consumer group ``group``.

    Nothing is consumed before ``schema`` passes; ``prepared`` is set then. ``heartbeat``: a topic with the changes of a
    source's table cdc_heartbeat, and what to do with its time. It is called when everything that the source had
    committed until then was published and consumed by this worker (see :mod:`bookstore_common.heartbeats`). A worker
    that shares the topics with another one cannot know that, and does not call it.
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
        self._events = Counter(
            "consumer_events_total", "Events consumed, by result.", ["topic", "result"], registry=metrics.registry
        )
        self._stopping = False
        self._assigned = False
        # The client met a batch that it cannot read; the next connection looks for it.
        self._stuck = False
        self.gaps = Gaps(database, metrics)
        self._continuity = Continuity(effects)
        self.heartbeats: Heartbeats | None = None
        if heartbeat is not None:
            topic, action = heartbeat
            self.heartbeats = Heartbeats(topic, action, effects, self.gaps, self._events, lambda: self._stopping)

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
                if self._stuck:
                    await self._step_over()
                await self._consume(consumer, producer)
            except StoppedError:
                pass
            except BatchError:
                self._stuck = True
                _log.exception("batch_unreadable")
                await backlog.pause()
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
                if not told or time.monotonic() - told > SILENCE_SECONDS:
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
                *self._topics(),
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

    def _topics(self) -> list[str]:
        return [*self._effects, *([self.heartbeats.topic] if self.heartbeats else [])]

    async def _step_over(self) -> None:
        """Find what cannot be read, write it down, and go on behind it; of heartbeats, just go on."""

        def look() -> None:
            prober = connect(
                KafkaConsumer,
                bootstrap_servers=[self._settings.kafka_bootstrap_servers],
                group_id=self._group,
                client_id=f"{self._group}-prober",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=_FETCH_BYTES,
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
            )
            try:
                step_over(prober, self._topics(), note)
            finally:
                prober.close(False)

        loop = asyncio.get_running_loop()

        def note(gap: Gap) -> None:
            _log.error("records_unreadable", place=str(gap.partition), begin=gap.from_offset, end=gap.to_offset)
            self._events.labels(gap.partition.topic, "unreadable").inc(gap.to_offset - gap.from_offset)
            if gap.partition.topic in self._effects:
                asyncio.run_coroutine_threadsafe(self._notice([gap]), loop).result()

        await asyncio.to_thread(look)
        self._stuck = False

    async def _consume(self, consumer: KafkaConsumer, producer: KafkaProducer) -> None:
        self._continuity.forget()
        if self.heartbeats:
            self.heartbeats.forget()
        while not self._stopping:
            batches = await asyncio.to_thread(poll, consumer, _POLL_MS)
            self._assigned = bool(consumer.assignment())
            if gaps := await asyncio.to_thread(self._continuity.inspect, consumer, batches):
                await self._notice(gaps)
                if not batches:
                    # Or the same gap would be noticed again after it was repaired.
                    await asyncio.to_thread(consumer.commit)
            for partition, found in batches.items():
                for record in found:
                    if self._stopping:
                        # Seen again by the next process; the commit below covers what was done.
                        await asyncio.to_thread(consumer.seek, partition, record.offset)
                        break
                    if self.heartbeats and partition.topic == self.heartbeats.topic:
                        self.heartbeats.see(record)
                    else:
                        # Its log lines and the events that it causes belong to the request that caused it.
                        with request_context(records.request_id(record.headers)):
                            await self._process(producer, record)
            if batches:
                await asyncio.to_thread(consumer.commit)
            if self.heartbeats:
                await self.heartbeats.advance(consumer)

    async def _notice(self, gaps: list[Gap]) -> None:
        """Before anything behind a gap takes effect, and before its offsets are passed."""
        await undisturbed(lambda: self.gaps.notice(gaps), lambda: self._stopping, away_or_busy)

    async def _process(self, producer: KafkaProducer, record: Any) -> None:
        try:
            payload = records.event(record.value, record.topic)
            event_id = uuid.UUID(payload["event_id"])
        except ValueError as error:
            await self._set_aside(producer, record, "invalid", str(error), deadletters.event_id(record))
            return
        backlog, patient = Backlog(), Backlog(_BUSY_PAUSE)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                result = await undisturbed(lambda: self._apply(record.topic, event_id, payload), lambda: self._stopping)
            except StoppedError:
                raise
            except Exception as error:
                _log.warning(
                    "event_failed", topic=record.topic, event_id=str(event_id), attempt=attempt,
                    error=type(error).__name__,
                )  # fmt: skip
                if attempt == ATTEMPTS:
                    await self._set_aside(producer, record, "failed", _cause(error), event_id)
                    return
                if self._stopping:
                    raise StoppedError from error
                await (patient if contended(error) else backlog).pause()
            else:
                self._events.labels(record.topic, result).inc()
                _log.info(
                    "event_consumed", topic=record.topic, event_id=str(event_id), result=result,
                    place=deadletters.place(record),
                )  # fmt: skip
                return

    async def _apply(self, topic: str, event_id: uuid.UUID, payload: Mapping[str, Any]) -> str:
        async with self._database.transaction() as session:
            # Whoever else applies it waits here for our commit, and then finds it done.
            fresh = await session.scalar(_MARK, {"event_id": event_id, "topic": topic})
            if fresh is None:
                return "repeated"
            await self._effects[topic](session, payload)
        return "applied"

    async def _set_aside(
        self, producer: KafkaProducer, record: Any, result: str, reason: str, event_id: uuid.UUID | None
    ) -> None:
        """Put the message, as it came, and why into the dead-letter topic; raises KafkaError if that fails."""
        reason = records.shortened(reason)
        await asyncio.to_thread(deadletters.send, producer, record, reason)
        _log.error("event_set_aside", place=deadletters.place(record), reason=reason)
        self._events.labels(record.topic, result).inc()
        await undisturbed(
            lambda: self.gaps.set_aside(record, event_id, reason), lambda: self._stopping, away_or_busy
        )  # fmt: skip


def _cause(error: Exception) -> str:
    """The class of what went wrong, and of what the driver says to it; no values."""
    driver = getattr(error, "orig", None)
    return type(error).__name__ + (f" ({type(driver).__name__})" if driver is not None else "")
