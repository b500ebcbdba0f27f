"""A-03 to A-06."""

import uuid
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from admin.answers import answer, problems
from admin.books.clients import BookClient
from admin.books.schemas import Book, BookEdit, BookPage, BookWithWarnings, NewBook, WantedActive, WantedText
from admin.books.service import BookService
from admin.dependencies import CallerDep, Paging, PeersDep
from admin.stock.clients import StockClient

router = APIRouter(prefix="/books", tags=["books"])


async def _client(caller: CallerDep, peers: PeersDep) -> BookClient:
    return BookClient(peers.ecom, caller)


Client = Annotated[BookClient, Depends(_client)]


async def _service(caller: CallerDep, peers: PeersDep, books: Client) -> BookService:
    return BookService(
        books,
        StockClient(peers.inventory, caller, peers.optional_patience_seconds),
        StockClient(peers.inventory, caller),
    )


Books = Annotated[BookService, Depends(_service)]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", description="The version that was edited, as its ETag", examples=['"1"'])
]


@router.get(
    "",
    operation_id="listBooks",
    summary="List books with their stock",
    description="By title, or with `q` by relevance; also books that are not on sale. If the Inventory API does not"
    " answer, stock is null, `stock_status` is `unknown` and `warnings` says why.",
    response_model=BookPage,
    responses=problems(validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def list_books(books: Books, paging: Paging, q: WantedText = None, active: WantedActive = None) -> Response:
    return answer(await books.find(paging, q, active))


@router.get(
    "/{book_id}",
    operation_id="getBook",
    summary="Show one book with its stock",
    description="Also one that is not on sale. Stock as in the list.",
    response_model=BookWithWarnings,
    responses=problems(not_found=404, validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def get_book(books: Books, book_id: uuid.UUID) -> Response:
    found = await books.get(book_id)
    return answer(found.body, etag=found.etag)


@router.post(
    "",
    operation_id="createBook",
    summary="Add a book and its first copies",
    description="If its stock cannot be set now, the book is there all the same: 201 with `stock_status` `pending`,"
    " and setting the stock later completes it.",
    status_code=HTTPStatus.CREATED,
    response_model=BookWithWarnings,
    responses=problems(isbn_exists=409, validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def create_book(books: Books, new: NewBook) -> Response:
    created = await books.create(new)
    location = f"/admin/books/{created.body.id}"
    return answer(created.body, HTTPStatus.CREATED, etag=created.etag, location=location)


@router.put(
    "/{book_id}",
    operation_id="editBook",
    summary="Change a book",
    description="Every field anew; one left out becomes null. 412 if somebody else changed the book meanwhile.",
    response_model=Book,
    responses=problems(
        not_found=404, isbn_exists=409, stale_version=412, validation_error=422, precondition_required=428,
        bad_gateway=502, gateway_timeout=504,
    ),
)  # fmt: skip
async def edit_book(books: Client, book_id: uuid.UUID, edit: BookEdit, if_match: IfMatch = None) -> Response:
    edited = await books.edit(book_id, edit.model_dump(mode="json", exclude_unset=True), if_match)
    return answer(edited.body, etag=edited.etag)


@router.delete(
    "/{book_id}",
    operation_id="withdrawBook",
    summary="Take a book off the shop",
    description="It stays in orders, and `active: true` brings it back. A repeat is 204, too.",
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems(not_found=404, validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def withdraw_book(books: Client, book_id: uuid.UUID) -> Response:
    await books.withdraw(book_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
