"""A-02: numbers, each of which may be missing alone."""

from typing import Any

import httpx2
import pytest
from admin_testing import BOOKS, ORDERS, STOCK, PeerStub, http, page, problem

from admin.app import Service
from admin.summary.schemas import Summary
from bookstore_common.testing.http_stub import Answer, RecordedRequest

pytestmark = pytest.mark.anyio
PATH = "/admin/summary"
ORDER_TOTALS = {"CONFIRMED": 4, "SHIPPED": 2, "DELIVERED": 11, "CANCELLED": 0}
Failures = dict[tuple[str, str | None], Any]
FULL = {"active_books": 29, "orders_by_status": ORDER_TOTALS, "low_stock": 5, "out_of_stock": 2, "warnings": []}


@pytest.fixture
def counting(ecom: PeerStub, inventory: PeerStub) -> Failures:
    """Both peers answer; the failures that a test puts in here replace answers, by path and the query's status."""
    failures: Failures = {}

    def choose(request: RecordedRequest) -> Answer | None:
        status = request.query.get("status", [None])[0]
        failure = failures.get((request.path, status)) or failures.get((request.path, None))
        if failure is not None:
            return Answer(**failure)
        if request.path == ORDERS:
            return Answer(body=page(total=ORDER_TOTALS[str(status)], size=1))
        return Answer(body=page(total=2, size=1)) if "out_of_stock" in request.query else None

    ecom.choose = inventory.choose = choose
    ecom.always("GET", BOOKS, body=page(total=29, size=1))
    inventory.always("GET", STOCK, body=page(total=5, size=1))
    return failures


@pytest.mark.usefixtures("counting")
async def test_all(client: httpx2.AsyncClient, ecom: PeerStub, inventory: PeerStub) -> None:
    response = await client.get(PATH)
    Summary.model_validate(response.json())
    assert (response.status_code, response.json()) == (200, FULL)
    assert {"page": ["1"], "size": ["1"], "active": ["true"]} in [request.query for request in ecom.requests]
    counted = {"page": ["1"], "size": ["1"]}
    # However many there are: a total costs one call.
    assert sorted((request.query for request in inventory.requests), key=str) == [
        {**counted, "low": ["true"]},
        {**counted, "out_of_stock": ["true"]},
    ]


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        (BOOKS, {"active_books"}),
        (ORDERS, {"orders_by_status"}),
        (STOCK, {"low_stock", "out_of_stock"}),
    ],
)
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ({"status": 500}, "bad_gateway"),
        ({"status": 200, "body": b"garbage"}, "bad_gateway"),
        (problem(422, "validation_error"), "validation_error"),
    ],
)
async def test_failed_part_is_null(
    client: httpx2.AsyncClient,
    counting: Failures,
    path: str,
    missing: set[str],
    failure: dict[str, Any],
    code: str,
) -> None:
    counting[path, None] = failure
    response = await client.get(PATH)
    assert response.status_code == 200
    body = response.json()
    assert body == {**FULL, **dict.fromkeys(missing), "warnings": body["warnings"]}
    assert {(note["part"], note["code"]) for note in body["warnings"]} == {(part, code) for part in missing}


async def test_one_status_missing_makes_no_half_table(client: httpx2.AsyncClient, counting: Failures) -> None:
    counting[ORDERS, "DELIVERED"] = {"status": 500}
    body = (await client.get(PATH)).json()
    assert body["orders_by_status"] is None
    assert [note["part"] for note in body["warnings"]] == ["orders_by_status"]


async def test_time_out_of_a_part(client: httpx2.AsyncClient, counting: Failures) -> None:
    counting[BOOKS, None] = {"status": 504}
    body = (await client.get(PATH)).json()
    assert body["active_books"] is None
    assert [(note["part"], note["code"]) for note in body["warnings"]] == [("active_books", "gateway_timeout")]


@pytest.mark.usefixtures("counting")
async def test_one_service_down(client: httpx2.AsyncClient, inventory: PeerStub) -> None:
    inventory.stop()
    body = (await client.get(PATH)).json()
    assert (body["active_books"], body["orders_by_status"]) == (29, ORDER_TOTALS)
    assert (body["low_stock"], body["out_of_stock"]) == (None, None)
    assert {note["code"] for note in body["warnings"]} == {"bad_gateway"}


async def test_everything_down_or_slow(
    hurried: Service, admin: dict[str, str], ecom: PeerStub, inventory: PeerStub
) -> None:
    """Still an answer: an administrator sees what is wrong."""
    ecom.stop()
    inventory.always("GET", STOCK, body=page(), delay=20)
    async with http(hurried.public) as client:
        response = await client.get(PATH, headers=admin)
    assert response.status_code == 200
    body = response.json()
    assert {body[name] for name in FULL if name != "warnings"} == {None}
    assert {note["part"]: note["code"] for note in body["warnings"]} == {
        "active_books": "bad_gateway",
        "orders_by_status": "bad_gateway",
        "low_stock": "gateway_timeout",
        "out_of_stock": "gateway_timeout",
    }


@pytest.mark.parametrize(("status", "code"), [(401, "unauthenticated"), (403, "forbidden")])
async def test_rejected_token_is_not_a_missing_part(
    client: httpx2.AsyncClient, counting: Failures, status: int, code: str
) -> None:
    counting[STOCK, None] = problem(status, code)
    response = await client.get(PATH)
    assert (response.status_code, response.json()["code"]) == (status, code)
