"""A-03 to A-06: the catalogue with its stock."""

import threading
import time
from typing import Any

import httpx2
import pytest
from admin_testing import (
    BOOK_ID,
    BOOKS,
    FIELDS,
    OTHER_ID,
    STOCK,
    PeerStub,
    book,
    changes_of,
    http,
    page,
    problem,
    script,
    stock,
)
from conftest import with_csrf

from admin.app import Service
from admin.books.schemas import BookPage, BookWithWarnings
from bookstore_common.testing.http_stub import HttpStub, RecordedRequest

pytestmark = pytest.mark.anyio
PENDING = {"quantity": None, "reserved": None, "available": None, "low_stock_threshold": None}
ONE = f"/admin/books/{BOOK_ID}"
NEW = {**FIELDS, "initial_quantity": 4}


async def test_page_is_merged_with_stock(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """In the catalogue's order, whatever the order of the stock; one call for all of it."""
    unseen = "00000000-0000-0000-0000-000000000002"
    ecom.always("GET", BOOKS, body=page(book(), book(OTHER_ID, "Emma", active=False), book(unseen), total=30, size=3))
    inventory.always("GET", STOCK, body=page(stock(OTHER_ID, 0), stock(BOOK_ID, 3)))
    body = (await client.get("/admin/books?size=3")).json()
    BookPage.model_validate(body)
    assert {name: body[name] for name in ("page", "size", "total", "pages", "warnings")} == {
        "page": 1, "size": 3, "total": 30, "pages": 10, "warnings": [],
    }  # fmt: skip
    assert body["items"] == [
        {**book(), "quantity": 5, "reserved": 2, "available": 3, "low_stock_threshold": 5, "stock_status": "low_stock"},
        {
            **book(OTHER_ID, "Emma", active=False),
            "quantity": 2, "reserved": 2, "available": 0, "low_stock_threshold": 5, "stock_status": "out_of_stock",
        },
        {**book(unseen), **PENDING, "stock_status": "pending"},
    ]  # fmt: skip
    [request] = inventory.requests
    assert request.query == {"page": ["1"], "size": ["100"], "q": [f"{BOOK_ID},{OTHER_ID},{unseen}"]}


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("", {"page": ["1"], "size": ["12"]}),
        ("?page=2&size=100", {"page": ["2"], "size": ["100"]}),
        ("?q=the%20ring&active=false", {"page": ["1"], "size": ["12"], "q": ["the ring"], "active": ["false"]}),
        ("?q=%26size%3D1%23&active=1", {"page": ["1"], "size": ["12"], "q": ["&size=1#"], "active": ["true"]}),
    ],
)
async def test_filters_are_passed_on(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, query: str, sent: dict[str, list[str]]
) -> None:
    script(ecom, inventory)
    assert (await client.get(f"/admin/books{query}")).status_code == 200
    assert ecom.requests[0].query == sent


@pytest.mark.parametrize(
    "query", ["size=0", "size=101", "page=0", "page=x", "q=", "q=%00", "q=" + "x" * 101, "active=perhaps"]
)
async def test_wrong_filters(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, query: str) -> None:
    for path in ("books", "stock") if "active" not in query else ("books",):
        response = await client.get(f"/admin/{path}?{query}")
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        assert [error["field"] for error in response.json()["errors"]] == [query.partition("=")[0]]
    assert ecom.requests == inventory.requests == []


async def test_empty_page_asks_for_no_stock(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    ecom.always("GET", BOOKS, body=page(number=9, total=30))
    body = (await client.get("/admin/books?page=9")).json()
    assert (body["items"], body["total"], body["warnings"]) == ([], 30, [])
    assert inventory.requests == []


@pytest.mark.parametrize("path", ["/admin/books", ONE])
@pytest.mark.parametrize(("status", "code"), [(500, "bad_gateway"), (504, "gateway_timeout")])
async def test_books_without_stock(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, path: str, status: int, code: str
) -> None:
    """If Inventory fails, the books are shown all the same."""
    script(ecom, inventory)
    inventory.always("GET", STOCK, status)
    response = await client.get(path)
    assert response.status_code == 200
    body = response.json()
    shown = body["items"][0] if "items" in body else body
    assert {name: shown[name] for name in PENDING} == PENDING
    assert (shown["title"], shown["stock_status"]) == ("Dune", "unknown")
    [note] = body["warnings"]
    assert (note["part"], note["code"]) == ("stock", code)
    assert "Inventory API" in note["detail"]


@pytest.mark.parametrize("path", ["/admin/books", ONE])
async def test_slow_stock_is_not_waited_for(
    hurried: Service, admin: dict[str, str], ecom: HttpStub, inventory: HttpStub, path: str
) -> None:
    script(ecom, inventory)
    inventory.always("GET", STOCK, body=page(stock()), delay=20)
    started = time.monotonic()
    async with http(hurried.public) as client:
        body = (await client.get(path, headers=admin)).json()
    assert time.monotonic() - started < 15
    assert body["warnings"][0]["code"] == "gateway_timeout"


@pytest.mark.parametrize("path", ["/admin/books", ONE])
async def test_rejected_token_is_not_a_missing_part(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, path: str
) -> None:
    script(ecom, inventory)
    inventory.always("GET", STOCK, **problem(401, "unauthenticated"))
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_one_book(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    script(ecom, inventory)
    response = await client.get(ONE)
    BookWithWarnings.model_validate(response.json())
    assert response.headers["etag"] == '"3"'
    assert response.json() == {
        **book(), "quantity": 50, "reserved": 2, "available": 48, "low_stock_threshold": 5,
        "stock_status": "in_stock", "warnings": [],
    }  # fmt: skip
    assert inventory.requests[0].query["q"] == [BOOK_ID]


async def test_one_book_asks_both_at_once(client: httpx2.AsyncClient, ecom: PeerStub, inventory: PeerStub) -> None:
    """Neither call waits for the other: each is answered only when both are under way."""
    script(ecom, inventory)
    both = threading.Barrier(2)

    def choose(_request: RecordedRequest) -> None:
        both.wait(timeout=2)

    ecom.choose = inventory.choose = choose
    response = await client.get(ONE)
    assert (response.status_code, response.json()["stock_status"]) == (200, "in_stock")
    assert (len(ecom.requests), len(inventory.requests)) == (1, 1)


async def test_unknown_book(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    script(ecom, inventory)
    ecom.always("GET", f"{BOOKS}/{BOOK_ID}", **problem(404, "not_found"))
    response = await client.get(ONE)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


async def test_create(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    script(ecom, inventory)
    sent = {**FIELDS, "isbn": "978-0-441-17271-9", "genre": None, "published_year": 1965}
    response = await client.post("/admin/books", json={**sent, "initial_quantity": 4})
    assert response.status_code == 201
    assert response.headers["etag"] == '"1"'
    assert response.headers["location"] == ONE
    assert response.json() == {
        **book(version=1), "quantity": 4, "reserved": 2, "available": 2, "low_stock_threshold": 5,
        "stock_status": "low_stock", "warnings": [],
    }  # fmt: skip
    assert changes_of(ecom, inventory) == [("POST", BOOKS), ("PUT", f"{STOCK}/{BOOK_ID}")]
    assert ecom.requests[0].json() == sent
    [request] = inventory.requests
    assert (request.headers["if-match"], request.json()) == ('"0"', {"quantity": 4})


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ({"status": 500}, "bad_gateway"),
        ({"status": 200, "body": b"garbage"}, "bad_gateway"),
        ({"drop": True}, "bad_gateway"),
        ({"status": 504}, "gateway_timeout"),
        (problem(401, "unauthenticated"), "unauthenticated"),
        (problem(403, "forbidden"), "forbidden"),
        (problem(409, "below_reserved"), "below_reserved"),
    ],
)
async def test_created_without_stock(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, failure: dict[str, Any], code: str
) -> None:
    """The book is there, so no failure may be reported; its stock can be set later with the same request."""
    script(ecom, inventory)
    inventory.always("PUT", f"{STOCK}/{BOOK_ID}", **failure)
    response = await client.post("/admin/books", json=NEW)
    assert response.status_code == 201
    body = response.json()
    assert body["stock_status"] == "pending"
    assert {name: body[name] for name in PENDING} == PENDING
    assert [(note["part"], note["code"]) for note in body["warnings"]] == [("stock", code)]
    assert len(ecom.requests_to("POST", BOOKS)) == 1
    script(ecom, inventory)
    again = await client.put(f"/admin/stock/{BOOK_ID}", json={"quantity": 4}, headers={"if-match": '"0"'})
    assert (again.status_code, again.json()["quantity"]) == (200, 4)


async def test_created_with_inventory_down_or_slow(
    hurried: Service, admin: dict[str, str], ecom: HttpStub, inventory: HttpStub
) -> None:
    script(ecom, inventory)
    inventory.always("PUT", f"{STOCK}/{BOOK_ID}", body=stock(), delay=20)
    async with http(hurried.public) as client:
        client.headers.update(await with_csrf(hurried, admin))
        slow = await client.post("/admin/books", json=NEW)
        inventory.stop()
        down = await client.post("/admin/books", json=NEW)
    for response, code in ((slow, "gateway_timeout"), (down, "bad_gateway")):
        assert (response.status_code, response.json()["stock_status"]) == (201, "pending")
        assert response.json()["warnings"][0]["code"] == code


async def test_lost_answer_sets_the_stock_again(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub
) -> None:
    """The second call may find what the first one made."""
    script(ecom, inventory)
    inventory.answer("PUT", f"{STOCK}/{BOOK_ID}", drop=True)
    inventory.answer("PUT", f"{STOCK}/{BOOK_ID}", **problem(412, "stale_version", version=2, quantity=4, reserved=0))
    response = await client.post("/admin/books", json=NEW)
    assert (response.status_code, response.json()["stock_status"]) == (201, "low_stock")
    assert [request.json() for request in inventory.requests] == [{"quantity": 4}] * 3
    assert [request.headers["if-match"] for request in inventory.requests] == ['"0"', '"0"', '"2"']
    assert len(ecom.requests_to("POST", BOOKS)) == 1


async def test_the_worker_was_faster(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """Inventory learnt of the book by its event and keeps an empty stock: the first copies go there."""
    script(ecom, inventory)
    inventory.answer("PUT", f"{STOCK}/{BOOK_ID}", **problem(412, "stale_version", version=1, quantity=0, reserved=0))
    response = await client.post("/admin/books", json=NEW)
    assert (response.status_code, response.json()["quantity"], response.json()["warnings"]) == (201, 4, [])
    assert [request.headers["if-match"] for request in inventory.requests] == ['"0"', '"1"']


async def test_another_admins_first_count_stays(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub
) -> None:
    script(ecom, inventory)
    inventory.always("PUT", f"{STOCK}/{BOOK_ID}", **problem(412, "stale_version", version=2, quantity=9, reserved=0))
    response = await client.post("/admin/books", json=NEW)
    assert (response.status_code, response.json()["warnings"][0]["code"]) == (201, "stale_version")
    assert len(inventory.requests) == 1


async def test_refused_book_leaves_the_stock_alone(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub
) -> None:
    ecom.always("POST", BOOKS, **problem(409, "isbn_exists"))
    response = await client.post("/admin/books", json=NEW)
    assert (response.status_code, response.json()["code"]) == (409, "isbn_exists")
    assert inventory.requests == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"initial_quantity": -1}, "initial_quantity"),
        ({"initial_quantity": 1.0}, "initial_quantity"),
        ({"initial_quantity": "4"}, "initial_quantity"),
        ({"initial_quantity": True}, "initial_quantity"),
        ({"initial_quantity": 10**30}, "initial_quantity"),
        ({"price": 10.99}, "price"),
        ({"price": "-1.00"}, "price"),
        ({"price": "0"}, "price"),
        ({"price": "1.999"}, "price"),
        ({"price": "NaN"}, "price"),
        ({"price": "1e3"}, "price"),
        ({"title": ""}, "title"),
        ({"title": "   "}, "title"),
        ({"title": "a\x00b"}, "title"),
        ({"title": "x" * 256}, "title"),
        ({"author": None}, "author"),
        ({"published_year": 999}, "published_year"),
        ({"published_year": "1965"}, "published_year"),
        ({"version": 1}, "version"),
        ({"id": BOOK_ID}, "id"),
        ({"active": True}, "active"),
    ],
)
async def test_invalid_fields(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, change: dict[str, Any], field: str
) -> None:
    response = await client.post("/admin/books", json={**NEW, **change})
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert ecom.requests == inventory.requests == []


@pytest.mark.parametrize("value", [b'"\xe9"', b'"3\xa0"', b"\xff" * 10, b'"' + b"3" * 1000 + b'"'])
async def test_versions_that_are_no_ascii(client: httpx2.AsyncClient, ecom: PeerStub, value: bytes) -> None:
    """They cannot be sent on: the administrator is told, and nobody asked."""
    response = await client.put(ONE, json=FIELDS, headers=[(b"if-match", value)])
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == ["if-match"]
    assert ecom.requests == []


async def test_edit(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """If-Match goes there, ETag comes back, as they are."""
    script(ecom, inventory)
    sent = {**FIELDS, "description": "One line.\nAnother.", "active": False}
    response = await client.put(ONE, json=sent, headers={"if-match": '"3"'})
    assert (response.status_code, response.json()) == (200, book(version=4))
    assert response.headers["etag"] == '"4"'
    [request] = ecom.requests
    assert (request.headers["if-match"], request.json()) == ('"3"', sent)
    assert inventory.requests == []


async def test_edit_without_version(client: httpx2.AsyncClient, ecom: HttpStub) -> None:
    """The E-Commerce API has the say: it sees no If-Match either."""
    ecom.always("PUT", f"{BOOKS}/{BOOK_ID}", **problem(428, "precondition_required"))
    response = await client.put(ONE, json=FIELDS)
    assert (response.status_code, response.json()["code"]) == (428, "precondition_required")
    assert "if-match" not in ecom.requests[0].headers


async def test_stale_edit(client: httpx2.AsyncClient, ecom: HttpStub) -> None:
    ecom.always("PUT", f"{BOOKS}/{BOOK_ID}", **problem(412, "stale_version", version=5))
    response = await client.put(ONE, json=FIELDS, headers={"if-match": '"3"'})
    assert (response.status_code, response.json()["code"], response.json()["version"]) == (412, "stale_version", 5)


async def test_withdraw(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    script(ecom, inventory)
    for _ in range(2):
        response = await client.delete(ONE)
        assert (response.status_code, response.content) == (204, b"")
    assert changes_of(ecom, inventory) == [("DELETE", f"{BOOKS}/{BOOK_ID}")] * 2


@pytest.mark.parametrize("path", ["books/x", "books/1", "stock/x/movements", "orders/x", "orders/%00"])
async def test_malformed_ids(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, path: str) -> None:
    response = await client.get(f"/admin/{path}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"] == "path"
    assert ecom.requests == inventory.requests == []
