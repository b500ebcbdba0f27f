"""The Inventory API as the stock's endpoints call it: I-07 to I-10 (SPEC 5.4)."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from admin.peers import Answer, Caller, Peer, RefusedError
from admin.stock.schemas import Movement, Stock
from bookstore_common.pagination import MAX_SIZE, Page, PageRequest

_PATH = "/internal/admin/stock"
# As If-Match: the stock of a book of which none is kept.
NO_STOCK_YET = '"0"'
STALE = "stale_version"


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

    async def get(self, book_id: uuid.UUID) -> Answer[Stock]:
        return await self._inventory.get(self._caller, f"{_PATH}/{book_id}", Stock)

    async def set(self, book_id: uuid.UUID, setting: Mapping[str, Any], if_match: str | None) -> Answer[Stock]:
        # Not repeatable: the first try may have raised the version, and the second would call itself stale.
        headers = {} if if_match is None else {"if-match": if_match}
        return await self._inventory.change(
            self._caller, "PUT", f"{_PATH}/{book_id}", Stock, setting, repeatable=False, headers=headers
        )

    async def set_first(self, book_id: uuid.UUID, quantity: int) -> Stock:
        """The first copies of a book that was made just now.

        Inventory's worker may have made an empty row by then, and a try whose answer was lost one with ``quantity``.
        Any other count is somebody's, and stays: RefusedError.
        """
        path, setting, headers = f"{_PATH}/{book_id}", {"quantity": quantity}, {"if-match": NO_STOCK_YET}
        try:
            # Repeatable: what a first try has left is told apart below.
            first = await self._inventory.change(
                self._caller, "PUT", path, Stock, setting, repeatable=True, headers=headers
            )
        except RefusedError as error:
            if error.peer_code != STALE or error.members.get("quantity") not in {0, quantity}:
                raise
            return (await self.set(book_id, setting, f'"{error.members.get("version")}"')).body
        return first.body

    async def adjust(self, book_id: uuid.UUID, adjustment: Mapping[str, Any]) -> Answer[Stock]:
        # Not repeatable: it would add the copies again.
        return await self._inventory.change(
            self._caller, "POST", f"{_PATH}/{book_id}/adjust", Stock, adjustment, repeatable=False
        )

    async def movements(self, book_id: uuid.UUID, page: PageRequest) -> Page[Movement]:
        params = {"page": page.page, "size": page.size}
        return (await self._inventory.get(self._caller, f"{_PATH}/{book_id}/movements", Page[Movement], params)).body
