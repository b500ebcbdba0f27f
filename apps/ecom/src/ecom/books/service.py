"""What the catalogue does, between HTTP and SQL."""

import uuid
from typing import Any

from bookstore_common.pagination import PageRequest
from bookstore_common.problem import NotFoundError
from ecom.books import searching
from ecom.books.repository import BookRepository
from ecom.books.schemas import BookFilter


class BookService:
    """Answers as plain dictionaries, ready to be serialised once."""

    def __init__(self, books: BookRepository) -> None:
        self._books = books

    async def find(self, wanted: BookFilter, page: PageRequest) -> dict[str, Any]:
        return page.body(*await self._books.find(wanted, page))

    async def search(self, text: str, page: PageRequest) -> dict[str, Any]:
        query = searching.parse(text)
        if query is None:
            return page.body([], 0)
        return page.body(*await self._books.search(query, page))

    async def get(self, book_id: uuid.UUID) -> dict[str, Any]:
        """Raises NotFoundError if the book is unknown or no longer on sale."""
        book = await self._books.get(book_id)
        if book is None:
            raise NotFoundError(f"No book has the id {book_id}.")
        return book

    async def genres(self) -> list[dict[str, Any]]:
        return await self._books.genres()
