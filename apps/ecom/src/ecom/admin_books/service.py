"""What administrators do with books, between HTTP and SQL."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import exc

from bookstore_common.events import book_created
from bookstore_common.outbox import OutboxRepository
from bookstore_common.pagination import PageRequest
from bookstore_common.preconditions import StaleVersionError
from bookstore_common.problem import NotFoundError, ProblemError
from ecom.admin_books.repository import AdminBookReadRepository, AdminBookRepository, BookSelection
from ecom.admin_books.schemas import BookEdit, BookFields
from ecom.books import searching
from ecom.books.models import Book
from ecom.books.schemas import CURRENCY


class IsbnExistsError(ProblemError):
    status = 409
    code = "isbn_exists"


def book_body(book: Book) -> dict[str, Any]:
    """The book as administrators see it."""
    return {
        "id": book.id,
        "title": book.title,
        "author": book.author,
        "isbn": book.isbn,
        "genre": book.genre,
        "description": book.description,
        "cover_url": book.cover_url,
        "price": str(book.price),
        "currency": CURRENCY,
        "published_year": book.published_year,
        "created_at": book.created_at,
        "updated_at": book.updated_at,
        "active": book.active,
        "version": book.version,
    }


class AdminBookReads:
    """Looks books up, on sale or not."""

    def __init__(self, books: AdminBookReadRepository) -> None:
        self._books = books

    async def find(
        self, text: str | None, active: bool | None, ids: Sequence[uuid.UUID] | None, page: PageRequest
    ) -> dict[str, Any]:
        query = None if text is None else searching.parse(text)
        return page.body(*await self._books.find(BookSelection(query, active, ids), page))

    async def get(self, book_id: uuid.UUID) -> dict[str, Any]:
        """Raises NotFoundError."""
        book = await self._books.get(book_id)
        if book is None:
            raise _unknown(book_id)
        return book


class AdminBooks:
    """Changes the catalogue."""

    def __init__(self, books: AdminBookRepository, outbox: OutboxRepository) -> None:
        self._books = books
        self._outbox = outbox

    async def create(self, fields: BookFields) -> dict[str, Any]:
        """Raises IsbnExistsError. Inventory learns of the book by ``book.created``."""
        book = Book(**fields.model_dump())
        self._books.add(book)
        await self._save(book)
        await self._outbox.add(book_created(book_id=book.id, title=book.title))
        return book_body(book)

    async def edit(self, book_id: uuid.UUID, version: int, edit: BookEdit) -> dict[str, Any]:
        """Raises NotFoundError, StaleVersionError unless the book still has ``version``, and IsbnExistsError."""
        book = await self._books.get(book_id)
        if book is None:
            raise _unknown(book_id)
        if book.version != version:
            raise StaleVersionError(
                f"The book was changed meanwhile: it has version {book.version}, not {version}.", version=book.version
            )
        fields = edit.model_dump()
        if edit.active is None:
            del fields["active"]
        for name, value in fields.items():
            setattr(book, name, value)
        await self._save(book)
        return book_body(book)

    async def withdraw(self, book_id: uuid.UUID) -> None:
        """Take a book off the shelf; it stays in orders. Raises NotFoundError if there never was such a book."""
        book = await self._books.get(book_id)
        if book is None:
            raise _unknown(book_id)
        book.active = False
        await self._save(book)

    async def _save(self, book: Book) -> None:
        try:
            await self._books.save(book)
        except exc.IntegrityError as error:
            if "books_isbn_key" in str(error.orig):
                raise IsbnExistsError("Another book has this ISBN.") from None
            raise


def _unknown(book_id: uuid.UUID) -> NotFoundError:
    return NotFoundError(f"No book has the id {book_id}.")
