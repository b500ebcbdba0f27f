"""Tables ``processed_events`` and ``cdc_heartbeat`` (SPEC 5.3, 5.6 and 7)."""

import uuid
from datetime import datetime

from sqlalchemy import DateTime, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common import gaps as _gaps  # noqa: F401 # registers consumer_gaps and dead_letters
from bookstore_common.db import Base


class ProcessedEvent(Base):
    """An event whose effect is in this database; written in the same transaction, so that a repeat does nothing."""

    __tablename__ = "processed_events"
    __table_args__ = (Index("processed_events_processed_at_idx", "processed_at"),)

    event_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(String(255))
    processed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class CdcHeartbeat(Base):
    """Written by Debezium, so that its slot moves on while nothing else happens."""

    __tablename__ = "cdc_heartbeat"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ts: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
