"""Table ``cancelled_orders``."""

import uuid
from datetime import datetime

from sqlalchemy import DateTime, func
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.db import Base


class CancelledOrder(Base):
    """An order whose cancellation was seen: its ``order.created`` may come later and must not take stock (SPEC 5.4)."""

    __tablename__ = "cancelled_orders"

    order_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    cancelled_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
