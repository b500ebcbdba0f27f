"""Heartbeats of a source: until when a worker knows all that was committed there.

Debezium publishes in the order of commits, and the offsets behind a heartbeat are read after it was seen: once they are
consumed, everything is that the source had committed until the heartbeat's time. While events are missing (see
:mod:`bookstore_common.gaps`) nobody knows that, and nothing is told.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from prometheus_client import Counter

from bookstore_common import records
from bookstore_common.gaps import Gaps, offsets
from bookstore_common.patience import StoppedError, undisturbed
from bookstore_common.records import UnreadableError

Heartbeat = Callable[[datetime], Awaitable[None]]
# The clocks of two databases may differ by this. What is further ahead is no heartbeat's time.
SKEW = timedelta(minutes=1)
_SILENCE_SECONDS = 300.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Pending:
    moment: datetime
    # A new snapshot of the source, outbox included, was begun then, and was over before this heartbeat.
    snapshot_at: datetime | None
    ends: dict[TopicPartition, int]


class Heartbeats:
    """Heartbeats of ``topic``, told to ``action`` when all of ``topics`` (events) that was there before is consumed."""

    def __init__(
        self, topic: str, action: Heartbeat, topics: Collection[str], gaps: Gaps, counter: Counter,
        stopping: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.topic = topic
        self._action = action
        self._topics = topics
        self._gaps = gaps
        self._counter = counter
        self._stopping = stopping
        # What is seen and pending is about these partitions.
        self._mine: frozenset[TopicPartition] = frozenset()
        self._seen: datetime | None = None
        self._snapshot_at: datetime | None = None
        self._pending: _Pending | None = None
        self._told_off = 0.0

    def see(self, record: Any) -> None:
        """Take a record of the topic. One that cannot be read is counted and passed over: the next comes in seconds."""
        now = datetime.now(UTC)
        try:
            beat = records.heartbeat(record.value, now, SKEW)
        except UnreadableError as error:
            place = f"{record.topic}/{record.partition}/{record.offset}"
            _log.error("heartbeat_unreadable", place=place, reason=str(error))
            self._counter.labels(self.topic, "unreadable").inc()
            return
        if beat is None:
            return
        if beat.snapshot:
            # The row as a snapshot found it: its time says nothing about what was published since.
            self._snapshot_at = min(datetime.fromtimestamp(record.timestamp / 1000, UTC), now)
            return
        self._seen = beat.moment

    def forget(self, mine: frozenset[TopicPartition] = frozenset()) -> None:
        """What was seen before says nothing about other partitions or another consumer's positions."""
        self._mine, self._pending, self._seen = mine, None, None

    async def advance(self, consumer: KafkaConsumer) -> None:
        """Tell of a heartbeat once everything that was published before it is consumed."""
        mine = frozenset(consumer.assignment())
        if mine != self._mine:
            self.forget(mine)
            return
        if self._pending is None and self._seen is not None:
            moment, self._seen = self._seen, None
            topics = await asyncio.to_thread(self._all_partitions, consumer)
            if topics is None or not topics <= mine:
                # Another worker has the other partitions, and may not have consumed them as far.
                _log.info("heartbeat_not_alone")
                return
            ends = await asyncio.to_thread(offsets, consumer.end_offsets, sorted(topics))
            self._pending = _Pending(moment, self._snapshot_at, ends)
        if self._pending is not None:
            pending = self._pending
            positions = {part: await asyncio.to_thread(consumer.position, part) for part in pending.ends}
            if all(positions[part] >= end for part, end in pending.ends.items()):
                self._pending = None
                await self._reached(pending)

    def _all_partitions(self, consumer: KafkaConsumer) -> set[TopicPartition] | None:
        """Those of all topics with events, whoever has them; None while one is not known."""
        found = {topic: consumer.partitions_for_topic(topic) for topic in self._topics}
        if not all(found.values()):
            return None
        return {TopicPartition(topic, number) for topic, numbers in found.items() for number in numbers}

    async def _reached(self, pending: _Pending) -> None:
        try:
            await undisturbed(lambda: self._tell(pending), self._stopping)
        except StoppedError:
            raise
        except Exception:
            # The next heartbeat comes in seconds; events do not wait for what this one ran into.
            _log.exception("heartbeat_failed")
            self._counter.labels(self.topic, "failed").inc()

    async def _tell(self, pending: _Pending) -> None:
        if pending.snapshot_at is not None:
            await self._gaps.close(pending.snapshot_at)
            if self._snapshot_at == pending.snapshot_at:
                self._snapshot_at = None
        standing = await self._gaps.standing()
        if standing.gaps:
            if time.monotonic() - self._told_off > _SILENCE_SECONDS:
                self._told_off = time.monotonic()
                _log.error("heartbeat_withheld", gaps=standing.gaps)
            return
        # The database's clock decides, not this process's.
        await self._action(min(pending.moment, standing.now))
