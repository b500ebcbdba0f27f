"""What the orders' endpoints accept and answer."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from bookstore_common.inputs import Amount, Moment, QueryText, StrictModel

_ORDER = {
    "id": "0c7e5a53-6d0b-5f0e-9a3e-0f2e1f1b7a10",
    "user_id": "7d1a2f0e-0f5a-4d55-9b1e-3c1f1f2e9a77",
    "status": "CONFIRMED",
    "total": "21.98",
    "currency": "USD",
    "cancel_reason": None,
    "created_at": "2026-01-06T09:00:00.120000Z",
    "updated_at": "2026-01-06T09:00:00.120000Z",
}
_BEFORE = "Created before this moment, which is excluded: for a whole day, the beginning of the next one"


class Status(StrEnum):
    """State of an order: CONFIRMED -> SHIPPED -> DELIVERED, or CONFIRMED -> CANCELLED."""

    CONFIRMED = "CONFIRMED"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"


class ShippingAddress(BaseModel):
    """Where the order goes."""

    name: str
    line1: str
    line2: str | None = None
    city: str
    postal_code: str
    country: str


class OrderLine(BaseModel):
    """Copies of one book, with title and price as they were when ordered."""

    book_id: uuid.UUID
    title: str
    quantity: int = Field(ge=1)
    price: Amount
    line_total: Amount


class OrderBase(BaseModel):
    """What summary and detail share."""

    id: uuid.UUID
    user_id: str = Field(description="The customer's sub")
    status: Status
    total: Amount
    currency: Literal["USD"]
    cancel_reason: str | None
    created_at: datetime
    updated_at: datetime


class OrderSummary(OrderBase):
    """An order in the list of all orders."""

    model_config = ConfigDict(json_schema_extra={"example": {**_ORDER, "item_count": 2}})

    item_count: int = Field(ge=1, description="Copies in the order")


class OrderDetail(OrderBase):
    """An order with its items and its customer."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                **_ORDER,
                "shipping": {
                    "name": "Ada Reader",
                    "line1": "1 Library Street",
                    "line2": None,
                    "city": "Springfield",
                    "postal_code": "12345",
                    "country": "US",
                },
                "items": [
                    {
                        "book_id": "00000000-0000-0000-0000-000000000011",
                        "title": "Dune",
                        "quantity": 2,
                        "price": "10.99",
                        "line_total": "21.98",
                    }
                ],
            }
        }
    )

    shipping: ShippingAddress
    items: list[OrderLine]


class NewStatus(StrictModel):
    """The status that the order shall have."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "SHIPPED"}})

    status: Status


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders; None means any."""

    status: Status | None
    created_from: datetime | None
    created_before: datetime | None
    user_id: str | None

    def params(self) -> dict[str, str | None]:
        """As query parameters of E-21."""
        return {
            "status": self.status,
            "from": None if self.created_from is None else self.created_from.isoformat(),
            "to": None if self.created_before is None else self.created_before.isoformat(),
            "user_id": self.user_id,
        }


async def order_filter(
    status: Annotated[Status | None, Query(description="Only orders in this status")] = None,
    created_from: Annotated[
        Moment | None,
        Query(alias="from", description="Created at this moment or later", examples=["2026-01-01T00:00:00Z"]),
    ] = None,
    created_before: Annotated[
        Moment | None, Query(alias="to", description=_BEFORE, examples=["2026-02-01T00:00:00Z"])
    ] = None,
    user_id: Annotated[QueryText | None, Query(description="Only this customer's")] = None,
) -> OrderFilter:
    """FastAPI dependency; whether the period makes sense is for the E-Commerce API to say."""
    return OrderFilter(status, created_from, created_before, user_id)
