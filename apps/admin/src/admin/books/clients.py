"""The E-Commerce API as the catalogue's endpoints call it: E-17 to E-20 (SPEC 5.3)."""

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from admin.books.schemas import Book
from admin.peers import Answer, Caller, Peer, RefusedError, side_by_side
from bookstore_common.pagination import Page, PageRequest

_PATH = "/internal/admin/books"
# E-17 has no way to ask for several ids; more than this at once would crowd out other requests.
_LOOKUPS_AT_ONCE = 8


class BookClient:
    """Books on behalf of one administrator. Errors: those of :class:`admin.peers.Peer`."""

    def __init__(self, ecom: Peer, caller: Caller) -> None:
        self._ecom = ecom
        self._caller = caller

    async def find(self, page: PageRequest, *, q: str | None = None, active: bool | None = None) -> Page[Book]:
        """A page by title, or with ``q`` by relevance; ``active`` None finds books on sale and others."""
        params = {
            "page": page.page,
            "size": page.size,
            "q": q,
            "active": None if active is None else str(active).lower(),
        }
        return (await self._ecom.get(self._caller, _PATH, Page[Book], params)).body

    async def get(self, book_id: uuid.UUID) -> Answer[Book]:
        return await self._ecom.get(self._caller, f"{_PATH}/{book_id}", Book)

    async def get_many(self, book_ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, Book]:
        """Those of ``book_ids`` that exist."""
        lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)

        async def look_up(book_id: uuid.UUID) -> Book | None:
            async with lookups:
                try:
                    return (await self.get(book_id)).body
                except RefusedError as refusal:
                    if refusal.peer_status == HTTPStatus.NOT_FOUND:
                        return None
                    raise

        async with side_by_side() as group:
            tasks = [group.create_task(look_up(book_id)) for book_id in book_ids]
        books = [task.result() for task in tasks]
        return {book.id: book for book in books if book is not None}

    async def create(self, fields: Mapping[str, Any]) -> Answer[Book]:
        # Not repeatable: a book without an ISBN would be there twice.
        return await self._ecom.change(
            self._caller, "POST", _PATH, Book, fields, repeatable=False, expected=HTTPStatus.CREATED
        )

    async def edit(self, book_id: uuid.UUID, fields: Mapping[str, Any], if_match: str | None) -> Answer[Book]:
        # Not repeatable: the first try may have raised the version, and the second would call itself stale.
        headers = {} if if_match is None else {"if-match": if_match}
        return await self._ecom.change(
            self._caller, "PUT", f"{_PATH}/{book_id}", Book, fields, repeatable=False, headers=headers
        )

    async def withdraw(self, book_id: uuid.UUID) -> None:
        await self._ecom.delete(self._caller, f"{_PATH}/{book_id}")
