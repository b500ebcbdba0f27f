"""Table ``cart_items`` (SPEC 5.3)."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, String, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.db import Base


class CartItem(Base):
    """One line: how many copies of one book a user wants. It holds no price; the book's counts until checkout."""

    __tablename__ = "cart_items"
    __table_args__ = (
        UniqueConstraint("user_id", "book_id"),
        CheckConstraint("quantity BETWEEN 1 AND 99", name="quantity"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[str] = mapped_column(String(255))
    book_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("books.id"))
    quantity: Mapped[int]
    # The clock's time, not the transaction's: the lines of one merge keep their order.
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )
