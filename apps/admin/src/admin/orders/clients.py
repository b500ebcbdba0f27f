"""The E-Commerce API as the orders' endpoints call it: E-21 and E-22 (SPEC 5.3)."""

import uuid

from admin.orders.schemas import NewStatus, OrderDetail, OrderFilter, OrderSummary
from admin.peers import Caller, Peer
from bookstore_common.pagination import Page, PageRequest

_PATH = "/internal/admin/orders"


class OrderClient:
    """Orders on behalf of one administrator. Errors: those of :class:`admin.peers.Peer`."""

    def __init__(self, ecom: Peer, caller: Caller) -> None:
        self._ecom = ecom
        self._caller = caller

    async def find(self, page: PageRequest, wanted: OrderFilter) -> Page[OrderSummary]:
        """A page of everybody's orders, newest first."""
        params = {"page": page.page, "size": page.size, **wanted.params()}
        return (await self._ecom.get(self._caller, _PATH, Page[OrderSummary], params)).body

    async def get(self, order_id: uuid.UUID) -> OrderDetail:
        return (await self._ecom.get(self._caller, f"{_PATH}/{order_id}", OrderDetail)).body

    async def set_status(self, order_id: uuid.UUID, wanted: NewStatus) -> OrderDetail:
        # Not repeatable: after a first try that succeeded, the second is an invalid transition.
        answer = await self._ecom.change(
            self._caller, "PATCH", f"{_PATH}/{order_id}/status", OrderDetail, {"status": wanted.status},
            repeatable=False,
        )  # fmt: skip
        return answer.body
