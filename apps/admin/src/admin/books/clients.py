"""The E-Commerce API as the catalogue's endpoints call it: E-17 to E-20 (SPEC 5.3)."""

import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from admin.books.schemas import Book
from admin.peers import Answer, Caller, Peer
from bookstore_common.pagination import MAX_SIZE, Page, PageRequest

_PATH = "/internal/admin/books"


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

    async def get_many(self, book_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Book]:
        """Those of up to 100 ``book_ids`` that exist, in one call."""
        if not book_ids:
            return {}
        params = {"page": 1, "size": MAX_SIZE, "ids": ",".join(map(str, book_ids))}
        found = (await self._ecom.get(self._caller, _PATH, Page[Book], params)).body
        return {book.id: book for book in found.items}

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
