"""All SQL of the administrators' catalogue: here inactive books exist, too."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Uuid, bindparam, func, select

from bookstore_common.db import ReadSession, Session
from bookstore_common.pagination import CATALOGUE_REACH, PageRequest, read_page
from ecom.books.models import TITLE_ORDER, Book
from ecom.books.repository import BOOK_COLUMNS, search_page
from ecom.books.searching import SearchText

_COLUMNS: tuple[ColumnElement[Any], ...] = (*BOOK_COLUMNS, Book.__table__.c.active, Book.__table__.c.version)
_BY_TITLE = (Book.title.collate(TITLE_ORDER), Book.__table__.c.id)


@dataclass(frozen=True, slots=True)
class BookSelection:
    """Which books; None selects all."""

    query: SearchText | None = None
    active: bool | None = None
    ids: Sequence[uuid.UUID] | None = None


class AdminBookReadRepository:
    """Books as rows."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def find(self, wanted: BookSelection, page: PageRequest) -> tuple[list[dict[str, Any]], int]:
        """Rows of the page and the number of all matches; best match first, else by title."""
        conditions: list[ColumnElement[bool]] = []
        if wanted.active is not None:
            conditions.append(Book.active.is_(wanted.active))
        if wanted.ids is not None:
            # One array instead of a list of parameters: one statement to prepare, however many ids.
            conditions.append(Book.id == func.any(bindparam("ids", wanted.ids, type_=ARRAY(Uuid))))
        if wanted.query is not None:
            return await search_page(self._session, wanted.query, _COLUMNS, conditions, page)
        return await read_page(
            self._session,
            select(*_COLUMNS).where(*conditions),
            _BY_TITLE,
            page,
            key=Book.__table__.c.id,
            reach=CATALOGUE_REACH,
        )

    async def get(self, book_id: uuid.UUID) -> dict[str, Any] | None:
        result = await self._session.execute(select(*_COLUMNS).where(Book.id == book_id))
        row = result.one_or_none()
        return None if row is None else row._asdict()


class AdminBookRepository:
    """Books as objects, to be changed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, book_id: uuid.UUID) -> Book | None:
        """The book, locked against changes."""
        return await self._session.scalar(select(Book).where(Book.id == book_id).with_for_update())

    def add(self, book: Book) -> None:
        self._session.add(book)

    async def save(self, book: Book) -> None:
        """Send the changes now and fetch what the trigger made of version and time.

        Raises sqlalchemy.exc.IntegrityError if a constraint refuses them.
        """
        await self._session.flush()
        await self._session.refresh(book)
