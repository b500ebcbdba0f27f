"""What the stock's endpoints accept and answer."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from bookstore_common.inputs import NotZero, QueryText, StockQuantity, StrictModel, Text, WholeNumber

# pending: Inventory keeps no stock of the book yet; unknown: Inventory did not say.
StockStatus = Literal["in_stock", "low_stock", "out_of_stock", "pending", "unknown"]
_BOOK = "00000000-0000-0000-0000-000000000029"
_COUNTS = {"quantity": 3, "reserved": 1, "available": 2, "low_stock_threshold": 5}


class Stock(BaseModel):
    """I-07 to I-09: the copies of a book."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "book_id": _BOOK,
                **_COUNTS,
                "stock_status": "low_stock",
                "version": 2,
                "updated_at": "2026-01-06T09:00:00Z",
            }
        }
    )

    book_id: uuid.UUID
    quantity: int = Field(ge=0, description="Copies on the shelf")
    reserved: int = Field(ge=0, description="How many of them are promised to orders")
    available: int = Field(ge=0, description="How many can still be sold")
    stock_status: Literal["in_stock", "low_stock", "out_of_stock"]
    low_stock_threshold: int = Field(ge=0)
    version: int = Field(ge=1, description="Raised by every change; also the ETag, to be sent as If-Match with A-08")
    updated_at: datetime


class StockFields(BaseModel):
    """The copies of a book that may have no stock, beside other things about it."""

    quantity: int | None = Field(default=None, description="Copies on the shelf; null unless known")
    reserved: int | None = Field(default=None, description="How many of them are promised to orders")
    available: int | None = Field(default=None, description="How many can still be sold")
    low_stock_threshold: int | None = None
    stock_status: StockStatus = Field(
        description="pending: no stock was set yet; unknown: the Inventory API does not answer"
    )


class StockRow(StockFields):
    """A book's copies and its title."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "book_id": _BOOK,
                "title": "The Name of the Rose",
                "active": True,
                **_COUNTS,
                "stock_status": "low_stock",
                "version": 2,
            }
        }
    )

    book_id: uuid.UUID
    title: str | None = Field(description="null if there is stock but no such book")
    active: bool | None = Field(description="Whether the book is on sale; null if there is no such book")
    version: int = Field(ge=0, description="Of the stock, to be sent as If-Match with A-08; 0: no stock was set yet")


class Movement(BaseModel):
    """I-10: one line of the audit."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": 31,
                "book_id": _BOOK,
                "delta": -2,
                "reserved_delta": 0,
                "reason": "damaged in transport",
                "order_id": None,
                "actor": "6d1c2b5e-8d3a-4c0f-9b7e-1a2d3c4b5f60",
                "created_at": "2026-01-06T09:00:00Z",
            }
        }
    )

    id: int = Field(ge=1, description="Later lines have greater ids")
    book_id: uuid.UUID
    delta: int = Field(description="Change of quantity")
    reserved_delta: int = Field(description="Change of reserved")
    reason: str
    order_id: uuid.UUID | None
    actor: str = Field(description="Who did it: an admin's sub, or a service's client id")
    created_at: datetime


class StockSetting(StrictModel):
    """I-08: how many copies there are; a book without stock gets some."""

    model_config = ConfigDict(json_schema_extra={"example": {"quantity": 40, "low_stock_threshold": 5}})

    quantity: StockQuantity
    low_stock_threshold: StockQuantity | None = Field(default=None, description="Left as it is if not given")


class StockAdjustment(StrictModel):
    """I-09: copies to add, or with a negative delta to remove."""

    model_config = ConfigDict(json_schema_extra={"example": {"delta": -2, "reason": "damaged in transport"}})

    delta: Annotated[WholeNumber, NotZero]
    reason: Text


WantedText = Annotated[
    QueryText | None, Query(description="Only books with this title, author, ISBN or genre", examples=["dune"])
]
WantedLow = Annotated[
    bool, Query(description="Only books at or below their threshold, those with the fewest copies first")
]
