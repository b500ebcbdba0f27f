"""What the reservations' endpoints accept and answer."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from bookstore_common.inputs import Quantity, StrictModel
from inventory.reservations.models import Status

# Lines of a full cart (SPEC 5.3, E-08).
MAX_ITEMS = 50
_ORDER = "6f1c2b5e-8d3a-4c0f-9b7e-1a2d3c4b5f60"
_ITEM: JsonDict = {"book_id": "00000000-0000-0000-0000-000000000029", "quantity": 1}


class WantedItem(StrictModel):
    """Copies of one book."""

    model_config = ConfigDict(json_schema_extra={"example": _ITEM})

    book_id: uuid.UUID
    quantity: Quantity


def _each_book_once(items: list[WantedItem]) -> list[WantedItem]:
    if len({item.book_id for item in items}) != len(items):
        raise ValueError("must name each book only once; add the quantities up")
    return items


class ReservationRequest(StrictModel):
    """I-04."""

    model_config = ConfigDict(json_schema_extra={"example": {"order_id": _ORDER, "items": [_ITEM]}})

    order_id: uuid.UUID
    items: Annotated[list[WantedItem], Field(min_length=1, max_length=MAX_ITEMS), AfterValidator(_each_book_once)]

    def by_book(self) -> Mapping[uuid.UUID, int]:
        """Copies wanted per book."""
        return {item.book_id: item.quantity for item in self.items}


class ReservedItem(BaseModel):
    """Copies of one book that are set aside."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _ITEM})

    book_id: uuid.UUID
    quantity: int = Field(ge=1)


class Reservation(BaseModel):
    """What is set aside for an order."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "order_id": _ORDER,
                "status": "HELD",
                "expires_at": "2026-01-06T09:15:00Z",
                "items": [_ITEM],
            }
        },
    )

    order_id: uuid.UUID
    status: Status
    expires_at: datetime = Field(description="When a hold ends that no order has claimed")
    items: list[ReservedItem] = Field(description="By book_id")
