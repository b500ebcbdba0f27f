"""What the orders' endpoints accept and answer."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from bookstore_common.inputs import Amount, StrictModel, Text
from ecom.orders.transitions import Status

WantedStatus = Annotated[Status | None, Query(description="Only orders in this status")]
ORDER_EXAMPLE: JsonDict = {
    "id": "0c7e5a53-6d0b-5f0e-9a3e-0f2e1f1b7a10",
    "status": "CANCELLED",
    "total": "21.98",
    "currency": "USD",
    "cancel_reason": "Ordered by mistake",
    "created_at": "2026-01-06T09:00:00.120000Z",
    "updated_at": "2026-01-06T09:00:00.120000Z",
}
SHIPPING_EXAMPLE: JsonDict = {
    "name": "Ada Reader",
    "line1": "1 Library Street",
    "line2": "Flat 2",
    "city": "Springfield",
    "postal_code": "12345",
    "country": "US",
}
DETAIL_EXAMPLE: JsonDict = {
    **ORDER_EXAMPLE,
    "shipping": SHIPPING_EXAMPLE,
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


class ShippingAddress(BaseModel):
    """Where the order goes."""

    model_config = ConfigDict(extra="forbid")

    name: str
    line1: str
    line2: str | None
    city: str
    postal_code: str
    country: str


class OrderLine(BaseModel):
    """Copies of one book, with title and price as they were when ordered."""

    model_config = ConfigDict(extra="forbid")

    book_id: uuid.UUID
    title: str
    quantity: int = Field(ge=1)
    price: Amount
    line_total: Amount


class OrderBase(BaseModel):
    """What summary and detail share."""

    model_config = ConfigDict(extra="forbid")

    id: uuid.UUID
    status: Status
    total: Amount
    currency: Literal["USD"]
    cancel_reason: str | None
    created_at: datetime
    updated_at: datetime


class OrderSummary(OrderBase):
    """An order in a list."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {**ORDER_EXAMPLE, "item_count": 2}})

    item_count: int = Field(ge=1, description="Copies in the order")


class OrderDetail(OrderBase):
    """An order with its items."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": DETAIL_EXAMPLE})

    shipping: ShippingAddress
    items: list[OrderLine]


class Cancellation(StrictModel):
    """Why a customer cancels; may be left out."""

    model_config = ConfigDict(json_schema_extra={"example": {"reason": "Ordered by mistake"}})

    reason: Text | None = None
