"""What the stock's endpoints accept and answer."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field

from bookstore_common.inputs import MAX_STOCK, NotZero, StockQuantity, StrictModel, Text, id_list
from bookstore_common.preconditions import version_in
from inventory.stock.arithmetic import StockStatus

# SPEC 5.4, I-03.
MAX_BULK_IDS = 100
# Admin searches by title: E-Commerce's matches come as ids.
MAX_FILTER_IDS = 500
_BOOK = "00000000-0000-0000-0000-000000000029"


# Strict: "5", 5.0 and true are not numbers of copies.
Delta = Annotated[int, Field(strict=True, ge=-MAX_STOCK, le=MAX_STOCK), NotZero]


class Stock(BaseModel):
    """Copies of a book as shoppers see them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"book_id": _BOOK, "quantity": 3, "reserved": 1, "available": 2, "stock_status": "low_stock"}
        },
    )

    book_id: uuid.UUID
    quantity: int = Field(ge=0, description="Copies on the shelf")
    reserved: int = Field(ge=0, description="Of these, promised to orders")
    available: int = Field(ge=0, description="quantity - reserved")
    stock_status: StockStatus = Field(description="low_stock: no more than the book's threshold available")


class AdminStock(Stock):
    """Copies of a book as admins see them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "book_id": _BOOK,
                "quantity": 3,
                "reserved": 1,
                "available": 2,
                "stock_status": "low_stock",
                "low_stock_threshold": 5,
                "version": 2,
                "updated_at": "2026-01-06T09:00:00Z",
            }
        },
    )

    low_stock_threshold: int = Field(ge=0)
    version: int = Field(ge=1, description="Raised by every change; also the ETag, to be sent as If-Match with I-08")
    updated_at: datetime


class Movement(BaseModel):
    """One line of the audit."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "id": 31,
                "book_id": _BOOK,
                "delta": 0,
                "reserved_delta": 1,
                "reason": "reserved",
                "order_id": "6f1c2b5e-8d3a-4c0f-9b7e-1a2d3c4b5f60",
                "actor": "ecom-service",
                "created_at": "2026-01-06T09:00:00Z",
            }
        },
    )

    id: int = Field(ge=1, description="Later lines have greater ids")
    book_id: uuid.UUID
    delta: int = Field(description="Change of quantity")
    reserved_delta: int = Field(description="Change of reserved")
    reason: str = Field(description="seed, reserved, released, expired, committed, restocked, set, or an admin's words")
    order_id: uuid.UUID | None
    actor: str = Field(description="Who did it: an admin's sub, or the calling service's client id")
    created_at: datetime


class StockSetting(StrictModel):
    """I-08."""

    model_config = ConfigDict(json_schema_extra={"example": {"quantity": 40, "low_stock_threshold": 5}})

    quantity: StockQuantity
    low_stock_threshold: StockQuantity | None = Field(
        default=None, description="Left as it is if not given; 5 for a book without stock yet"
    )


class StockAdjustment(StrictModel):
    """I-09."""

    model_config = ConfigDict(json_schema_extra={"example": {"delta": -2, "reason": "damaged in transport"}})

    delta: Delta
    reason: Text


@dataclass(frozen=True, slots=True)
class StockFilter:
    """Which books; ``book_ids`` None means all."""

    low: bool
    out_of_stock: bool
    book_ids: Sequence[uuid.UUID] | None


async def bulk_ids(
    book_ids: Annotated[
        str, Query(description=f"Up to {MAX_BULK_IDS} ids, separated by commas", examples=[f"{_BOOK[:-2]}01,{_BOOK}"])
    ] = "",
) -> Sequence[uuid.UUID]:
    """FastAPI dependency; raises a 422 problem that names each bad id. No id is an empty list, not an error."""
    return id_list("book_ids", book_ids, MAX_BULK_IDS)


async def counted_version(
    if_match: Annotated[
        str | None,
        Header(description='ETag or version of the stock that was counted; "0" if none was kept', examples=['"7"']),
    ] = None,
) -> int:
    """FastAPI dependency; raises a 428 problem without the header and a 422 problem if it is no single version."""
    return version_in(if_match, "stock")


async def stock_filter(
    low: Annotated[
        bool, Query(description="Only books at or below their threshold, those with the fewest copies first")
    ] = False,
    out_of_stock: Annotated[bool, Query(description="Only books of which no copy is available")] = False,
    q: Annotated[
        str | None,
        Query(description=f"Only these books: up to {MAX_FILTER_IDS} ids, separated by commas; empty finds none"),
    ] = None,
) -> StockFilter:
    """FastAPI dependency; raises a 422 problem that names each bad id."""
    return StockFilter(low, out_of_stock, None if q is None else id_list("q", q, MAX_FILTER_IDS))
