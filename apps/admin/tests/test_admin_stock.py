"""A-07 to A-10."""

from typing import Any

import httpx2
import pytest
from admin_testing import BOOK_ID, BOOKS, OTHER_ID, STOCK, book, movement, page, problem, script, stock

from admin.stock.schemas import StockRow
from bookstore_common.pagination import Page
from bookstore_common.testing.http_stub import HttpStub

pytestmark = pytest.mark.anyio
ONE = f"/admin/stock/{BOOK_ID}"


def row(book_id: str, title: str | None, available: int | None, **changes: Any) -> dict[str, Any]:
    """As A-07 answers; ``available`` None: no stock yet."""
    counts = dict.fromkeys(("quantity", "reserved", "available", "low_stock_threshold")) | {
        "stock_status": "pending", "version": 0,
    }  # fmt: skip
    if available is not None:
        counts = {name: stock(book_id, available)[name] for name in counts}
    return {"book_id": book_id, "title": title, "active": True, **counts, **changes}


def uuid_of(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


async def test_list(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """Every book, by title, also one that has no stock yet: it is there that its stock can be set."""
    books = [book(OTHER_ID, "Emma"), book(BOOK_ID, "Dune", active=False), book(uuid_of(7), "Momo")]
    ecom.always("GET", BOOKS, body=page(*books, total=30, number=2, size=3))
    inventory.always("GET", STOCK, body=page(stock(BOOK_ID, 0), stock(OTHER_ID, 9)))
    body = (await client.get("/admin/stock?page=2&size=3")).json()
    Page[StockRow].model_validate(body)
    assert body == {
        "items": [row(OTHER_ID, "Emma", 9), row(BOOK_ID, "Dune", 0, active=False), row(uuid_of(7), "Momo", None)],
        "page": 2, "size": 3, "total": 30, "pages": 10,
    }  # fmt: skip
    assert ecom.requests[0].query == {"page": ["2"], "size": ["3"]}
    assert len(inventory.requests) == 1


async def test_search(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    script(ecom, inventory)
    body = (await client.get("/admin/stock?q=dune")).json()
    assert [item["title"] for item in body["items"]] == ["Dune"]
    assert ecom.requests[0].query["q"] == ["dune"]


async def test_low(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """Inventory's order, least first; titles of just these books; stock of an unknown book is shown, too."""
    gone = uuid_of(99)
    inventory.always(
        "GET", STOCK, body=page(stock(OTHER_ID, 0), stock(gone, 1), stock(BOOK_ID, 5), total=7, number=2, size=3)
    )
    ecom.always("GET", BOOKS, body=page(book(active=False), book(OTHER_ID, "Emma"), size=100))
    body = (await client.get("/admin/stock?low=true&page=2&size=3")).json()
    assert body == {
        "items": [
            row(OTHER_ID, "Emma", 0),
            row(gone, None, 1, active=None),
            row(BOOK_ID, "Dune", 5, active=False),
        ],
        "page": 2, "size": 3, "total": 7, "pages": 3,
    }  # fmt: skip
    assert inventory.requests[0].query == {"page": ["2"], "size": ["3"], "low": ["true"]}
    [request] = ecom.requests
    assert request.query == {"page": ["1"], "size": ["100"], "ids": [f"{OTHER_ID},{gone},{BOOK_ID}"]}


async def test_low_full_page(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """All titles in one call, however many."""
    ids = [uuid_of(number) for number in range(1, 101)]
    inventory.always("GET", STOCK, body=page(*(stock(book_id, 1) for book_id in ids), size=100))
    ecom.always("GET", BOOKS, body=page(*(book(book_id, f"Title {book_id}") for book_id in ids), size=100))
    body = (await client.get("/admin/stock?low=true&size=100")).json()
    assert [item["title"] for item in body["items"]] == [f"Title {book_id}" for book_id in ids]
    assert len(ecom.requests) == 1


async def test_nothing_is_low(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    inventory.always("GET", STOCK, body=page())
    assert (await client.get("/admin/stock?low=true")).json()["items"] == []
    assert ecom.requests == []


async def test_low_and_search(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """All matches of the catalogue, from several pages, and the low ones among them."""
    ids = [uuid_of(number) for number in range(1, 251)]
    for number in (1, 2, 3):
        part = [book(book_id, f"T{book_id}") for book_id in ids[100 * (number - 1) : 100 * number]]
        ecom.answer("GET", BOOKS, body=page(*part, total=250, number=number, size=100))
    inventory.always("GET", STOCK, body=page(stock(ids[240], 1), stock(ids[3], 4)))
    body = (await client.get("/admin/stock?low=true&q=t&size=5")).json()
    assert [item["book_id"] for item in body["items"]] == [ids[240], ids[3]]
    assert sorted(request.query["page"][0] for request in ecom.requests) == ["1", "2", "3"]
    [request] = inventory.requests
    assert request.query["low"] == ["true"]
    assert (request.query["page"], request.query["size"]) == (["1"], ["5"])
    assert sorted(request.query["q"][0].split(",")) == ids


async def test_low_and_search_without_matches(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """No id is not the same as no filter."""
    ecom.always("GET", BOOKS, body=page())
    inventory.always("GET", STOCK, body=page())
    assert (await client.get("/admin/stock?low=true&q=nothing")).json()["items"] == []
    assert inventory.requests[0].query["q"] == [""]


async def test_low_and_search_with_too_many_matches(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub
) -> None:
    ecom.always("GET", BOOKS, body=page(book(), total=501, size=100))
    response = await client.get("/admin/stock?low=true&q=the")
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    [error] = response.json()["errors"]
    assert (error["field"], error["location"]) == ("q", "query")
    assert "501" in error["message"]
    assert inventory.requests == []


@pytest.mark.parametrize("setting", [{"quantity": 40}, {"quantity": 0, "low_stock_threshold": 0}])
async def test_set(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, setting: dict[str, int]) -> None:
    """What was not given is not sent: the threshold stays. If-Match goes there, ETag comes back, as they are."""
    script(ecom, inventory)
    response = await client.put(ONE, json=setting, headers={"if-match": '"7"'})
    assert (response.status_code, response.json()) == (200, stock(available=2, version=8))
    assert response.headers["etag"] == '"8"'
    [request] = inventory.requests
    assert (request.headers["if-match"], request.json()) == ('"7"', setting)
    assert ecom.requests == []


async def test_one(client: httpx2.AsyncClient, inventory: HttpStub) -> None:
    inventory.always("GET", f"{STOCK}/{BOOK_ID}", body=stock(), headers={"etag": '"7"'})
    response = await client.get(ONE)
    assert (response.status_code, response.json(), response.headers["etag"]) == (200, stock(), '"7"')


async def test_set_without_version(client: httpx2.AsyncClient, inventory: HttpStub) -> None:
    """The Inventory API has the say: it sees no If-Match either."""
    inventory.always("PUT", f"{STOCK}/{BOOK_ID}", **problem(428, "precondition_required"))
    response = await client.put(ONE, json={"quantity": 10})
    assert (response.status_code, response.json()["code"]) == (428, "precondition_required")
    assert "if-match" not in inventory.requests[0].headers


@pytest.mark.parametrize("value", [b'"\xe9"', b'"7\x00"', b'"7\t"'])
async def test_a_version_that_no_header_may_carry_on(
    client: httpx2.AsyncClient, inventory: HttpStub, value: bytes
) -> None:
    response = await client.put(ONE, json={"quantity": 10}, headers=[(b"if-match", value)])
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [(error["field"].lower(), error["location"]) for error in response.json()["errors"]] == [
        ("if-match", "header")
    ]
    assert inventory.requests == []


async def test_stale_set(client: httpx2.AsyncClient, inventory: HttpStub) -> None:
    """What is there now is told, and nothing is tried again."""
    now = {"version": 9, "quantity": 7, "reserved": 0}
    inventory.always("PUT", f"{STOCK}/{BOOK_ID}", **problem(412, "stale_version", **now))
    response = await client.put(ONE, json={"quantity": 10}, headers={"if-match": '"7"'})
    assert (response.status_code, response.json()["code"]) == (412, "stale_version")
    assert {name: response.json()[name] for name in now} == now
    assert len(inventory.requests) == 1


async def test_adjust(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    script(ecom, inventory)
    response = await client.post(f"{ONE}/adjust", json={"delta": -2, "reason": " damaged "})
    assert (response.status_code, response.json()) == (200, stock(available=46, version=8))
    assert response.headers["etag"] == '"8"'
    assert inventory.requests[0].json() == {"delta": -2, "reason": "damaged"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("", {"quantity": -1}, "quantity"),
        ("", {"quantity": 1_000_001}, "quantity"),
        ("", {"quantity": "1"}, "quantity"),
        ("", {"quantity": 1, "low_stock_threshold": -1}, "low_stock_threshold"),
        ("/adjust", {"delta": 0, "reason": "x"}, "delta"),
        ("/adjust", {"delta": 2**31, "reason": "x"}, "delta"),
        ("/adjust", {"delta": 1.5, "reason": "x"}, "delta"),
        ("/adjust", {"delta": 1, "reason": " "}, "reason"),
        ("/adjust", {"delta": 1, "reason": "a\u0007"}, "reason"),
        ("/adjust", {"delta": 1, "reason": "x" * 256}, "reason"),
        ("/adjust", {"delta": 1}, "reason"),
    ],
)
async def test_invalid_changes(
    client: httpx2.AsyncClient, inventory: HttpStub, path: str, body: dict[str, Any], field: str
) -> None:
    response = await client.request("POST" if path else "PUT", ONE + path, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert inventory.requests == []


async def test_movements(client: httpx2.AsyncClient, inventory: HttpStub) -> None:
    listed = page(movement(9), movement(8), total=12, number=2, size=2)
    inventory.always("GET", f"{STOCK}/{BOOK_ID}/movements", body=listed)
    response = await client.get(f"{ONE}/movements?page=2&size=2")
    assert (response.status_code, response.json()) == (200, listed)
    assert inventory.requests[0].query == {"page": ["2"], "size": ["2"]}
