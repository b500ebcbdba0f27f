"""Tables ``inventory`` and ``stock_movements`` (SPEC 5.4)."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.constraints import sane_time
from bookstore_common.db import Base


class Inventory(Base):
    """Copies of one book: ``quantity`` on the shelf, ``reserved`` of them promised to orders.

    The trigger ``inventory_touch`` raises ``version`` and ``updated_at`` on every change, whoever makes it.
    """

    __tablename__ = "inventory"
    __table_args__ = (
        CheckConstraint("quantity BETWEEN 0 AND 1000000000", name="quantity"),
        CheckConstraint("reserved BETWEEN 0 AND quantity", name="reserved"),
        CheckConstraint("low_stock_threshold BETWEEN 0 AND 1000000000", name="low_stock_threshold"),
        CheckConstraint(sane_time("updated_at"), name="updated_at"),
    )

    book_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    quantity: Mapped[int]
    reserved: Mapped[int] = mapped_column(server_default=text("0"))
    low_stock_threshold: Mapped[int] = mapped_column(server_default=text("5"))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    version: Mapped[int] = mapped_column(server_default=text("1"))


class StockMovement(Base):
    """One line of the audit, never changed: what happened to a book's copies, why and by whom.

    The lines of a book add up to its row: sum of ``delta`` = quantity, sum of ``reserved_delta`` = reserved.
    """

    __tablename__ = "stock_movements"
    __table_args__ = (
        CheckConstraint("delta <> 0 OR reserved_delta <> 0", name="delta"),
        Index("stock_movements_book_id_idx", "book_id", text("id DESC")),
        # What the chore asks for that folds old lines.
        Index(
            "stock_movements_opening_idx",
            "book_id",
            postgresql_where=text("reason = 'opening' AND actor = 'inventory-worker'"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    book_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("inventory.book_id"))
    delta: Mapped[int]
    reserved_delta: Mapped[int] = mapped_column(server_default=text("0"))
    reason: Mapped[str] = mapped_column(String(255))
    order_id: Mapped[uuid.UUID | None]
    actor: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
