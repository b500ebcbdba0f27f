"""What administrators send and see of books."""

import uuid
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from bookstore_common.inputs import AmountText, Paragraphs, Price, QueryText, ShortText, StrictModel, Text
from bookstore_common.pagination import MAX_SIZE

_FIELDS: JsonDict = {
    "title": "Dune",
    "author": "Frank Herbert",
    "isbn": "9780441172719",
    "genre": "Science Fiction",
    "description": "A desert planet, its spice and the boy who will rule both.",
    "cover_url": "/covers/dune.jpg",
    "price": "10.99",
    "published_year": 1965,
}


def _without_hyphens(value: object) -> object:
    return value.replace("-", "").replace(" ", "") if isinstance(value, str) else value


def _is_isbn(value: str) -> str:
    """ISO 2108: weights 1 and 3, sum divisible by ten."""
    digits = [int(digit) for digit in value]
    if sum(digit * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10 != 0:
        raise ValueError("the check digit is wrong")
    return value


Isbn = Annotated[
    str,
    BeforeValidator(_without_hyphens),
    StringConstraints(pattern=r"^97[89][0-9]{10}$"),
    AfterValidator(_is_isbn),
    Field(description="ISBN-13, with or without hyphens"),
]
CoverUrl = Annotated[
    str,
    StringConstraints(max_length=2000, pattern=r'^(https://|/)[^\s"<>\\]*$'),
    Field(description="https address, or a path of the shop"),
]


class BookFields(StrictModel):
    """Everything that an administrator decides about a book."""

    model_config = ConfigDict(json_schema_extra={"example": _FIELDS})

    title: Text
    author: Text
    isbn: Isbn | None = None
    genre: ShortText | None = None
    # Annotated again: StrictModel looks for the mark of several lines at the field, not inside of the union.
    description: Annotated[Paragraphs | None, *Paragraphs.__metadata__[1:]] = None
    cover_url: CoverUrl | None = None
    price: Price
    published_year: Annotated[int, Field(strict=True, ge=1000, le=2100)] | None = None


class BookEdit(BookFields):
    """All fields anew; ``active`` left out stays as it is, ``true`` brings a withdrawn book back."""

    model_config = ConfigDict(json_schema_extra={"example": {**_FIELDS, "active": True}})

    active: Annotated[bool, Field(strict=True)] | None = None


class AdminBook(BaseModel):
    """A book as administrators see it, on sale or not."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "id": "00000000-0000-0000-0000-000000000011",
                **_FIELDS,
                "currency": "USD",
                "created_at": "2025-01-06T09:00:00Z",
                "updated_at": "2025-01-06T09:00:00Z",
                "active": True,
                "version": 1,
            }
        },
    )

    id: uuid.UUID
    title: str
    author: str
    isbn: str | None
    genre: str | None
    description: str | None
    cover_url: str | None
    price: AmountText
    currency: Literal["USD"]
    published_year: int | None
    created_at: datetime
    updated_at: datetime
    active: bool
    version: int = Field(ge=1, description="Also the ETag; to be sent as If-Match with a change")


WantedText = Annotated[QueryText | None, Query(description="Title, author, ISBN or genre", examples=["herbert"])]
WantedActive = Annotated[bool | None, Query(description="Only books that are (not) on sale")]
WantedIds = Annotated[
    str | None,
    Query(description=f"Only these books: up to {MAX_SIZE} ids, separated by commas; empty finds none"),
]
