"""Counting with the lists of the E-Commerce and Inventory APIs: a page's total costs no more than a count."""

from typing import Any

from pydantic import BaseModel, Field

from admin.orders.schemas import Status
from admin.peers import Caller, Peer, side_by_side

_ONE = {"page": 1, "size": 1}


class _Total(BaseModel):
    total: int = Field(ge=0)


class CatalogueCounts:
    """Numbers that the E-Commerce API knows. Errors: those of :class:`admin.peers.Peer`."""

    def __init__(self, ecom: Peer, caller: Caller) -> None:
        self._ecom = ecom
        self._caller = caller

    async def active_books(self) -> int:
        return await self._total("/internal/admin/books", {"active": "true"})

    async def orders_by_status(self) -> dict[str, int]:
        async with side_by_side() as group:
            tasks = {
                status.value: group.create_task(self._total("/internal/admin/orders", {"status": status.value}))
                for status in Status
            }
        return {status: task.result() for status, task in tasks.items()}

    async def _total(self, path: str, params: dict[str, Any]) -> int:
        return (await self._ecom.get(self._caller, path, _Total, {**_ONE, **params})).body.total


class StockCounts:
    """Numbers that the Inventory API knows. Errors: those of :class:`admin.peers.Peer`."""

    def __init__(self, inventory: Peer, caller: Caller) -> None:
        self._inventory = inventory
        self._caller = caller

    async def low_stock(self) -> int:
        return await self._total({"low": "true"})

    async def out_of_stock(self) -> int:
        return await self._total({"out_of_stock": "true"})

    async def _total(self, params: dict[str, Any]) -> int:
        return (await self._inventory.get(self._caller, "/internal/admin/stock", _Total, {**_ONE, **params})).body.total
