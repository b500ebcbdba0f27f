"""What the catalogue does, between HTTP and SQL."""

import uuid

from bookstore_common.jsonbody import dumps
from bookstore_common.pagination import PageRequest
from bookstore_common.problem import NotFoundError
from ecom.books import searching
from ecom.books.cache import BookCache
from ecom.books.repository import BookRepository
from ecom.books.schemas import BookFilter


class BookService:
    """Answers as JSON bodies; lists come from the cache while no book changes."""

    def __init__(self, books: BookRepository, cache: BookCache) -> None:
        self._books = books
        self._cache = cache

    async def find(self, wanted: BookFilter, page: PageRequest) -> bytes:
        async def read() -> bytes:
            return dumps(page.body(*await self._books.find(wanted, page)))

        return await self._cache.body("list", f"{wanted}{page}", read)

    async def search(self, text: str, page: PageRequest) -> bytes:
        query = searching.parse(text)

        async def read() -> bytes:
            return dumps(page.body(*await self._books.search(query, page)))

        # Case never decides what is found.
        return await self._cache.body("search", f"{text.casefold()}\n{page}", read)

    async def get(self, book_id: uuid.UUID) -> bytes:
        """Never cached: the price must be the one that checkout charges.

        Raises NotFoundError if the book is unknown or no longer on sale.
        """
        book = await self._books.get(book_id)
        if book is None:
            raise NotFoundError(f"No book has the id {book_id}.")
        return dumps(book)

    async def genres(self) -> bytes:
        async def read() -> bytes:
            return dumps(await self._books.genres())

        return await self._cache.body("genres", "", read)
