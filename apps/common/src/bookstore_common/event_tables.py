"""Tables of every service that consumes and publishes events: processed_events and cdc_heartbeat (SPEC 5.6, 7)."""

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import DateTime, FetchedValue, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common import gaps as _gaps  # noqa: F401 # registers consumer_gaps and dead_letters
from bookstore_common import outbox as _outbox  # noqa: F401 # registers outbox_events
from bookstore_common.db import Base


class ProcessedEvent(Base):
    """An event whose effect is in this database; written in the same transaction, so that a repeat does nothing."""

    __tablename__ = "processed_events"
    # With the tables of gaps, which ask when the last event was.
    __table_args__ = (Index("processed_events_processed_at_idx", "processed_at"),)

    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(String(255))
    processed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=FetchedValue())


class CdcHeartbeat(Base):
    """Written by Debezium, so that its slot moves on while the captured tables rest."""

    __tablename__ = "cdc_heartbeat"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ts: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=FetchedValue())


def create_event_tables(now: sa.ColumnElement[Any]) -> None:
    """For a migration: the tables as mapped above, without grants.

    ``now`` is the time that a row gets: databases that are there differ in whether it is the transaction's.
    """
    op.create_table(
        "processed_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="processed_events_pkey"),
    )
    op.create_table(
        "cdc_heartbeat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name="cdc_heartbeat_pkey"),
    )
    # Updates and deletes of captured tables carry the old row; outbox_events has it from its own helper.
    op.execute("ALTER TABLE cdc_heartbeat REPLICA IDENTITY FULL")
