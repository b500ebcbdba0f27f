"""Table ``reservations`` (SPEC 5.4)."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.db import Base


class Status(StrEnum):
    """A hold becomes COMMITTED (the order is placed), RELEASED (given back) or EXPIRED (nobody came in time)."""

    HELD = "HELD"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


class Reservation(Base):
    """Copies of one book promised to one order; all lines of an order share status and ``expires_at``.

    ``inventory.reserved`` is the sum of a book's HELD lines.
    """

    __tablename__ = "reservations"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("status IN ('HELD', 'COMMITTED', 'RELEASED', 'EXPIRED')", name="status"),
        # What the sweeper of expired holds asks for.
        Index("reservations_expires_at_idx", "expires_at", postgresql_where=text("status = 'HELD'")),
        # What the chore asks for that forgets them.
        Index("reservations_ended_idx", "expires_at", postgresql_where=text("status IN ('RELEASED', 'EXPIRED')")),
    )

    order_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    book_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("inventory.book_id"), primary_key=True)
    quantity: Mapped[int]
    status: Mapped[str] = mapped_column(String(9))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
