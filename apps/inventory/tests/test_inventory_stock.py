"""I-01 to I-03 of the public API."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from inventory_testing import book, http, running, settings_of
from pydantic import TypeAdapter

from bookstore_common.testing.postgres import free_port
from inventory.stock.endpoints import STOCK_CACHE
from inventory.stock.schemas import MAX_BULK_IDS, Stock

pytestmark = pytest.mark.anyio
SHOP = "https://shop.bookstore.test:30000"
UNKNOWN = "ffffffff-ffff-4fff-bfff-ffffffffffff"
PATHS = (f"/inven/stock/{book(29)}", f"/inven/stock/bulk?book_ids={book(29)},{book(30)}")


async def test_health(client: httpx2.AsyncClient) -> None:
    response = await client.get("/inven/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("number", "quantity", "status"), [(1, 50, "in_stock"), (29, 3, "low_stock"), (30, 0, "out_of_stock")]
)
async def test_stock(client: httpx2.AsyncClient, number: int, quantity: int, status: str) -> None:
    response = await client.get(f"/inven/stock/{book(number)}")
    assert response.status_code == 200
    assert response.json() == {
        "book_id": book(number),
        "quantity": quantity,
        "reserved": 0,
        "available": quantity,
        "stock_status": status,
    }


async def test_reserved_copies_are_not_available(public: httpx2.AsyncClient, rows: Any) -> None:
    for reserved, available, status in ((4, 6, "in_stock"), (5, 5, "low_stock"), (9, 1, "low_stock"),
                                        (10, 0, "out_of_stock")):  # fmt: skip
        rows.execute("UPDATE inventory SET quantity = 10, reserved = %s WHERE book_id = %s", [reserved, book(1)])
        body = (await public.get(f"/inven/stock/{book(1)}")).json()
        assert (body["reserved"], body["available"], body["stock_status"]) == (reserved, available, status)
        assert (await public.get(f"/inven/stock/bulk?book_ids={book(1)}")).json() == [body]


async def test_a_book_has_its_own_threshold(public: httpx2.AsyncClient, rows: Any) -> None:
    rows.execute("UPDATE inventory SET low_stock_threshold = 50 WHERE book_id = %s", [book(1)])
    rows.execute("UPDATE inventory SET low_stock_threshold = 2 WHERE book_id = %s", [book(29)])
    rows.execute("UPDATE inventory SET low_stock_threshold = 0 WHERE book_id = %s", [book(30)])
    listed = (await public.get(f"/inven/stock/bulk?book_ids={book(30)},{book(1)},{book(29)}")).json()
    assert [item["stock_status"] for item in listed] == ["low_stock", "in_stock", "out_of_stock"]


async def test_unknown_book(client: httpx2.AsyncClient) -> None:
    response = await client.get(f"/inven/stock/{UNKNOWN}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert UNKNOWN in response.json()["detail"]


@pytest.mark.parametrize("book_id", ["1", "x", "00000000-0000-0000-0000-00000000000", "bulk2", "%00"])
async def test_malformed_id(client: httpx2.AsyncClient, book_id: str) -> None:
    response = await client.get(f"/inven/stock/{book_id}")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["book_id"]


async def test_bulk(client: httpx2.AsyncClient) -> None:
    """By id, each once, unknown ones absent."""
    wanted = [book(30), UNKNOWN, book(2), book(29), book(2), book(2).upper()]
    listed = (await client.get("/inven/stock/bulk", params={"book_ids": ",".join(wanted)})).json()
    assert [item["book_id"] for item in listed] == [book(2), book(29), book(30)]
    TypeAdapter(list[Stock]).validate_python(listed)
    assert [item["quantity"] for item in listed] == [50, 3, 0]


@pytest.mark.parametrize("query", ["", "?book_ids=", "?book_ids=&page=2"])
async def test_empty_bulk(client: httpx2.AsyncClient, query: str) -> None:
    response = await client.get(f"/inven/stock/bulk{query}")
    assert (response.status_code, response.json()) == (200, [])


async def test_bulk_of_unknown_books(client: httpx2.AsyncClient) -> None:
    assert (await client.get(f"/inven/stock/bulk?book_ids={UNKNOWN}")).json() == []


@pytest.mark.parametrize(
    ("book_ids", "fields"),
    [
        ("x", ["book_ids.0"]),
        (f"{book(1)},x,{book(2)},7", ["book_ids.1", "book_ids.3"]),
        (f"{book(1)},", ["book_ids.1"]),
        (",", ["book_ids.0", "book_ids.1"]),
        (f"{book(1)};{book(2)}", ["book_ids.0"]),
        (f"{book(1)}\n", ["book_ids.0"]),
        ("\x00", ["book_ids.0"]),
        ("' OR 1=1 --", ["book_ids.0"]),
    ],
)
async def test_malformed_bulk(client: httpx2.AsyncClient, book_ids: str, fields: list[str]) -> None:
    response = await client.get("/inven/stock/bulk", params={"book_ids": book_ids})
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [(error["field"], error["location"]) for error in response.json()["errors"]] == [
        (field, "query") for field in fields
    ]


async def test_bulk_has_a_limit(client: httpx2.AsyncClient) -> None:
    ids = [str(uuid.UUID(int=number)) for number in range(1, MAX_BULK_IDS + 1)]
    most = await client.get("/inven/stock/bulk", params={"book_ids": ",".join(ids)})
    assert (most.status_code, len(most.json())) == (200, 30)  # 0x01 to 0x64 hold all that read as 01 to 30
    more = await client.get("/inven/stock/bulk", params={"book_ids": ",".join([*ids, UNKNOWN])})
    assert more.status_code == 422
    assert more.json()["errors"] == [
        {"field": "book_ids", "location": "query", "message": "has more than 100 ids; ask several times"}
    ]


@pytest.mark.parametrize("path", PATHS)
async def test_conditional_get(public: httpx2.AsyncClient, rows: Any, path: str) -> None:
    first = await public.get(path, headers={"origin": SHOP})
    assert re.fullmatch(r'"[^"]+"', first.headers["etag"])
    assert first.headers["cache-control"] == STOCK_CACHE
    again = await public.get(path, headers={"if-none-match": first.headers["etag"], "origin": SHOP})
    assert (again.status_code, again.content) == (304, b"")
    rows.execute("UPDATE inventory SET reserved = 1 WHERE book_id = %s", [book(29)])
    changed = await public.get(path, headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200
    assert '"available":2' in changed.text


@pytest.mark.parametrize("path", [*PATHS, "/inven/health"])
async def test_head_and_cors(client: httpx2.AsyncClient, path: str) -> None:
    head = await client.head(path, headers={"origin": SHOP})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["access-control-allow-origin"] == SHOP
    preflight = await client.options(path, headers={"origin": SHOP, "access-control-request-method": "GET"})
    assert preflight.headers["access-control-allow-origin"] == SHOP
    foreign = await client.get(path, headers={"origin": "https://evil.test"})
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [*PATHS, "/inven/health"])
async def test_reading_paths_refuse_writing(client: httpx2.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "path",
    ["/", "/inven", "/inven/stock", "/inven/stock/", f"/inven/stock/{book(1)}/movements", "/internal/reservations",
     "/internal/admin/stock", "/metrics", "/health/ready", "/openapi.json"],
)  # fmt: skip
async def test_nothing_else_is_served_in_public(
    client: httpx2.AsyncClient, headers: Callable[..., dict[str, str]], path: str
) -> None:
    """Not even to those who may use the internal listener."""
    for role in ("service", "admin"):
        response = await client.get(path, headers=headers(role))
        assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", PATHS)
async def test_database_down(environment: Any, seeded: str, path: str) -> None:
    settings = settings_of({**environment(seeded), "DATABASE_PORT": str(free_port())})
    async with running(settings) as service, http(service.public) as client:
        response = await client.get(path, headers={"origin": SHOP})
        assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")
        assert response.headers["retry-after"] == "1"
        assert (await client.get("/inven/health")).status_code == 200
        assert (await client.get("/inven/stock/bulk?book_ids=x")).status_code == 422
        # No id, nothing to ask.
        assert (await client.get("/inven/stock/bulk?book_ids=")).json() == []
