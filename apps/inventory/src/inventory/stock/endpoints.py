"""I-02 and I-03 (public), I-07 to I-10 (internal).

Bodies are written straight from rows; ``response_model`` only documents them (a test compares).
"""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from bookstore_common.access import Limit, public, signed_in
from bookstore_common.conditional import NOT_MODIFIED, respond
from bookstore_common.db import Reading, Writing
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.pagination import Page, PageRequest, page_request
from bookstore_common.preconditions import PreconditionRequiredError, StaleVersionError, etag_of
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, NotFoundError, responses
from bookstore_common.tokens import Principal
from inventory.stock.repository import StockReadRepository
from inventory.stock.schemas import (
    AdminStock,
    Movement,
    Stock,
    StockAdjustment,
    StockFilter,
    StockSetting,
    bulk_ids,
    counted_version,
    stock_filter,
)
from inventory.stock.service import AboveMaximumError, BelowReservedError, StockAdminService, StockReadService

# It changes with every order: ask each time, and be told 304.
STOCK_CACHE = "public, no-cache"

public_router = APIRouter(prefix="/stock", tags=["stock"], dependencies=[Depends(public(Limit.ANONYMOUS))])
admin_router = APIRouter(prefix="/admin/stock", tags=["admin"])


async def _reads(session: Reading) -> StockReadService:
    return StockReadService(StockReadRepository(session))


async def _writes(session: Writing) -> StockAdminService:
    return StockAdminService(session)


Reads = Annotated[StockReadService, Depends(_reads)]
Writes = Annotated[StockAdminService, Depends(_writes)]
Paging = Annotated[PageRequest, Depends(page_request)]
Admin = Annotated[Principal, Depends(signed_in("admin"))]


# Before /{book_id}, which would take "bulk" for an id.
@public_router.get(
    "/bulk",
    operation_id="getStockOfMany",
    summary="Show the stock of many books",
    description="By book_id; books of which no stock is kept are absent.",
    response_model=list[Stock],
    responses=NOT_MODIFIED | responses(InvalidInputError, DependencyUnavailableError),
)
async def get_stock_of_many(
    request: Request, stock: Reads, book_ids: Annotated[Sequence[uuid.UUID], Depends(bulk_ids)]
) -> Response:
    return respond(request, dumps(await stock.get_many(book_ids)), cache_control=STOCK_CACHE)


@public_router.get(
    "/{book_id}",
    operation_id="getStock",
    summary="Show the stock of one book",
    response_model=Stock,
    responses=NOT_MODIFIED | responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def get_stock(request: Request, stock: Reads, book_id: uuid.UUID) -> Response:
    return respond(request, dumps(await stock.get(book_id)), cache_control=STOCK_CACHE)


@admin_router.get(
    "",
    operation_id="listStock",
    summary="List stock",
    response_model=Page[AdminStock],
    responses=responses(InvalidInputError, DependencyUnavailableError),
)
async def list_stock(
    _admin: Admin, stock: Reads, paging: Paging, wanted: Annotated[StockFilter, Depends(stock_filter)]
) -> Response:
    return JSONBytes(dumps(await stock.find(wanted, paging)), headers=PRIVATE)


@admin_router.get(
    "/{book_id}",
    operation_id="getStockForAdmin",
    summary="Show the stock of one book with its threshold",
    response_model=AdminStock,
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def get_stock_for_admin(_admin: Admin, stock: Reads, book_id: uuid.UUID) -> Response:
    return _answer(await stock.get_for_admin(book_id))


@admin_router.put(
    "/{book_id}",
    operation_id="setStock",
    summary="Say how many copies of a book there are",
    description='As counted when the stock had the version in If-Match; `"0"` for a book of which no stock was kept.'
    " 412 tells `version`, `quantity` and `reserved` as they are now.",
    response_model=AdminStock,
    responses=responses(
        BelowReservedError, StaleVersionError, PreconditionRequiredError, InvalidInputError, DependencyUnavailableError
    ),
)
async def set_stock(
    admin: Admin,
    stock: Writes,
    book_id: uuid.UUID,
    version: Annotated[int, Depends(counted_version)],
    setting: StockSetting,
) -> Response:
    return _answer(await stock.set_quantity(book_id, version, setting.quantity, setting.low_stock_threshold, admin.sub))


@admin_router.post(
    "/{book_id}/adjust",
    operation_id="adjustStock",
    summary="Add or remove copies of a book",
    description="409 is `below_reserved` or `above_maximum`; both tell `quantity` and `reserved`.",
    response_model=AdminStock,
    responses=responses(
        NotFoundError, BelowReservedError, AboveMaximumError, InvalidInputError, DependencyUnavailableError
    ),
)
async def adjust_stock(admin: Admin, stock: Writes, book_id: uuid.UUID, adjustment: StockAdjustment) -> Response:
    return _answer(await stock.adjust(book_id, adjustment.delta, adjustment.reason, admin.sub))


@admin_router.get(
    "/{book_id}/movements",
    operation_id="listStockMovements",
    summary="List what happened to a book's copies, newest first",
    response_model=Page[Movement],
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def list_stock_movements(_admin: Admin, stock: Reads, paging: Paging, book_id: uuid.UUID) -> Response:
    return JSONBytes(dumps(await stock.movements(book_id, paging)), headers=PRIVATE)


def _answer(stock: dict[str, Any]) -> Response:
    return JSONBytes(dumps(stock), headers={**PRIVATE, "etag": etag_of(stock["version"])})
