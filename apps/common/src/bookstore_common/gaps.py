"""What a worker did not apply: gaps, events that it never saw, and dead letters, events that it set aside.

Kafka keeps events for a week and may lose what it acknowledged; a consumer that goes on at the first record that is
left passes over the others without a word. :class:`Continuity` compares what a consumer reads next with what it had
read, and what is missing is written into ``consumer_gaps``. While a gap stands, no heartbeat is told: nobody knows
whether the orders of that time were seen. It is closed when all that the producer's outbox holds was published again
and consumed: by the module event_replay of ``make up``, or after a new snapshot (see :meth:`Gaps.close`).
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from alembic import op
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from prometheus_client import Counter, Gauge
from sqlalchemy import BigInteger, DateTime, Index, Integer, String, Uuid, bindparam, func, text
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.db import Base, Database
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import granted_roles

# Why a gap is one.
EXPIRED, RESET, UNKNOWN, UNREADABLE = "expired", "reset", "unknown", "unreadable"
NOWHERE = -1
# The outbox keeps events for OUTBOX_DAYS, topics for TOPIC_DAYS. Who consumed something less than the difference ago
# lacks nothing that is older than what the outbox holds: it would have met an earlier gap.
OUTBOX_DAYS, TOPIC_DAYS, MARGIN_DAYS = 30, 7, 1
REACH = timedelta(days=OUTBOX_DAYS - TOPIC_DAYS - MARGIN_DAYS)
_OPEN = text(
    "SELECT clock_timestamp() AS now, (SELECT count(*) FROM consumer_gaps WHERE repaired_at IS NULL) AS gaps,"
    " (SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL) AS letters"
)
_NOTICE = text(
    "INSERT INTO consumer_gaps (topic, partition, from_offset, to_offset, reason, consumed_at)"
    " SELECT :topic, :partition, :from_offset, :to_offset, :reason, (SELECT max(processed_at) FROM processed_events)"
    # Of a consumer without offsets it is lost only if there had been some.
    " WHERE :reason <> 'unknown' OR EXISTS (SELECT FROM processed_events WHERE topic = :topic)"
    " ON CONFLICT DO NOTHING RETURNING consumed_at"
).bindparams(bindparam("topic", type_=String), bindparam("reason", type_=String))
_CLOSE = text(
    "UPDATE consumer_gaps SET repaired_at = clock_timestamp() WHERE repaired_at IS NULL AND noticed_at <= :seen_at"
    " AND consumed_at >= noticed_at - :reach RETURNING topic, partition"
)
_SET_ASIDE = text(
    "INSERT INTO dead_letters (topic, partition, record_offset, event_id, reason)"
    " VALUES (:topic, :partition, :record_offset, :event_id, :reason) ON CONFLICT DO NOTHING"
).bindparams(bindparam("event_id", type_=Uuid))
_log = structlog.get_logger(__name__)


class ConsumerGap(Base):
    """Offsets of one partition that were not read; ``from_offset`` is -1 where none was known."""

    __tablename__ = "consumer_gaps"
    __table_args__ = (
        # A gap that is noticed again, because nothing was committed since, is the same one.
        Index(
            "consumer_gaps_open_key",
            "topic",
            "partition",
            "from_offset",
            unique=True,
            postgresql_where=text("repaired_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
    topic: Mapped[str] = mapped_column(String(255))
    partition: Mapped[int] = mapped_column(Integer)
    from_offset: Mapped[int] = mapped_column(BigInteger)
    to_offset: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(20))
    # When the worker had last applied an event, at the time that the gap was noticed.
    consumed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    noticed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    repaired_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class DeadLetter(Base):
    """A record that was put into ``<topic>.dlq``, which holds it as it came."""

    __tablename__ = "dead_letters"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
    topic: Mapped[str] = mapped_column(String(255))
    partition: Mapped[int] = mapped_column(Integer)
    record_offset: Mapped[int] = mapped_column(BigInteger)
    # Null if nothing says which event the record was.
    event_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    reason: Mapped[str] = mapped_column(String(400))
    set_aside_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    resolved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index(
            "dead_letters_open_key",
            "topic",
            "partition",
            "record_offset",
            unique=True,
            postgresql_where=text("resolved_at IS NULL"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Gap:
    """Offsets of a partition that this consumer did not read and will not."""

    partition: TopicPartition
    from_offset: int
    to_offset: int
    reason: str


class Continuity:
    """Compares what a consumer reads next with what its group had read, of ``topics``; blocks."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._next: dict[TopicPartition, int] = {}

    def forget(self) -> None:
        """What another consumer had read is asked of the broker."""
        self._next = {}

    def inspect(self, consumer: KafkaConsumer, batches: Mapping[TopicPartition, Sequence[Any]]) -> list[Gap]:
        """Return what is missing before ``batches``, which ``consumer`` just polled, and before its positions.

        Raises KafkaError if the broker does not tell.
        """
        mine = {part for part in consumer.assignment() if part.topic in self._topics}
        starts = {
            part: batches[part][0].offset if batches.get(part) else consumer.position(part) for part in mine
        }  # fmt: skip
        if None in starts.values():
            raise KafkaError("a position is not known")
        known = {part: offset for part, offset in self._next.items() if part in mine}
        gaps = self._begun(consumer, sorted(mine - known.keys()))
        moved = sorted(part for part, offset in known.items() if starts[part] != offset)
        begins = offsets(consumer.beginning_offsets, moved)
        for part in moved:
            if starts[part] < known[part]:
                gaps.append(Gap(part, known[part], starts[part], RESET))
            elif begins[part] > known[part]:
                gaps.append(Gap(part, known[part], begins[part], EXPIRED))
            # Else what is missing was no event, but a mark of a transaction.
        self._next = {
            part: batches[part][-1].offset + 1 if batches.get(part) else starts[part] for part in mine
        }  # fmt: skip
        return gaps

    @staticmethod
    def _begun(consumer: KafkaConsumer, parts: Sequence[TopicPartition]) -> list[Gap]:
        """What is missing before partitions that were just assigned."""
        committed = {part: consumer.committed(part) for part in parts}
        begins, ends = offsets(consumer.beginning_offsets, parts), offsets(consumer.end_offsets, parts)
        lost = {part.topic for part in parts} - {part.topic for part, offset in committed.items() if offset is not None}
        gaps = []
        for part, offset in committed.items():
            if offset is None:
                if begins[part] > 0:
                    gaps.append(Gap(part, 0, begins[part], EXPIRED))
                elif part.topic in lost:
                    gaps.append(Gap(part, NOWHERE, begins[part], UNKNOWN))
                # Else the partition is a new one of a topic that grew.
            elif offset < begins[part]:
                gaps.append(Gap(part, offset, begins[part], EXPIRED))
            elif offset > ends[part]:
                gaps.append(Gap(part, offset, begins[part], RESET))
        return gaps


def offsets(ask: Any, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """The client was seen to leave out partitions whose metadata it did not have yet."""
    try:
        found: dict[TopicPartition, int] = ask(list(parts)) if parts else {}
        return {part: found[part] for part in parts}
    except KeyError as error:
        raise KafkaError(f"offsets of {error} are not known") from error


@dataclass(frozen=True, slots=True)
class Standing:
    """What is open, at the database's ``now``."""

    now: datetime
    gaps: int
    letters: int


class Gaps:
    """Tables and metrics of what was not applied. Raises the driver's errors."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._noticed = Counter(
            "consumer_gaps_total", "Gaps noticed in what was consumed, by reason.", ["topic", "reason"],
            registry=metrics.registry,
        )  # fmt: skip
        self._open = Gauge(
            "consumer_gaps_open", "Gaps that are not repaired; no hold expires meanwhile.", registry=metrics.registry
        )
        self._letters = Gauge("dead_letters_open", "Dead letters that nobody dealt with.", registry=metrics.registry)
        metrics.on_scrape(self._refresh, self._forget)

    async def notice(self, gaps: Sequence[Gap]) -> None:
        """Write ``gaps``, in one transaction."""
        noticed = []
        async with self._database.transaction() as session:
            for gap in gaps:
                values = {
                    "topic": gap.partition.topic,
                    "partition": gap.partition.partition,
                    "from_offset": gap.from_offset,
                    "to_offset": gap.to_offset,
                    "reason": gap.reason,
                }
                found = (await session.execute(_NOTICE, values)).one_or_none()
                if found is not None:
                    noticed.append((values, found.consumed_at))
        for values, consumed_at in noticed:
            self._noticed.labels(values["topic"], values["reason"]).inc()
            _log.error("consumer_gap", **values, consumed_at=consumed_at)

    async def standing(self) -> Standing:
        """How much is open now."""
        async with self._database.reading() as session:
            row = (await session.execute(_OPEN)).one()
        return Standing(row.now, row.gaps, row.letters)

    async def close(self, seen_at: datetime) -> None:
        """All that the producer's outbox held after ``seen_at`` was consumed: gaps noticed before it are repaired.

        But those of a worker that was off for longer than the outbox reaches back.
        """
        async with self._database.transaction() as session:
            rows = (await session.execute(_CLOSE, {"seen_at": seen_at, "reach": REACH})).all()
        for row in rows:
            _log.info("consumer_gap_repaired", topic=row.topic, partition=row.partition)

    async def set_aside(self, record: Any, event_id: uuid.UUID | None, reason: str) -> None:
        """Remember that ``record`` is in the dead-letter topic."""
        values = {
            "topic": record.topic, "partition": record.partition, "record_offset": record.offset,
            "event_id": event_id, "reason": reason,
        }  # fmt: skip
        async with self._database.transaction() as session:
            await session.execute(_SET_ASIDE, values)

    async def _refresh(self) -> None:
        standing = await self.standing()
        self._open.set(standing.gaps)
        self._letters.set(standing.letters)

    def _forget(self) -> None:
        """An old value would look like a fact."""
        self._open.set(float("nan"))
        self._letters.set(float("nan"))


def create_gap_tables() -> None:
    """For a migration: the tables as mapped above, their grants, and the index that tells when the last event was."""
    op.create_table(
        "consumer_gaps",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("from_offset", sa.BigInteger(), nullable=False),
        sa.Column("to_offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.Column("consumed_at", sa.DateTime(timezone=True)),
        sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("repaired_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="consumer_gaps_pkey"),
    )
    op.create_index(
        "consumer_gaps_open_key", "consumer_gaps", ["topic", "partition", "from_offset"], unique=True,
        postgresql_where=sa.text("repaired_at IS NULL"),
    )  # fmt: skip
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("record_offset", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Uuid()),
        sa.Column("reason", sa.String(400), nullable=False),
        sa.Column("set_aside_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="dead_letters_pkey"),
    )
    op.create_index(
        "dead_letters_open_key", "dead_letters", ["topic", "partition", "record_offset"], unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )  # fmt: skip
    op.create_index("processed_events_processed_at_idx", "processed_events", ["processed_at"])
    app, ro, cdc = granted_roles()
    # Nothing of a gap changes but that it is repaired.
    op.execute(f"REVOKE UPDATE ON consumer_gaps, dead_letters FROM {app}")
    op.execute(f"GRANT SELECT, INSERT, DELETE ON consumer_gaps, dead_letters TO {app}")
    op.execute(f"GRANT UPDATE (repaired_at) ON consumer_gaps TO {app}")
    op.execute(f"GRANT SELECT ON consumer_gaps, dead_letters TO {ro}")
    op.execute(f"REVOKE ALL ON consumer_gaps, dead_letters FROM {cdc}")


def drop_gap_tables() -> None:
    """The way back."""
    op.drop_index("processed_events_processed_at_idx", "processed_events")
    op.drop_table("dead_letters")
    op.drop_table("consumer_gaps")
