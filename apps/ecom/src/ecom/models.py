"""All mapped tables of this database; importing this module registers them."""

from bookstore_common.event_tables import CdcHeartbeat, ProcessedEvent
from bookstore_common.idempotency import IdempotencyRecord
from bookstore_common.outbox import OutboxEvent
from ecom.books.models import Book
from ecom.cart.models import CartItem
from ecom.orders.models import Order, OrderItem

__all__ = [
    "Book",
    "CartItem",
    "CdcHeartbeat",
    "IdempotencyRecord",
    "Order",
    "OrderItem",
    "OutboxEvent",
    "ProcessedEvent",
]
