"""What the worker does to orders (SPEC 5.3)."""

import uuid
from collections.abc import Mapping
from typing import Any

from bookstore_common.db import Session
from ecom import models as _models  # noqa: F401 # registers the tables that an order's items refer to
from ecom.orders.repository import OrderRepository
from ecom.orders.transitions import Status

OUT_OF_STOCK = "out_of_stock"


async def inventory_rejected(session: Session, event: Mapping[str, Any]) -> None:
    """The copies of an order are not there: it is cancelled, without an ``order.cancelled``, for nothing comes back.

    An order that was cancelled or sent meanwhile stays as it is.
    """
    order = await OrderRepository(session).get(uuid.UUID(event["order_id"]))
    if order is not None and order.status == Status.CONFIRMED:
        order.status = Status.CANCELLED.value
        order.cancel_reason = OUT_OF_STOCK
        await session.flush()


EFFECTS = {"inventory.rejected": inventory_rejected}
