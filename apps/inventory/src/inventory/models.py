"""All mapped tables of this database; importing this module registers them."""

from bookstore_common.event_tables import CdcHeartbeat, ProcessedEvent
from bookstore_common.outbox import OutboxEvent
from inventory.events.models import CancelledOrder
from inventory.reservations.models import Reservation
from inventory.stock.models import Inventory, StockMovement

__all__ = [
    "CancelledOrder",
    "CdcHeartbeat",
    "Inventory",
    "OutboxEvent",
    "ProcessedEvent",
    "Reservation",
    "StockMovement",
]
