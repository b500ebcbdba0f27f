"""Tables ``orders`` and ``order_items`` (SPEC 5.3)."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Numeric, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.constraints import sane_time
from bookstore_common.db import Base, relation


class Order(Base):
    """One placed order. Its id comes from the customer and the idempotency key, so that a retry makes the same one."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("status IN ('CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED')", name="status"),
        CheckConstraint("total BETWEEN 0 AND 9999999999.99", name="total"),
        CheckConstraint("octet_length(shipping::text) <= 16384", name="shipping"),
        CheckConstraint(sane_time("created_at"), name="created_at"),
        CheckConstraint(sane_time("updated_at"), name="updated_at"),
        CheckConstraint("currency = 'USD'", name="currency"),
        # A customer's orders and everybody's orders, newest first.
        Index("orders_user_id_idx", "user_id", text("created_at DESC"), "id"),
        Index("orders_created_at_idx", text("created_at DESC"), "id"),
        Index("orders_status_idx", "status", text("created_at DESC"), "id"),
    )

    # Fetches what the database filled in with each INSERT and UPDATE: an asyncio session cannot do it at first use.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 # not ours to annotate

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(9))
    total: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    currency: Mapped[str] = mapped_column(String(3), server_default=text("'USD'"))
    # Personal data: change capture leaves it out.
    shipping: Mapped[dict[str, Any]] = mapped_column(JSONB)
    cancel_reason: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )

    items: Mapped[list["OrderItem"]] = relation(order_by="OrderItem.book_id")


class OrderItem(Base):
    """Copies of one book in an order, with title and price as they were."""

    __tablename__ = "order_items"
    __table_args__ = (
        UniqueConstraint("order_id", "book_id"),
        CheckConstraint("quantity BETWEEN 1 AND 1000000", name="quantity"),
        CheckConstraint("quantity * price_at_purchase <= 9999999999.99", name="line_total"),
        CheckConstraint("price_at_purchase BETWEEN 0.01 AND 99999999.99", name="price_at_purchase"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    order_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("orders.id"))
    book_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("books.id"))
    title_at_purchase: Mapped[str] = mapped_column(String(255))
    quantity: Mapped[int]
    price_at_purchase: Mapped[Decimal] = mapped_column(Numeric(10, 2))
