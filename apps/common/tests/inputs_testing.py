"""An application that takes every kind of input."""

import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Form, Query

from bookstore_common.application import create_app
from bookstore_common.inputs import (
    Moment,
    Money,
    Paragraphs,
    Price,
    Quantity,
    QueryText,
    ShortText,
    StockQuantity,
    StrictModel,
    Text,
    WholeNumber,
)
from bookstore_common.metrics import Metrics


class Line(StrictModel):
    """Part of an input."""

    book_id: uuid.UUID
    quantity: Quantity


class Input(StrictModel):
    """All kinds of fields."""

    name: Text = "x"
    city: ShortText = "x"
    story: Paragraphs = "x"
    price: Price = Decimal(1)
    total: Money = Decimal(0)
    quantity: Quantity = 1
    stock: StockQuantity = 0
    delta: WholeNumber = 0
    items: tuple[Line, ...] = ()
    labels: dict[str, str] | None = None


@pytest.fixture
async def client(metrics: Metrics) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app("test", listener="public", metrics=metrics, cors_origins=["https://shop.bookstore.test:30000"])

    @app.post("/things")
    async def post(body: Input) -> Input:
        return body

    @app.post("/form")
    async def form(field: Annotated[str, Form()]) -> str:
        return field

    @app.get("/search")
    async def search(q: Annotated[QueryText, Query()]) -> str:
        return q

    @app.get("/since")
    async def since(at: Annotated[Moment, Query()]) -> str:
        return at.isoformat()

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api.test") as client:
        yield client


async def send(client: httpx2.AsyncClient, content: bytes, kind: str = "application/json") -> httpx2.Response:
    return await client.post("/things", content=content, headers={"content-type": kind})


def refused(response: httpx2.Response, status: int = 422, code: str = "validation_error") -> dict[str, Any]:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    return body
