"""All SQL of the catalogue. Reads are Core rows: the ORM would cost more than the query (PITFALLS, Services)."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, literal, literal_column, select
from sqlalchemy.dialects.postgresql import REGCONFIG, TSVECTOR

from bookstore_common.db import ReadSession
from bookstore_common.pagination import PageRequest
from ecom.books.models import Book
from ecom.books.schemas import CURRENCY, BookFilter, SortKey
from ecom.books.searching import SearchQuery
from ecom.paging import read_page

_BOOKS = Book.__table__.c
BOOK_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _BOOKS.id,
    _BOOKS.title,
    _BOOKS.author,
    _BOOKS.isbn,
    _BOOKS.genre,
    _BOOKS.description,
    _BOOKS.cover_url,
    # As text: two decimals as stored, and no Decimal to convert.
    cast(Book.price, Text).label("price"),
    literal_column(f"'{CURRENCY}'").label("currency"),
    _BOOKS.published_year,
    _BOOKS.created_at,
    _BOOKS.updated_at,
)
# The index's expression, so that the planner can use it.
_VECTOR: ColumnElement[Any] = func.books_search_vector(Book.title, Book.author, Book.isbn, Book.genre, type_=TSVECTOR)
_SIMPLE = literal_column("'simple'", REGCONFIG)
_ENGLISH = literal_column("'english'", REGCONFIG)
_SORT_COLUMNS: dict[str, ColumnElement[Any]] = {
    "title": func.lower(Book.title),
    "price": _BOOKS.price,
    "published_year": _BOOKS.published_year,
    "created_at": _BOOKS.created_at,
}


def matching(query: SearchQuery) -> tuple[ColumnElement[bool], Sequence[ColumnElement[Any]]]:
    """Condition and order of a full-text search, best match first.

    The same title wins; then whole words count more than beginnings, titles and ISBNs more than authors, and authors
    more than genres (the weights of ``books_search_vector``).
    """
    words = func.to_tsquery(_SIMPLE, query.words)
    matches = func.to_tsquery(_SIMPLE, query.prefixes).op("||")(func.to_tsquery(_ENGLISH, query.prefixes))
    order = (
        (func.books_search_fold(Book.title) == literal(query.phrase)).desc(),
        (func.ts_rank(_VECTOR, words) * 4 + func.ts_rank(_VECTOR, matches)).desc(),
        func.lower(Book.title),
        _BOOKS.id,
    )
    return _VECTOR.op("@@")(matches), order


class BookRepository:
    """Books on sale; inactive ones do not exist here."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def find(self, wanted: BookFilter, page: PageRequest) -> tuple[list[dict[str, Any]], int]:
        """Rows of the page and the total number of matches."""
        conditions: list[ColumnElement[bool]] = []
        if wanted.genre is not None:
            conditions.append(Book.genre == wanted.genre)
        if wanted.min_price is not None:
            conditions.append(Book.price >= wanted.min_price)
        if wanted.max_price is not None:
            conditions.append(Book.price <= wanted.max_price)
        return await self._page(conditions, _order(wanted.sort), page)

    async def search(self, query: SearchQuery, page: PageRequest) -> tuple[list[dict[str, Any]], int]:
        """As :meth:`find`, best match first."""
        matches, order = matching(query)
        return await self._page([matches], order, page)

    async def get(self, book_id: uuid.UUID) -> dict[str, Any] | None:
        result = await self._session.execute(select(*BOOK_COLUMNS).where(Book.active, Book.id == book_id))
        row = result.one_or_none()
        return None if row is None else row._asdict()

    async def genres(self) -> list[dict[str, Any]]:
        """Genres that have a book on sale, by name."""
        result = await self._session.execute(
            select(Book.genre, func.count().label("count"))
            .where(Book.active, Book.genre != "")
            .group_by(Book.genre)
            .order_by(Book.genre)
        )
        return [row._asdict() for row in result]

    async def _page(
        self, conditions: Sequence[ColumnElement[bool]], order: Sequence[ColumnElement[Any]], page: PageRequest
    ) -> tuple[list[dict[str, Any]], int]:
        return await read_page(self._session, select(*BOOK_COLUMNS).where(Book.active, *conditions), order, page)


def _order(sort: SortKey) -> Sequence[ColumnElement[Any]]:
    """Missing values last either way; the id decides between equals, so that pages never overlap."""
    column = _SORT_COLUMNS[sort.removeprefix("-")]
    return (column.desc() if sort.startswith("-") else column.asc()).nulls_last(), _BOOKS.id
