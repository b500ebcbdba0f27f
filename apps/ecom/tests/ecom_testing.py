"""What several tests share beside the fixtures."""

import re
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import psycopg
import pytest
from fastapi import FastAPI

from bookstore_common.settings import load_settings
from bookstore_common.testing.http_stub import Answer, HttpStub, RecordedRequest
from bookstore_common.testing.processes import ServiceProcess
from bookstore_common.testing.tokens import Issuer
from ecom.app import Service, create_service
from ecom.settings import Settings

SHOP = "https://shop.bookstore.test:30000"
SHIPPING = {
    "name": "Ada Reader",
    "line1": "1 Library Street",
    "line2": None,
    "city": "Springfield",
    "postal_code": "12345",
    "country": "US",
}
Connection = psycopg.Connection[tuple[Any, ...]]


def settings_of(variables: dict[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return load_settings(Settings)


def http(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://ecom.test")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    built = create_service(settings)
    try:
        yield built
    finally:
        await built.close()


def book(number: int) -> str:
    """Id of a seed book."""
    return f"00000000-0000-0000-0000-0000000000{number:02d}"


def metric(service: Service, name: str, **labels: str) -> float:
    """The present value of a sample; 0 if there is none yet."""
    return service.metrics.registry.get_sample_value(name, labels) or 0.0


class Inventory(HttpStub):
    """Inventory's contract (I-04, I-06) over a real socket: all or nothing, repeatable, nothing below zero.

    ``on_hold`` is called after a hold was made or found and before that is answered: a test breaks something there.
    """

    PATH = "/internal/reservations"
    _ORDER = re.compile(rf"{PATH}/([0-9a-f-]+)")

    def __init__(self) -> None:
        super().__init__()
        self.stock: dict[str, int] = {}
        self.held: dict[str, dict[str, int]] = {}
        self.on_hold: Callable[[str], Answer | None] = lambda _order: None
        self._guard = threading.Lock()

    def available(self, book_id: str) -> int:
        """Copies that nobody holds; 50 unless a test says otherwise."""
        return self.stock.get(book_id, 50) - sum(items.get(book_id, 0) for items in self.held.values())

    def take(self, request: RecordedRequest) -> Answer:
        scripted = super().take(request)
        if scripted.status != 404 or not request.path.startswith(self.PATH):
            return scripted
        if request.method == "POST":
            order, answer = self._hold(request.json())
            return (self.on_hold(order) or answer) if answer.status < 300 else answer
        match = self._ORDER.fullmatch(request.path)
        if request.method == "DELETE" and match:
            with self._guard:
                self.held.pop(match[1], None)
            return Answer(204)
        return scripted

    def _hold(self, body: dict[str, Any]) -> tuple[str, Answer]:
        order, items = body["order_id"], {item["book_id"]: item["quantity"] for item in body["items"]}
        with self._guard:
            if order in self.held:
                if self.held[order] == items:
                    return order, Answer(200, {"order_id": order})
                return order, Answer(409, {"code": "reservation_mismatch"})
            short = [
                {"book_id": book_id, "requested": wanted, "available": self.available(book_id)}
                for book_id, wanted in items.items()
                if wanted > self.available(book_id)
            ]
            if short:
                return order, Answer(409, {"code": "insufficient_stock", "books": short})
            self.held[order] = items
        return order, Answer(201, {"order_id": order})


class Caller:
    """A signed-in person: sends the token and, to change something, a CSRF token."""

    def __init__(self, client: httpx2.AsyncClient, issuer: Issuer, *roles: str, **claims: Any) -> None:
        self.client = client
        self.sub = str(claims.pop("sub", uuid.uuid4()))
        self.sid = str(claims.pop("sid", uuid.uuid4()))
        self.headers = issuer.headers(sub=self.sub, sid=self.sid, roles=roles or ("customer",), **claims)
        self._csrf: str | None = None

    async def send(self, method: str, path: str, json: Any = None, **headers: str) -> httpx2.Response:
        """``headers`` with underscores for hyphens; a CSRF token goes along with everything that changes something."""
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if method != "GET" and path.startswith("/ecom") and "x-csrf-token" not in sent:
            if self._csrf is None:
                issued = await self.client.get("/ecom/csrf-token", headers=self.headers)
                self._csrf = issued.json()["token"]
            sent["x-csrf-token"] = self._csrf
        return await self.client.request(method, path, json=json, headers=sent)

    async def get(self, path: str) -> httpx2.Response:
        return await self.send("GET", path)

    async def cart(self) -> dict[str, Any]:
        return _body(await self.get("/ecom/cart"))

    async def add(self, number: int, quantity: int = 1) -> dict[str, Any]:
        """Add copies of a seed book; returns the cart."""
        return _body(await self.send("POST", "/ecom/cart/items", {"book_id": book(number), "quantity": quantity}))

    async def checkout(self, total: str, key: str = "attempt-1", **changes: Any) -> httpx2.Response:
        body = {"shipping": SHIPPING, "expected_total": total, **changes}
        return await self.send("POST", "/ecom/checkout", body, idempotency_key=key)

    async def order(self, number: int = 11, quantity: int = 1, key: str = "attempt-1") -> dict[str, Any]:
        """Put copies of a seed book into the cart and order them; returns the order."""
        cart = await self.add(number, quantity)
        response = await self.checkout(cart["total"], key)
        assert response.status_code == 201, response.text
        return _body(response)


def _body(response: httpx2.Response) -> dict[str, Any]:
    assert response.is_success, response.text
    body: dict[str, Any] = response.json()
    return body


def problem_of(response: httpx2.Response) -> tuple[int, str]:
    """Status and code of a problem; fails if the answer is none."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


class Process(ServiceProcess):
    """One running service; made by the fixture ``spawn``, which leaves none behind."""

    module = "ecom"
