"""E-17 to E-20, internal: called by the Admin API with the administrator's own token."""

import uuid
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from bookstore_common.access import signed_in
from bookstore_common.db import Database, Reading
from bookstore_common.inputs import id_list
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.outbox import OutboxRepository
from bookstore_common.pagination import MAX_SIZE, Page, PageRequest, page_request
from bookstore_common.preconditions import PreconditionRequiredError, StaleVersionError, etag_of
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, NotFoundError, responses
from ecom.admin_books.preconditions import edited_version
from ecom.admin_books.repository import AdminBookReadRepository, AdminBookRepository
from ecom.admin_books.schemas import AdminBook, BookEdit, BookFields, WantedActive, WantedIds, WantedText
from ecom.admin_books.service import AdminBookReads, AdminBooks, IsbnExistsError
from ecom.books.cache import BookCache

router = APIRouter(prefix="/admin/books", tags=["admin"], dependencies=[Depends(signed_in("admin"))])


async def _reads(session: Reading) -> AdminBookReads:
    return AdminBookReads(AdminBookReadRepository(session))


async def _changing(request: Request) -> AsyncIterator[AdminBooks]:
    """One transaction, after whose end the catalogue's cache is dropped."""
    database: Database = request.app.state.database
    cache: BookCache = request.app.state.cache
    async with cache.dropping(), database.transaction() as session:
        yield AdminBooks(AdminBookRepository(session), OutboxRepository(session))


Reads = Annotated[AdminBookReads, Depends(_reads)]
# scope="function": committed before the answer is sent.
Changes = Annotated[AdminBooks, Depends(_changing, scope="function")]


@router.get(
    "",
    operation_id="listBooksForAdmin",
    summary="List all books",
    description="By title, or best match first if `q` is given.",
    response_model=Page[AdminBook],
    responses=responses(InvalidInputError, DependencyUnavailableError),
)
async def list_books(
    books: Reads,
    paging: Annotated[PageRequest, Depends(page_request)],
    q: WantedText = None,
    active: WantedActive = None,
    ids: WantedIds = None,
) -> Response:
    wanted = None if ids is None else id_list("ids", ids, MAX_SIZE)
    return JSONBytes(dumps(await books.find(q, active, wanted, paging)), headers=PRIVATE)


@router.get(
    "/{book_id}",
    operation_id="getBookForAdmin",
    summary="Show one book, on sale or not",
    response_model=AdminBook,
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def get_book(books: Reads, book_id: uuid.UUID) -> Response:
    return _answer(await books.get(book_id))


@router.post(
    "",
    operation_id="createBook",
    summary="Add a book to the catalogue",
    status_code=HTTPStatus.CREATED,
    response_model=AdminBook,
    responses=responses(IsbnExistsError, InvalidInputError, DependencyUnavailableError),
)
async def create_book(books: Changes, fields: BookFields) -> Response:
    return _answer(await books.create(fields), HTTPStatus.CREATED)


@router.put(
    "/{book_id}",
    operation_id="editBook",
    summary="Replace what is said about a book",
    response_model=AdminBook,
    responses=responses(
        NotFoundError, IsbnExistsError, StaleVersionError, PreconditionRequiredError, InvalidInputError,
        DependencyUnavailableError,
    ),
)  # fmt: skip
async def edit_book(
    books: Changes, book_id: uuid.UUID, version: Annotated[int, Depends(edited_version)], edit: BookEdit
) -> Response:
    return _answer(await books.edit(book_id, version, edit))


@router.delete(
    "/{book_id}",
    operation_id="withdrawBook",
    summary="Take a book off the shelf",
    description="The book stays in orders. 204 also if it was withdrawn before.",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def withdraw_book(books: Changes, book_id: uuid.UUID) -> Response:
    await books.withdraw(book_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _answer(book: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return JSONBytes(dumps(book), status, headers={**PRIVATE, "etag": etag_of(book["version"])})
