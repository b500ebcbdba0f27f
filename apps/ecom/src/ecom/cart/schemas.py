"""What the cart's endpoints accept and answer."""

import uuid
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from bookstore_common.inputs import MAX_QUANTITY, AmountText, Quantity, StrictModel
from ecom.cart.arithmetic import MAX_LINES

BookId = Annotated[uuid.UUID, Field(examples=["00000000-0000-0000-0000-000000000011"])]
_CART: JsonDict = {
    "items": [
        {
            "id": "5f0c0b1e-58b7-4a8b-9a55-6a2f4f0d7c11",
            "book_id": "00000000-0000-0000-0000-000000000011",
            "title": "Dune",
            "price": "10.99",
            "quantity": 2,
            "line_total": "21.98",
            "available_for_sale": True,
        }
    ],
    "count": 2,
    "total": "21.98",
}


class NewLine(StrictModel):
    """Copies of a book to add to the cart."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"book_id": "00000000-0000-0000-0000-000000000011", "quantity": 2}}
    )

    book_id: BookId
    quantity: Quantity


class NewQuantity(StrictModel):
    """How many copies a line shall hold."""

    model_config = ConfigDict(json_schema_extra={"example": {"quantity": 3}})

    quantity: Quantity


class GuestItem(StrictModel):
    """One line of a guest's cart."""

    book_id: BookId
    quantity: Quantity


class GuestCart(StrictModel):
    """What a visitor collected before signing in; a book named twice counts twice."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"items": [{"book_id": "00000000-0000-0000-0000-000000000011", "quantity": 2}]}}
    )

    items: list[GuestItem] = Field(max_length=MAX_LINES)


class CartLine(BaseModel):
    """One book in the cart, at today's price in US dollars."""

    model_config = ConfigDict(extra="forbid")

    id: uuid.UUID = Field(description="Of the line, for changing or removing it")
    book_id: uuid.UUID
    title: str
    price: AmountText
    quantity: int = Field(ge=1, le=MAX_QUANTITY)
    line_total: AmountText
    available_for_sale: bool = Field(description="False if the book was withdrawn; checkout refuses such a line")


class Cart(BaseModel):
    """The whole cart, oldest line first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": _CART})

    items: list[CartLine]
    count: int = Field(ge=0, description="Copies in all lines together")
    total: AmountText = Field(description="All lines together; what checkout expects")


class Skipped(BaseModel):
    """A book that a merge left out."""

    model_config = ConfigDict(extra="forbid")

    book_id: uuid.UUID
    reason: Literal["not_on_sale", "cart_full"]


class MergedCart(BaseModel):
    """The cart after a merge."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "cart": _CART,
                "skipped": [{"book_id": "ffffffff-0000-4000-8000-000000000001", "reason": "not_on_sale"}],
            }
        },
    )

    cart: Cart
    skipped: list[Skipped]
