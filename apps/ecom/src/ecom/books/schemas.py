"""What the catalogue's endpoints accept and answer."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from bookstore_common.characters import refuse_control_characters
from bookstore_common.inputs import Amount
from bookstore_common.problem import FieldError, InvalidInputError

CURRENCY = "USD"
SortKey = Literal[
    "title", "-title", "price", "-price", "published_year", "-published_year", "created_at", "-created_at"
]
Genre = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(refuse_control_characters)]
PriceBound = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]


class Book(BaseModel):
    """A book as shoppers see it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "id": "00000000-0000-0000-0000-000000000001",
                "title": "Pride and Prejudice",
                "author": "Jane Austen",
                "isbn": "9780141439518",
                "genre": "Classics",
                "description": "A sharp-tongued young woman and a proud gentleman learn to see past first impressions.",
                "cover_url": "/covers/pride-and-prejudice.jpg",
                "price": "9.99",
                "currency": "USD",
                "published_year": 1813,
                "created_at": "2025-01-06T09:00:00Z",
                "updated_at": "2025-01-06T09:00:00Z",
            }
        },
    )

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
    created_at: datetime
    updated_at: datetime


class GenreCount(BaseModel):
    """A genre and how many books on sale it has."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"genre": "Fantasy", "count": 5}})

    genre: str
    count: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class BookFilter:
    """Which books, in which order."""

    sort: SortKey
    genre: str | None
    min_price: Decimal | None
    max_price: Decimal | None


async def book_filter(
    sort: Annotated[SortKey, Query(description="Order; `-` means descending")] = "title",
    genre: Annotated[Genre | None, Query(description="Exactly this genre", examples=["Fantasy"])] = None,
    min_price: Annotated[PriceBound | None, Query(description="Lowest price", examples=["5.00"])] = None,
    max_price: Annotated[PriceBound | None, Query(description="Highest price", examples=["20.00"])] = None,
) -> BookFilter:
    """FastAPI dependency; raises a 422 problem if the price range is upside down."""
    if min_price is not None and max_price is not None and min_price > max_price:
        message = f"min_price {min_price} is above max_price {max_price}"
        raise InvalidInputError(
            "Invalid input: min_price, max_price.",
            errors=[FieldError(field=name, location="query", message=message) for name in ("min_price", "max_price")],
        )
    return BookFilter(sort, genre, _cents(min_price), _cents(max_price))


def _cents(price: Decimal | None) -> Decimal | None:
    """Two decimals, however it was written, so that one question has one name in the cache."""
    return None if price is None else abs(price.quantize(Decimal("0.01")))
