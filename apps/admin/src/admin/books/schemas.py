"""What the catalogue's endpoints accept and answer."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from admin.notes import WarningNote
from admin.stock.schemas import StockFields
from bookstore_common.inputs import Amount, Paragraphs, Price, QueryText, ShortText, StockQuantity, StrictModel, Text
from bookstore_common.pagination import Page

_FIELDS: dict[str, Any] = {
    "title": "Dune",
    "author": "Frank Herbert",
    "isbn": "9780441172719",
    "genre": "Science Fiction",
    "description": "A desert planet, its spice and the boy who will rule both.",
    "cover_url": None,
    "price": "10.99",
    "published_year": 1965,
}
_BOOK = {
    "id": "00000000-0000-0000-0000-000000000011",
    **_FIELDS,
    "currency": "USD",
    "active": True,
    "version": 1,
    "created_at": "2025-01-06T09:00:00Z",
    "updated_at": "2025-01-06T09:00:00Z",
}
_STOCKED = {
    **_BOOK,
    "quantity": 50,
    "reserved": 2,
    "available": 48,
    "low_stock_threshold": 5,
    "stock_status": "in_stock",
}


class BookFields(StrictModel):
    """What an administrator decides about a book. The E-Commerce API has the last word on each field."""

    model_config = ConfigDict(json_schema_extra={"example": _FIELDS})

    title: Text
    author: Text
    isbn: Annotated[str, StringConstraints(max_length=20)] | None = Field(
        default=None, description="ISBN-13, with or without hyphens"
    )
    genre: ShortText | None = None
    # StrictModel looks for the mark of several lines on the field, not inside of a union.
    description: Annotated[Paragraphs | None, *Paragraphs.__metadata__[1:]] = None
    cover_url: Annotated[str, StringConstraints(max_length=2000)] | None = Field(
        default=None, description="https address, or a path of the shop"
    )
    price: Price
    published_year: Annotated[int, Field(strict=True, ge=1000, le=2100)] | None = None


class BookEdit(BookFields):
    """All fields anew; ``active`` left out stays as it is, ``true`` brings a withdrawn book back."""

    model_config = ConfigDict(json_schema_extra={"example": {**_FIELDS, "active": True}})

    active: Annotated[bool, Field(strict=True)] | None = None


class NewBook(BookFields):
    """A book and how many copies of it there are."""

    model_config = ConfigDict(json_schema_extra={"example": {**_FIELDS, "initial_quantity": 50}})

    initial_quantity: StockQuantity


class Book(BaseModel):
    """E-17 to E-19: a book, on sale or not."""

    model_config = ConfigDict(json_schema_extra={"example": _BOOK})

    id: uuid.UUID
    title: str
    author: str
    isbn: str | None = Field(description="ISBN-13 without hyphens")
    genre: str | None
    description: str | None
    cover_url: str | None
    price: Amount
    currency: Literal["USD"]
    published_year: int | None
    active: bool = Field(description="Whether shoppers see it")
    version: int = Field(ge=1, description="Also the ETag; to be sent as If-Match with a change")
    created_at: datetime
    updated_at: datetime


class StockedBook(StockFields, Book):
    """A book with its stock."""

    model_config = ConfigDict(json_schema_extra={"example": _STOCKED})


class BookWithWarnings(StockedBook):
    """A book with its stock, and why the stock is missing if it is."""

    model_config = ConfigDict(json_schema_extra={"example": {**_STOCKED, "warnings": []}})

    warnings: list[WarningNote]


class BookPage(Page[StockedBook]):
    """A page of books with their stock."""

    warnings: list[WarningNote]


WantedText = Annotated[QueryText | None, Query(description="Title, author, ISBN or genre", examples=["herbert"])]
WantedActive = Annotated[bool | None, Query(description="Only books that are (not) on sale")]
