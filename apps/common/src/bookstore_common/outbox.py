"""The transactional outbox: events are rows of the business transaction, which Debezium publishes (SPEC 5.6, 7)."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from prometheus_client import Gauge
from sqlalchemy import BigInteger, DateTime, Index, String, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.chores import Chore
from bookstore_common.context import MAX_REQUEST_ID, request_id_var
from bookstore_common.db import Base, Database, Session
from bookstore_common.events import Event
from bookstore_common.metrics import Metrics

# Where the log stands before the row is written; a slot beyond that has published the row.
_WAL_POSITION = "pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
_OLDEST = text(
    """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox_events
    WHERE wal_position >= coalesce(
        (SELECT max(pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')) FROM pg_replication_slots WHERE slot_name = :slot), 0)
    """
)

# restart_lsn, not confirmed_flush_lsn: nothing before it belongs to a transaction that is still to be published.
# Without a slot, or with one that was invalidated, no row is known to be.
_PUBLISHED = """created_at < now() - interval '{age}'{only} AND wal_position < coalesce(
    (SELECT max(pg_wal_lsn_diff(restart_lsn, '0/0')) FROM pg_replication_slots WHERE slot_name = '{slot}'), 0)"""


def outbox_chore(slot: str, age: str, event_type: str = "") -> Chore:
    """Delete events (of one type, if given) older than ``age`` that the replication slot has published."""
    only = f" AND event_type = '{event_type}'" if event_type else ""
    name = f"outbox_events_{event_type}" if event_type else "outbox_events"
    return Chore(name, "outbox_events", _PUBLISHED.format(age=age, only=only, slot=slot))


class OutboxEvent(Base):
    """One event. Debezium's EventRouter makes ``event_type`` the topic and ``aggregate_id`` the key."""

    __tablename__ = "outbox_events"
    __table_args__ = (
        Index("outbox_events_created_at_idx", "created_at"),
        Index("outbox_events_wal_position_idx", "wal_position"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    aggregate_type: Mapped[str] = mapped_column(String(50))
    aggregate_id: Mapped[str] = mapped_column(String(255))
    event_type: Mapped[str] = mapped_column(String(100))
    payload: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    wal_position: Mapped[int] = mapped_column(BigInteger, server_default=text(f"({_WAL_POSITION})"))
    # Of the request that caused it; none of the standing audit's, and of rows from before there was the column.
    request_id: Mapped[str | None] = mapped_column(String(MAX_REQUEST_ID))


class OutboxRepository:
    """Events of one database, inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def add(self, event: Event) -> None:
        """Write ``event`` with the request id being served; it is published if and only if the transaction commits."""
        await self._session.execute(
            sa.insert(OutboxEvent).values(
                id=event.event_id,
                aggregate_type=event.aggregate_type,
                aggregate_id=event.aggregate_id,
                event_type=event.event_type,
                payload=event.payload,
                request_id=request_id_var.get() or None,
            )
        )


class OutboxAge:
    """Gauge ``outbox_oldest_age_seconds``: how long the oldest event waits to be published; 0 if none does.

    Read at each scrape. Published means: the replication slot ``slot`` is past the row's place in the log. Without
    the slot every row waits. NaN if the database does not answer.
    """

    def __init__(self, metrics: Metrics, database: Database, slot: str) -> None:
        self._database = database
        self._slot = slot
        self._gauge = Gauge(
            "outbox_oldest_age_seconds",
            "Age of the oldest event that is not published yet.",
            registry=metrics.registry,
        )
        metrics.on_scrape(self.refresh, self.forget)

    async def refresh(self) -> None:
        """Read the age; raises the driver's error if the database does not answer."""
        async with self._database.reading() as session:
            self._gauge.set((await session.execute(_OLDEST, {"slot": self._slot})).scalar_one())

    def forget(self) -> None:
        """An old value would look like a fact."""
        self._gauge.set(float("nan"))


def create_outbox_table() -> None:
    """For a migration: the table with full change tracking, without grants and without what later migrations add."""
    op.create_table(
        "outbox_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("aggregate_type", sa.String(50), nullable=False),
        sa.Column("aggregate_id", sa.String(255), nullable=False),
        sa.Column("event_type", sa.String(100), nullable=False),
        sa.Column("payload", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("wal_position", sa.BigInteger(), server_default=sa.text(f"({_WAL_POSITION})"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="outbox_events_pkey"),
    )
    op.create_index("outbox_events_created_at_idx", "outbox_events", ["created_at"])
    op.create_index("outbox_events_wal_position_idx", "outbox_events", ["wal_position"])
    # SPEC 7: captured tables.
    op.execute("ALTER TABLE outbox_events REPLICA IDENTITY FULL")


def add_request_id() -> None:
    """For a migration: column ``request_id``, empty in rows that are there. No row is rewritten."""
    op.add_column("outbox_events", sa.Column("request_id", sa.String(MAX_REQUEST_ID), nullable=True))


def drop_request_id() -> None:
    """For a migration: the way back."""
    op.drop_column("outbox_events", "request_id")
