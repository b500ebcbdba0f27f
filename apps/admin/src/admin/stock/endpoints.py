"""A-07 to A-10."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from admin.answers import answer, problems
from admin.books.clients import BookClient
from admin.dependencies import CallerDep, Paging, PeersDep
from admin.peers import Answer
from admin.stock.clients import StockClient
from admin.stock.schemas import (
    Movement,
    Stock,
    StockAdjustment,
    StockRow,
    StockSetting,
    WantedLow,
    WantedText,
)
from admin.stock.service import StockService
from bookstore_common.pagination import Page

router = APIRouter(prefix="/stock", tags=["stock"])


async def _client(caller: CallerDep, peers: PeersDep) -> StockClient:
    return StockClient(peers.inventory, caller)


Client = Annotated[StockClient, Depends(_client)]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description='The version that was counted, as ETag or from the list; "0" if there was no stock',
        # It is sent on as it is: only what a header may carry.
        pattern=r"^[\x20-\x7e]*$",
        examples=['"7"'],
    ),
]


async def _service(caller: CallerDep, peers: PeersDep, stock: Client) -> StockService:
    return StockService(stock, BookClient(peers.ecom, caller))


@router.get(
    "",
    operation_id="listStock",
    summary="List stock with titles",
    description="Every book, also one that is not on sale or has no stock yet (`pending`), by title or with `q` by"
    " relevance. With `low` only books at or below their threshold, those with the fewest copies first.",
    response_model=Page[StockRow],
    responses=problems(validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def list_stock(
    stock: Annotated[StockService, Depends(_service)], paging: Paging, q: WantedText = None, low: WantedLow = False
) -> Response:
    return answer(await (stock.find_low(paging, q) if low else stock.find(paging, q)))


@router.get(
    "/{book_id}",
    operation_id="getStock",
    summary="Show the stock of one book",
    description="404 also for a book that has no stock yet; its version is 0 then.",
    response_model=Stock,
    responses=problems(not_found=404, validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def get_stock(stock: Client, book_id: uuid.UUID) -> Response:
    return _tagged(await stock.get(book_id))


@router.put(
    "/{book_id}",
    operation_id="setStock",
    summary="Say how many copies of a book there are",
    description='As counted when the stock had the version in If-Match; `"0"` for a book that had no stock. 412 if it'
    " was changed since, for example by an order: it tells `version`, `quantity` and `reserved` as they are now, 409"
    " `quantity` and `reserved`.",
    response_model=Stock,
    responses=problems(
        below_reserved=409, stale_version=412, validation_error=422, precondition_required=428, bad_gateway=502,
        gateway_timeout=504,
    ),
)  # fmt: skip
async def set_stock(stock: Client, book_id: uuid.UUID, setting: StockSetting, if_match: IfMatch = None) -> Response:
    return _tagged(await stock.set(book_id, setting.model_dump(mode="json", exclude_unset=True), if_match))


@router.post(
    "/{book_id}/adjust",
    operation_id="adjustStock",
    summary="Add or remove copies of a book",
    description="409 tells `quantity` and `reserved`.",
    response_model=Stock,
    responses=problems(
        not_found=404, below_reserved=409, above_maximum=409, validation_error=422, bad_gateway=502,
        gateway_timeout=504,
    ),
)  # fmt: skip
async def adjust_stock(stock: Client, book_id: uuid.UUID, adjustment: StockAdjustment) -> Response:
    return _tagged(await stock.adjust(book_id, adjustment.model_dump(mode="json")))


@router.get(
    "/{book_id}/movements",
    operation_id="listStockMovements",
    summary="List what happened to a book's copies, newest first",
    response_model=Page[Movement],
    responses=problems(not_found=404, validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def list_stock_movements(stock: Client, paging: Paging, book_id: uuid.UUID) -> Response:
    return answer(await stock.movements(book_id, paging))


def _tagged(stock: Answer[Stock]) -> Response:
    return answer(stock.body, etag=stock.etag)
