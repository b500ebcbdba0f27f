"""Every call that one service makes to another's internal API, made by the calling service's own code."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from admin.books.clients import BookClient
from admin.books.schemas import BookEdit, NewBook
from admin.orders.clients import OrderClient
from admin.orders.schemas import NewStatus, OrderFilter, Status
from admin.peers import Caller, Peer
from admin.stock.clients import NO_STOCK_YET, StockClient
from admin.stock.schemas import StockAdjustment, StockSetting
from admin.summary.clients import CatalogueCounts, StockCounts
from bookstore_common.metrics import Metrics
from bookstore_common.outbound import OutboundClient
from bookstore_common.pagination import PageRequest
from bookstore_common.service_token import ServiceToken
from ecom.reservations.clients import Reservations

BOOK = uuid.UUID("00000000-0000-0000-0000-000000000011")
ORDER = uuid.UUID("0c7e5a53-6d0b-5f0e-9a3e-0f2e1f1b7a10")
_PAGE = PageRequest(2, 100)
_SECONDS = 20.0
_EVERYTHING = OrderFilter(
    Status.SHIPPED, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, 12, 30, 0, 5, tzinfo=UTC), str(BOOK)
)
_NEW = NewBook.model_validate(NewBook.model_config["json_schema_extra"]["example"])  # type: ignore[index]
_EDIT = BookEdit.model_validate(BookEdit.model_config["json_schema_extra"]["example"])  # type: ignore[index]
_MINIMUM = BookEdit.model_validate({"title": "Dune", "author": "Frank Herbert", "price": "10.99"})
_Call = Callable[[OutboundClient], Awaitable[Any]]


class _Token:
    """Stands for ecom-service's sign-in, which is not what is tested."""

    async def get(self) -> str:
        return "a-token"

    def forget(self) -> None:
        raise AssertionError("the peer accepted the token")


@dataclass(frozen=True)
class Call:
    """``operation``: its id in the document of ``peer``, the service that is called."""

    peer: str
    operation: str
    make: _Call

    def run(self, url: str) -> Any:
        """Make the call to the peer at ``url``; returns what the caller understood."""

        async def once() -> Any:
            client = OutboundClient(self.peer, url, Metrics())
            try:
                return await self.make(client)
            finally:
                await client.close()

        return asyncio.run(once())


def _caller() -> Caller:
    return Caller("a-token", asyncio.get_running_loop().time() + _SECONDS)


def books(client: OutboundClient) -> BookClient:
    return BookClient(Peer("E-Commerce API", client), _caller())


def orders(client: OutboundClient) -> OrderClient:
    return OrderClient(Peer("E-Commerce API", client), _caller())


def stock(client: OutboundClient) -> StockClient:
    return StockClient(Peer("Inventory API", client), _caller())


def catalogue_counts(client: OutboundClient) -> CatalogueCounts:
    return CatalogueCounts(Peer("E-Commerce API", client), _caller())


def stock_counts(client: OutboundClient) -> StockCounts:
    return StockCounts(Peer("Inventory API", client), _caller())


def reservations(client: OutboundClient) -> Reservations:
    return Reservations(client, cast(ServiceToken, _Token()), _SECONDS)


def _new_fields() -> dict[str, Any]:
    return _NEW.model_dump(mode="json", exclude={"initial_quantity"}, exclude_unset=True)


def _setting(**values: int) -> dict[str, Any]:
    return StockSetting.model_validate(values).model_dump(mode="json", exclude_unset=True)


def _adjustment(delta: int) -> dict[str, Any]:
    return StockAdjustment(delta=delta, reason="damaged in transport").model_dump(mode="json")


CALLS = {
    "books": Call("ecom", "listBooksForAdmin", lambda client: books(client).find(_PAGE)),
    "books found": Call("ecom", "listBooksForAdmin", lambda client: books(client).find(_PAGE, q="dune", active=False)),
    "books by id": Call("ecom", "listBooksForAdmin", lambda client: books(client).get_many([BOOK, ORDER])),
    "book": Call("ecom", "getBookForAdmin", lambda client: books(client).get(BOOK)),
    "new book": Call("ecom", "createBook", lambda client: books(client).create(_new_fields())),
    "edit": Call(
        "ecom", "editBook", lambda client: books(client).edit(BOOK, _EDIT.model_dump(mode="json", exclude_unset=True), '"1"')
    ),
    "edit of all to null": Call(
        "ecom", "editBook", lambda client: books(client).edit(BOOK, _MINIMUM.model_dump(mode="json"), '"1"')
    ),
    "withdrawal": Call("ecom", "withdrawBook", lambda client: books(client).withdraw(BOOK)),
    "orders": Call("ecom", "listOrdersForAdmin", lambda client: orders(client).find(_PAGE, OrderFilter(None, None, None, None))),
    "orders found": Call("ecom", "listOrdersForAdmin", lambda client: orders(client).find(_PAGE, _EVERYTHING)),
    "order": Call("ecom", "getOrderForAdmin", lambda client: orders(client).get(ORDER)),
    **{
        f"order to {status}": Call(
            "ecom",
            "setOrderStatus",
            lambda client, status=status: orders(client).set_status(ORDER, NewStatus(status=status)),  # type: ignore[misc]
        )
        for status in Status
    },
    "active books": Call("ecom", "listBooksForAdmin", lambda client: catalogue_counts(client).active_books()),
    "orders by status": Call("ecom", "listOrdersForAdmin", lambda client: catalogue_counts(client).orders_by_status()),
    "low stock": Call("inventory", "listStock", lambda client: stock_counts(client).low_stock()),
    "out of stock": Call("inventory", "listStock", lambda client: stock_counts(client).out_of_stock()),
    "low stock listed": Call("inventory", "listStock", lambda client: stock(client).find(_PAGE, low=True)),
    "stock of books": Call("inventory", "listStock", lambda client: stock(client).of_books([BOOK, ORDER])),
    "stock": Call("inventory", "getStockForAdmin", lambda client: stock(client).get(BOOK)),
    "stock set": Call("inventory", "setStock", lambda client: stock(client).set(BOOK, _setting(quantity=0), '"2"')),
    "stock and threshold set": Call(
        "inventory", "setStock", lambda client: stock(client).set(BOOK, _setting(quantity=9, low_stock_threshold=0), NO_STOCK_YET)
    ),
    "stock adjusted": Call("inventory", "adjustStock", lambda client: stock(client).adjust(BOOK, _adjustment(-2))),
    "movements": Call("inventory", "listStockMovements", lambda client: stock(client).movements(BOOK, _PAGE)),
    "reservation": Call("inventory", "reserve", lambda client: reservations(client).hold(ORDER, {BOOK: 99, ORDER: 1})),
    "release": Call("inventory", "release", lambda client: reservations(client).release(ORDER)),
}
