"""What several tests share beside the fixtures: the endpoints, and how the peers usually answer."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from admin.app import Service, create_service
from admin.settings import Settings
from bookstore_common.settings import load_settings
from bookstore_common.testing.http_stub import Answer, HttpStub, RecordedRequest

SHOP = "https://shop.bookstore.test:30000"
BOOK_ID = "00000000-0000-0000-0000-000000000011"
OTHER_ID = "00000000-0000-0000-0000-000000000029"
ORDER_ID = "0c7e5a53-6d0b-5f0e-9a3e-0f2e1f1b7a10"
BOOKS, STOCK, ORDERS = "/internal/admin/books", "/internal/admin/stock", "/internal/admin/orders"
FIELDS = {"title": "Dune", "author": "Frank Herbert", "price": "10.99"}


class PeerStub(HttpStub):
    """A stub whose answer may also depend on the query: ``choose`` goes before what was scripted, unless None."""

    choose: Callable[[RecordedRequest], Answer | None] | None = None

    def take(self, request: RecordedRequest) -> Answer:
        scripted = super().take(request)
        return (self.choose(request) if self.choose is not None else None) or scripted


def settings_of(variables: Mapping[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return load_settings(Settings)


def http(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://admin.test")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    built = create_service(settings)
    try:
        yield built
    finally:
        await built.close()


def book(book_id: str = BOOK_ID, title: str = "Dune", **changes: Any) -> dict[str, Any]:
    """As E-17 answers."""
    return {
        "id": book_id,
        "title": title,
        "author": "Frank Herbert",
        "isbn": "9780441172719",
        "genre": "Science Fiction",
        "description": None,
        "cover_url": None,
        "price": "10.99",
        "currency": "USD",
        "published_year": 1965,
        "created_at": "2025-01-06T09:00:00Z",
        "updated_at": "2025-01-06T09:00:00.120000Z",
        "active": True,
        "version": 3,
        **changes,
    }


def stock(book_id: str = BOOK_ID, available: int = 48, **changes: Any) -> dict[str, Any]:
    """As I-07 answers."""
    return {
        "book_id": book_id,
        "quantity": available + 2,
        "reserved": 2,
        "available": available,
        "stock_status": "in_stock" if available > 5 else "low_stock" if available else "out_of_stock",
        "low_stock_threshold": 5,
        "version": 7,
        "updated_at": "2026-01-06T09:00:00Z",
        **changes,
    }


def order(**changes: Any) -> dict[str, Any]:
    """As E-21 answers about one order."""
    return {
        "id": ORDER_ID,
        "user_id": "7d1a2f0e-0f5a-4d55-9b1e-3c1f1f2e9a77",
        "status": "CONFIRMED",
        "total": "21.98",
        "currency": "USD",
        "cancel_reason": None,
        "created_at": "2026-01-06T09:00:00.120000Z",
        "updated_at": "2026-01-06T09:00:00.120000Z",
        "shipping": {
            "name": "Ada Reader",
            "line1": "1 Library Street",
            "line2": None,
            "city": "Springfield",
            "postal_code": "12345",
            "country": "US",
        },
        "items": [
            {"book_id": BOOK_ID, "title": "Dune", "quantity": 2, "price": "10.99", "line_total": "21.98"},
        ],
        **changes,
    }


def order_summary(**changes: Any) -> dict[str, Any]:
    """As E-21 lists an order."""
    summary = {**order(), "item_count": 2, **changes}
    return {name: value for name, value in summary.items() if name not in {"shipping", "items"}}


def movement(number: int = 31) -> dict[str, Any]:
    """As I-10 lists a change."""
    return {
        "id": number,
        "book_id": BOOK_ID,
        "delta": -2,
        "reserved_delta": 0,
        "reason": "damaged in transport",
        "order_id": None,
        "actor": "00000000-0000-4000-8000-000000000001",
        "created_at": "2026-01-06T09:00:00Z",
    }


def page(*items: Any, total: int | None = None, number: int = 1, size: int = 12) -> dict[str, Any]:
    """A page as every service answers it."""
    count = len(items) if total is None else total
    return {"items": list(items), "page": number, "size": size, "total": count, "pages": -(-count // size)}


def problem(status: int, code: str, **members: Any) -> dict[str, Any]:
    """Arguments of :meth:`HttpStub.answer` for a refusal."""
    body = {
        "type": f"urn:bookstore:problem:{code}",
        "title": "Refused",
        "status": status,
        "detail": f"Refused because of {code}.",
        "code": code,
        "request_id": "of-the-peer",
        "errors": [],
        **members,
    }
    return {"status": status, "body": body, "headers": {"content-type": "application/problem+json"}}


@dataclass(frozen=True)
class Endpoint:
    """A route, a request that it accepts, and the call to a peer on which the answer depends."""

    spec: str
    method: str
    path: str
    peer: str
    peer_method: str
    peer_path: str
    body: Mapping[str, Any] | None = None
    success: int = 200

    def __str__(self) -> str:
        return f"{self.spec}-{self.method}"

    @property
    def changes(self) -> bool:
        return self.method != "GET"

    async def call(self, client: httpx2.AsyncClient, **options: Any) -> httpx2.Response:
        return await client.request(self.method, self.path, json=self.body, **options)


_ONE_BOOK, _ONE_STOCK, _ONE_ORDER = f"{BOOKS}/{BOOK_ID}", f"{STOCK}/{BOOK_ID}", f"{ORDERS}/{ORDER_ID}"
_ADMIN_BOOK, _ADMIN_STOCK, _ADMIN_ORDER = (
    f"/admin/books/{BOOK_ID}", f"/admin/stock/{BOOK_ID}", f"/admin/orders/{ORDER_ID}",
)  # fmt: skip
SUMMARY = Endpoint("A-02", "GET", "/admin/summary", "ecom", "GET", BOOKS)
_ADJUSTMENT = {"delta": -2, "reason": "damaged"}
# All but the summary, which is never an error.
ENDPOINTS = [
    Endpoint("A-03", "GET", "/admin/books", "ecom", "GET", BOOKS),
    Endpoint("A-03-one", "GET", _ADMIN_BOOK, "ecom", "GET", _ONE_BOOK),
    Endpoint("A-04", "POST", "/admin/books", "ecom", "POST", BOOKS, {**FIELDS, "initial_quantity": 4}, 201),
    Endpoint("A-05", "PUT", _ADMIN_BOOK, "ecom", "PUT", _ONE_BOOK, FIELDS),
    Endpoint("A-06", "DELETE", _ADMIN_BOOK, "ecom", "DELETE", _ONE_BOOK, None, 204),
    Endpoint("A-07", "GET", "/admin/stock", "inventory", "GET", STOCK),
    Endpoint("A-07-titles", "GET", "/admin/stock", "ecom", "GET", BOOKS),
    Endpoint("A-07-low", "GET", "/admin/stock?low=true", "inventory", "GET", STOCK),
    Endpoint("A-07-low-titles", "GET", "/admin/stock?low=true", "ecom", "GET", BOOKS),
    Endpoint("A-07-low-search", "GET", "/admin/stock?low=true&q=dune", "ecom", "GET", BOOKS),
    Endpoint("A-07-one", "GET", _ADMIN_STOCK, "inventory", "GET", _ONE_STOCK),
    Endpoint("A-08", "PUT", _ADMIN_STOCK, "inventory", "PUT", _ONE_STOCK, {"quantity": 40}),
    Endpoint("A-09", "POST", f"{_ADMIN_STOCK}/adjust", "inventory", "POST", f"{_ONE_STOCK}/adjust", _ADJUSTMENT),
    Endpoint("A-10", "GET", f"{_ADMIN_STOCK}/movements", "inventory", "GET", f"{_ONE_STOCK}/movements"),
    Endpoint("A-11", "GET", "/admin/orders", "ecom", "GET", ORDERS),
    Endpoint("A-11-one", "GET", _ADMIN_ORDER, "ecom", "GET", _ONE_ORDER),
    Endpoint("A-12", "PATCH", f"{_ADMIN_ORDER}/status", "ecom", "PATCH", f"{_ONE_ORDER}/status", {"status": "SHIPPED"}),
]


def script(ecom: HttpStub, inventory: HttpStub) -> None:
    """Let both peers answer every call of :data:`ENDPOINTS` and of the summary."""
    ecom.always("GET", BOOKS, body=page(book()))
    ecom.always("GET", _ONE_BOOK, body=book(), headers={"etag": '"3"'})
    ecom.always("POST", BOOKS, 201, book(version=1), headers={"etag": '"1"'})
    ecom.always("PUT", _ONE_BOOK, body=book(version=4), headers={"etag": '"4"'})
    ecom.always("DELETE", _ONE_BOOK, 204)
    ecom.always("GET", ORDERS, body=page(order_summary()))
    ecom.always("GET", _ONE_ORDER, body=order())
    ecom.always("PATCH", f"{_ONE_ORDER}/status", body=order(status="SHIPPED"))
    inventory.always("GET", STOCK, body=page(stock()))
    inventory.always("GET", _ONE_STOCK, body=stock(), headers={"etag": '"7"'})
    inventory.always("PUT", _ONE_STOCK, body=stock(available=2, version=8), headers={"etag": '"8"'})
    inventory.always("POST", f"{_ONE_STOCK}/adjust", body=stock(available=46, version=8), headers={"etag": '"8"'})
    inventory.always("GET", f"{_ONE_STOCK}/movements", body=page(movement()))


def changes_of(*stubs: HttpStub) -> list[tuple[str, str]]:
    """Requests that reached the peers and were not mere questions."""
    return [(request.method, request.path) for stub in stubs for request in stub.requests if request.method != "GET"]
