"""A-11 and A-12."""

import httpx2
import pytest
from admin_testing import ORDER_ID, ORDERS, order, order_summary, page, problem, script

from bookstore_common.testing.http_stub import HttpStub

pytestmark = pytest.mark.anyio
ONE = f"/admin/orders/{ORDER_ID}"
USER = "7d1a2f0e-0f5a-4d55-9b1e-3c1f1f2e9a77"


async def test_list(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    listed = page(order_summary(), order_summary(status="CANCELLED", cancel_reason="out_of_stock"), total=30)
    ecom.always("GET", ORDERS, body=listed)
    response = await client.get("/admin/orders")
    assert (response.status_code, response.json()) == (200, listed)
    assert ecom.requests[0].query == {"page": ["1"], "size": ["12"]}
    assert inventory.requests == []


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("status=SHIPPED", {"status": ["SHIPPED"]}),
        (f"user_id={USER}&page=3&size=50", {"user_id": [USER], "page": ["3"], "size": ["50"]}),
        ("from=2026-01-01T00:00:00Z", {"from": ["2026-01-01T00:00:00+00:00"]}),
        (
            "from=2026-01-01T10:00:00Z&to=2026-02-01T00:00:00%2B02:00",
            {"from": ["2026-01-01T10:00:00+00:00"], "to": ["2026-02-01T00:00:00+02:00"]},
        ),
    ],
)
async def test_filters(
    client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub, query: str, sent: dict[str, list[str]]
) -> None:
    script(ecom, inventory)
    assert (await client.get(f"/admin/orders?{query}")).status_code == 200
    assert ecom.requests[0].query == {"page": ["1"], "size": ["12"], **sent}


@pytest.mark.parametrize(
    "query",
    ["status=LOST", "status=shipped", "from=yesterday", "from=2026-01-01", "to=0.5", "to=x", "user_id=%00", "size=0"],
)
async def test_wrong_filters(client: httpx2.AsyncClient, ecom: HttpStub, query: str) -> None:
    response = await client.get(f"/admin/orders?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert [error["field"] for error in response.json()["errors"]] == [query.partition("=")[0]]
    assert ecom.requests == []


async def test_detail(client: httpx2.AsyncClient, ecom: HttpStub) -> None:
    ecom.always("GET", f"{ORDERS}/{ORDER_ID}", body=order())
    response = await client.get(ONE)
    assert (response.status_code, response.json()) == (200, order())


async def test_unknown(client: httpx2.AsyncClient, ecom: HttpStub) -> None:
    ecom.always("GET", f"{ORDERS}/{ORDER_ID}", **problem(404, "not_found"))
    response = await client.get(ONE)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("status", ["CONFIRMED", "SHIPPED", "DELIVERED", "CANCELLED"])
async def test_move_on(client: httpx2.AsyncClient, ecom: HttpStub, status: str) -> None:
    """Which status may follow which is the E-Commerce API's to say."""
    ecom.always("PATCH", f"{ORDERS}/{ORDER_ID}/status", body=order(status=status))
    response = await client.patch(f"{ONE}/status", json={"status": status})
    assert (response.status_code, response.json()) == (200, order(status=status))
    assert ecom.requests[0].json() == {"status": status}


async def test_invalid_transition(client: httpx2.AsyncClient, ecom: HttpStub) -> None:
    ecom.always("PATCH", f"{ORDERS}/{ORDER_ID}/status", **problem(409, "invalid_transition"))
    response = await client.patch(f"{ONE}/status", json={"status": "DELIVERED"})
    assert (response.status_code, response.json()["code"]) == (409, "invalid_transition")


@pytest.mark.parametrize("body", [{"status": "LOST"}, {"status": None}, {"status": "SHIPPED", "note": "x"}])
async def test_invalid_status(client: httpx2.AsyncClient, ecom: HttpStub, body: dict[str, str]) -> None:
    response = await client.patch(f"{ONE}/status", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "validation_error")
    assert ecom.requests == []
