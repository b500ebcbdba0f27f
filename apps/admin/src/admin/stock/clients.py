"""The Inventory API as the stock's endpoints call it: I-07 to I-10 (SPEC 5.4)."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from admin.peers import Caller, Peer
from admin.stock.schemas import Movement, Stock
from bookstore_common.pagination import MAX_SIZE, Page, PageRequest

_PATH = "/internal/admin/stock"


class StockClient:
    """Stock on behalf of one administrator. Errors: those of :class:`admin.peers.Peer`.

    ``patience_seconds`` bounds each call, for answers that can do without; None leaves the request's own deadline.
    """

    def __init__(self, inventory: Peer, caller: Caller, patience_seconds: float | None = None) -> None:
        self._inventory = inventory
        self._unhurried = caller
        self._patience_seconds = patience_seconds

    @property
    def _caller(self) -> Caller:
        return self._unhurried if self._patience_seconds is None else self._unhurried.hurried(self._patience_seconds)

    async def find(self, page: PageRequest, *, low: bool, book_ids: Iterable[uuid.UUID] | None = None) -> Page[Stock]:
        """A page of all stock, or of ``book_ids``; ``low`` as in I-07: least first."""
        params: dict[str, Any] = {"page": page.page, "size": page.size, "low": "true" if low else None}
        if book_ids is not None:
            params["q"] = ",".join(str(book_id) for book_id in book_ids)
        return (await self._inventory.get(self._caller, _PATH, Page[Stock], params)).body

    async def of_books(self, book_ids: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Stock]:
        """The stock of up to 100 books in one call; books without stock are absent."""
        if not book_ids:
            return {}
        found = await self.find(PageRequest(1, MAX_SIZE), low=False, book_ids=book_ids)
        return {stock.book_id: stock for stock in found.items}

    async def set(self, book_id: uuid.UUID, setting: Mapping[str, Any]) -> Stock:
        answer = await self._inventory.change(
            self._caller, "PUT", f"{_PATH}/{book_id}", Stock, setting, repeatable=True
        )
        return answer.body

    async def adjust(self, book_id: uuid.UUID, adjustment: Mapping[str, Any]) -> Stock:
        # Not repeatable: it would add the copies again.
        answer = await self._inventory.change(
            self._caller, "POST", f"{_PATH}/{book_id}/adjust", Stock, adjustment, repeatable=False
        )
        return answer.body

    async def movements(self, book_id: uuid.UUID, page: PageRequest) -> Page[Movement]:
        params = {"page": page.page, "size": page.size}
        return (await self._inventory.get(self._caller, f"{_PATH}/{book_id}/movements", Page[Movement], params)).body
