"""E-02 to E-05. Bodies are written straight from rows; ``response_model`` only documents them (a test compares)."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from bookstore_common.access import Limit, public
from bookstore_common.conditional import NOT_MODIFIED, respond
from bookstore_common.db import Reading
from bookstore_common.inputs import QueryText
from bookstore_common.pagination import Page, PageRequest, page_request
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, NotFoundError, responses
from ecom.books.repository import RANKED, BookRepository
from ecom.books.schemas import Book, BookFilter, GenreCount, book_filter
from ecom.books.service import BookService

# SPEC 5.3, E-02 and E-03.
LIST_CACHE = "public, max-age=60"
# A book's page shows the price that checkout will charge: ask each time, and be told 304.
BOOK_CACHE = "public, no-cache"

books_router = APIRouter(prefix="/books", tags=["books"])
genres_router = APIRouter(prefix="/genres", tags=["books"])


async def _service(request: Request, session: Reading) -> BookService:
    return BookService(BookRepository(session), request.app.state.cache)


Books = Annotated[BookService, Depends(_service)]
Paging = Annotated[PageRequest, Depends(page_request)]


@books_router.get(
    "",
    operation_id="listBooks",
    summary="List books on sale",
    response_model=Page[Book],
    responses=NOT_MODIFIED | responses(InvalidInputError, DependencyUnavailableError),
    dependencies=[Depends(public())],
)
async def list_books(
    request: Request, books: Books, paging: Paging, wanted: Annotated[BookFilter, Depends(book_filter)]
) -> Response:
    return respond(request, await books.find(wanted, paging), cache_control=LIST_CACHE)


# Before /{book_id}, which would take "search" for an id.
@books_router.get(
    "/search",
    operation_id="searchBooks",
    summary="Search title, author, ISBN and genre",
    description="Best match first. Words may be incomplete; accents, case, apostrophes and hyphens do not matter. Of"
    f" more than {RANKED} matches only so many are ranked, the same title first, then those with the lowest ids; the"
    " others follow by id.",
    response_model=Page[Book],
    responses=NOT_MODIFIED | responses(InvalidInputError, DependencyUnavailableError),
    dependencies=[Depends(public(Limit.SEARCH))],
)
async def search_books(
    request: Request, books: Books, paging: Paging, q: Annotated[QueryText, Query(examples=["hobbit"])]
) -> Response:
    return respond(request, await books.search(q, paging), cache_control=LIST_CACHE)


@books_router.get(
    "/{book_id}",
    operation_id="getBook",
    summary="Show one book",
    response_model=Book,
    responses=NOT_MODIFIED | responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
    dependencies=[Depends(public())],
)
async def get_book(request: Request, books: Books, book_id: uuid.UUID) -> Response:
    return respond(request, await books.get(book_id), cache_control=BOOK_CACHE)


@genres_router.get(
    "",
    operation_id="listGenres",
    summary="List genres with the number of books on sale",
    response_model=list[GenreCount],
    responses=NOT_MODIFIED | responses(DependencyUnavailableError),
    dependencies=[Depends(public())],
)
async def list_genres(request: Request, books: Books) -> Response:
    return respond(request, await books.genres(), cache_control=LIST_CACHE)
