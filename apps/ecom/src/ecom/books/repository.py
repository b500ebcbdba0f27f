"""All SQL of the catalogue. Reads are Core rows: the ORM would cost more than the query (PITFALLS, Services)."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Text,
    Uuid,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from bookstore_common.db import ReadSession
from bookstore_common.pagination import CATALOGUE_REACH, PageRequest, read_page
from ecom.books.models import TITLE_ORDER, Book, BookSearch
from ecom.books.schemas import CURRENCY, BookFilter, SortKey
from ecom.books.searching import SearchText

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
_SORT_COLUMNS: dict[str, ColumnElement[Any]] = {
    "title": Book.title.collate(TITLE_ORDER),
    "price": _BOOKS.price,
    "published_year": _BOOKS.published_year,
    "created_at": _BOOKS.created_at,
}
# Matches that are ranked; a frequent word has more, of which nobody reads the thousandth.
RANKED = 2000
# As text, so that the next statement has constants of which the planner knows how frequent they are.
_QUERY = text(
    """
    SELECT (CASE WHEN isbn IS NULL THEN matches ELSE coalesce(isbn || matches, isbn) END)::text AS matches,
           (CASE WHEN isbn IS NULL THEN whole ELSE coalesce(isbn || whole, isbn) END)::text AS whole,
           marks::text AS marks, phrase
    FROM book_search_query(:text), CAST(book_search_lexeme(CAST(:isbn AS text), ':*') AS tsquery) AS isbn
    """
)


async def search_page(
    session: ReadSession,
    wanted: SearchText,
    columns: Sequence[ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool]],
    page: PageRequest,
) -> tuple[list[dict[str, Any]], int]:
    """Rows of the page, best match first, and the number of matches among the books that meet ``conditions``.

    The same title wins; then whole words count more than beginnings, titles and ISBNs more than authors, and authors
    more than genres. Of more than RANKED matches the others follow by id: an order without meaning that stays the same.
    """
    query = (await session.execute(_QUERY, {"text": wanted.text, "isbn": wanted.isbn})).one()
    if query.matches is None:
        return [], 0
    found = (
        select(BookSearch.book_id, (BookSearch.phrase == query.phrase).label("same"))
        .join(Book, Book.id == BookSearch.book_id)
        .where(BookSearch.terms.op("@@")(_tsquery(query.matches)), *conditions)
        .cte("found")
        .prefix_with("MATERIALIZED")
    )
    first = (found.c.same.desc(), found.c.book_id)
    total = select(func.count()).select_from(found).scalar_subquery().label("total")
    page_ids: list[Any] = []
    matches: int | None = None
    # Two statements instead of a join of all matches with the ranked ones, which is quadratic where the planner takes
    # a frequent beginning for a rare one.
    if page.offset < RANKED:
        some = select(found).order_by(*first).limit(RANKED).subquery()
        rank = func.ts_rank(BookSearch.terms, _tsquery(query.whole)) * 4
        rank += func.ts_rank(BookSearch.terms, _tsquery(query.matches))
        if query.marks is not None:
            rank += func.ts_rank(BookSearch.terms, _tsquery(query.marks))
        ranked = (
            select(some.c.book_id, total)
            .join(BookSearch, BookSearch.book_id == some.c.book_id)
            .order_by(some.c.same.desc(), rank.desc(), BookSearch.phrase, some.c.book_id)
        )
        rows = (await session.execute(ranked.limit(page.size).offset(page.offset))).all()
        page_ids += [row.book_id for row in rows]
        matches = rows[0].total if rows else None
    behind = page.offset + page.size - RANKED
    if behind > 0 and (matches is None or matches > RANKED):
        others = select(found.c.book_id, total).order_by(*first).limit(min(behind, page.size))
        rows = (await session.execute(others.offset(max(page.offset, RANKED)))).all()
        page_ids += [row.book_id for row in rows]
        matches = rows[0].total if rows else matches
    if matches is None:
        matches = 0 if page.page == 1 else (await session.execute(select(total))).scalar_one()
    # The other columns of the page only: sorting carries no descriptions.
    shown = await session.execute(
        select(*columns).where(Book.id == func.any(bindparam("page_ids", page_ids, type_=ARRAY(Uuid))))
    )
    books = {row.id: row._asdict() for row in shown}
    return [books[book_id] for book_id in page_ids if book_id in books], matches


def _tsquery(value: str) -> ColumnElement[Any]:
    return cast(literal(value), TSQUERY)


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

    async def search(self, query: SearchText, page: PageRequest) -> tuple[list[dict[str, Any]], int]:
        """As :meth:`find`, best match first."""
        return await search_page(self._session, query, BOOK_COLUMNS, [Book.active.is_(True)], page)

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
            .order_by(Book.genre.collate(TITLE_ORDER))
        )
        return [row._asdict() for row in result]

    async def _page(
        self, conditions: Sequence[ColumnElement[bool]], order: Sequence[ColumnElement[Any]], page: PageRequest
    ) -> tuple[list[dict[str, Any]], int]:
        return await read_page(
            self._session, select(*BOOK_COLUMNS).where(Book.active, *conditions), order, page, reach=CATALOGUE_REACH
        )


def _order(sort: SortKey) -> Sequence[ColumnElement[Any]]:
    """Missing values last either way; the id decides between equals, so that pages never overlap."""
    name = sort.removeprefix("-")
    column = _SORT_COLUMNS[name]
    ordered = column.desc() if sort.startswith("-") else column.asc()
    # Only where they can be: an index backwards has them first.
    return ordered.nulls_last() if name == "published_year" else ordered, _BOOKS.id
