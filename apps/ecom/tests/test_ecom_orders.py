"""E-14 to E-16, E-21 and E-22: orders for their owners and for administrators."""

import asyncio
import uuid
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from ecom_testing import Caller, Inventory, problem_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookstore_common import events
from bookstore_common.pagination import Page
from ecom.admin_orders.schemas import AdminOrderDetail, AdminOrderSummary
from ecom.orders.schemas import OrderDetail, OrderSummary
from ecom.orders.transitions import Status, following

pytestmark = pytest.mark.anyio
ADMIN = "/internal/admin/orders"


async def cancel(customer: Caller, order: dict[str, Any], reason: str | None = None) -> Any:
    body = None if reason is None else {"reason": reason}
    return await customer.send("POST", f"/ecom/orders/{order['id']}/cancel", body)


async def set_status(admin: Caller, order: dict[str, Any], status: str) -> Any:
    return await admin.send("PATCH", f"{ADMIN}/{order['id']}/status", {"status": status})


def cancelled_events(books: Any) -> list[dict[str, Any]]:
    rows = books.execute("SELECT payload FROM outbox_events WHERE event_type = 'order.cancelled'").fetchall()
    return [payload for (payload,) in rows]


async def test_list(customer: Caller, person: Any) -> None:
    assert (await customer.get("/ecom/orders")).json() == {"items": [], "page": 1, "size": 12, "total": 0, "pages": 0}
    made = [await customer.order(11, quantity, f"key-{quantity}") for quantity in (1, 2, 3)]
    await person().order(1)
    body = (await customer.get("/ecom/orders?size=2")).json()
    Page[OrderSummary].model_validate(body)
    assert (body["total"], body["pages"]) == (3, 2)
    assert [item["id"] for item in body["items"]] == [made[2]["id"], made[1]["id"]]
    assert [item["item_count"] for item in body["items"]] == [3, 2]
    assert "user_id" not in body["items"][0]
    rest = (await customer.get("/ecom/orders?size=2&page=2")).json()
    assert [item["id"] for item in rest["items"]] == [made[0]["id"]]
    past = (await customer.get("/ecom/orders?page=9")).json()
    assert (past["items"], past["total"]) == ([], 3)


async def test_filter_by_status(customer: Caller) -> None:
    first, second = await customer.order(1, 1, "a"), await customer.order(1, 1, "b")
    await cancel(customer, first)
    for status, expected in (("CANCELLED", [first["id"]]), ("CONFIRMED", [second["id"]]), ("SHIPPED", [])):
        body = (await customer.get(f"/ecom/orders?status={status}")).json()
        assert [item["id"] for item in body["items"]] == expected
    for query in ("status=PAID", "status=", "page=0", "size=101", "page=x"):
        assert problem_of(await customer.get(f"/ecom/orders?{query}")) == (422, "validation_error")


async def test_one(customer: Caller, person: Any) -> None:
    order = await customer.order(11, 2)
    response = await customer.get(f"/ecom/orders/{order['id']}")
    OrderDetail.model_validate(response.json())
    assert response.json() == order
    assert response.headers["cache-control"] == "no-store"
    # Somebody else's order and no order look the same.
    theirs = await person().get(f"/ecom/orders/{order['id']}")
    none = await customer.get(f"/ecom/orders/{uuid.uuid4()}")
    assert problem_of(theirs) == problem_of(none) == (404, "not_found")
    assert problem_of(await customer.get("/ecom/orders/1")) == (422, "validation_error")


async def test_cancel(customer: Caller, inventory: Inventory, books: Any) -> None:
    order = await customer.order(11, 2)
    assert inventory.available(order["items"][0]["book_id"]) == 48
    response = await cancel(customer, order, "Ordered by mistake")
    assert response.status_code == 200
    body = response.json()
    OrderDetail.model_validate(body)
    assert (body["status"], body["cancel_reason"]) == ("CANCELLED", "Ordered by mistake")
    assert body["updated_at"] > order["updated_at"]
    assert (await customer.get(f"/ecom/orders/{order['id']}")).json() == body
    (event,) = cancelled_events(books)
    events.validate(event)
    assert (event["order_id"], event["reason"]) == (order["id"], "Ordered by mistake")
    assert event["items"] == [{"book_id": order["items"][0]["book_id"], "quantity": 2}]
    # The hold that no worker has committed yet comes back at once.
    assert inventory.held == {}


async def test_cancel_without_a_reason(customer: Caller, books: Any) -> None:
    order = await customer.order()
    assert (await cancel(customer, order)).json()["cancel_reason"] == "cancelled_by_customer"
    assert cancelled_events(books)[0]["reason"] == "cancelled_by_customer"


@pytest.mark.parametrize("trouble", ["down", "committed", "failing"])
async def test_cancel_does_not_depend_on_inventory(
    customer: Caller, inventory: Inventory, books: Any, trouble: str
) -> None:
    """The event returns the stock in any case."""
    order = await customer.order()
    path = f"{Inventory.PATH}/{order['id']}"
    if trouble == "down":
        inventory.stop()
    else:
        status = 409 if trouble == "committed" else 500
        inventory.answer("DELETE", path, status, {"code": "already_committed"})
    assert (await cancel(customer, order)).json()["status"] == "CANCELLED"
    assert len(cancelled_events(books)) == 1


async def test_foreign_order_is_not_cancelled(customer: Caller, person: Any, inventory: Inventory, books: Any) -> None:
    order = await customer.order()
    assert problem_of(await cancel(person(), order)) == (404, "not_found")
    assert problem_of(await cancel(customer, {"id": uuid.uuid4()})) == (404, "not_found")
    assert (await customer.get(f"/ecom/orders/{order['id']}")).json() == order
    assert cancelled_events(books) == []
    assert list(inventory.held) == [order["id"]]


async def test_only_confirmed_orders_are_cancelled(customer: Caller, admin: Caller, books: Any) -> None:
    order = await customer.order()
    for status in ("SHIPPED", "DELIVERED"):
        assert (await set_status(admin, order, status)).status_code == 200
        assert problem_of(await cancel(customer, order)) == (409, "invalid_transition")
    other = await customer.order(key="other")
    await cancel(customer, other)
    assert problem_of(await cancel(customer, other)) == (409, "invalid_transition")
    assert len(cancelled_events(books)) == 1


@pytest.mark.parametrize(
    "body", [{"reason": ""}, {"reason": "x" * 256}, {"reason": "a\u0000"}, {"reason": 1}, {"why": "x"}, []]
)
async def test_bad_reasons(customer: Caller, body: Any) -> None:
    order = await customer.order()
    response = await customer.send("POST", f"/ecom/orders/{order['id']}/cancel", body)
    assert problem_of(response) == (422, "validation_error")
    assert (await customer.get(f"/ecom/orders/{order['id']}")).json()["status"] == "CONFIRMED"


async def test_cancelled_once(customer: Caller, admin: Caller, books: Any) -> None:
    """Customer and administrator at the same moment: one of all wins, and there is one event if it was a cancel."""
    order = await customer.order()
    answers = await asyncio.gather(
        *(cancel(customer, order) for _ in range(5)),
        *(set_status(admin, order, "CANCELLED") for _ in range(5)),
        *(set_status(admin, order, "SHIPPED") for _ in range(5)),
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 14}
    final = (await customer.get(f"/ecom/orders/{order['id']}")).json()["status"]
    assert len(cancelled_events(books)) == (1 if final == "CANCELLED" else 0)


async def test_admin_list(customer: Caller, person: Any, admin: Caller) -> None:
    other = person()
    mine, theirs = await customer.order(11, 2, "a"), await other.order(1, 1, "b")
    body = (await admin.get(ADMIN)).json()
    Page[AdminOrderSummary].model_validate(body)
    assert [(item["id"], item["user_id"]) for item in body["items"]] == [
        (theirs["id"], other.sub),
        (mine["id"], customer.sub),
    ]
    only = (await admin.get(f"{ADMIN}?user_id={customer.sub}")).json()
    assert [item["id"] for item in only["items"]] == [mine["id"]]
    assert (await admin.get(f"{ADMIN}?status=SHIPPED")).json()["total"] == 0
    detail = (await admin.get(f"{ADMIN}/{theirs['id']}")).json()
    AdminOrderDetail.model_validate(detail)
    assert detail == {**theirs, "user_id": other.sub}
    assert problem_of(await admin.get(f"{ADMIN}/{uuid.uuid4()}")) == (404, "not_found")


async def test_admin_list_by_time(customer: Caller, admin: Caller) -> None:
    first, second = await customer.order(1, 1, "a"), await customer.order(1, 1, "b")

    async def ids(**period: str) -> list[str]:
        response = await admin.client.get(ADMIN, params=period, headers=admin.headers)
        return [item["id"] for item in response.json()["items"]]

    at = second["created_at"]
    assert await ids(**{"from": at}) == [second["id"]]
    assert await ids(to=at) == [first["id"]]
    assert await ids(**{"from": first["created_at"], "to": at}) == [first["id"]]
    tomorrow = (datetime.fromisoformat(at) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(await ids(to=tomorrow)) == 2
    early = "2020-01-01T00:00:00Z"
    times = ("from=x", "from=0.5", "to=2020-01-01", f"from={tomorrow}&to={early}")
    for query in (*times, "user_id=", "user_id=a%00b", f"user_id={'x' * 256}"):
        assert problem_of(await admin.get(f"{ADMIN}?{query}")) == (422, "validation_error"), query


async def test_every_order_is_in_one_day(customer: Caller, admin: Caller, books: Any) -> None:
    """Days are half-open, [begin, begin of the next one): also those of 23 and 25 hours (Berlin, 2026)."""
    moments = (
        "2026-03-28T23:59:59.9995+01:00", "2026-03-29T00:00:00+01:00", "2026-03-29T23:59:59.999999+02:00",
        "2026-03-30T00:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00",
        "2026-10-25T23:59:59.9999+01:00",
    )  # fmt: skip
    days = (
        ("2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00"),
        ("2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("2026-03-30T00:00:00+02:00", "2026-03-31T00:00:00+02:00"),
        ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
    )
    for number, moment in enumerate(moments):
        order = await customer.order(1, 1, f"key-{number}")
        books.execute("UPDATE orders SET created_at = %s WHERE id = %s", [moment, order["id"]])
    found = []
    for begin, end in days:
        response = await admin.client.get(ADMIN, params={"from": begin, "to": end}, headers=admin.headers)
        found.append(response.json()["total"])
    assert found == [1, 2, 1, 3]


async def test_admin_moves_an_order_on(customer: Caller, admin: Caller, inventory: Inventory, books: Any) -> None:
    order = await customer.order()
    shipped = (await set_status(admin, order, "SHIPPED")).json()
    AdminOrderDetail.model_validate(shipped)
    assert (shipped["status"], shipped["user_id"]) == ("SHIPPED", customer.sub)
    assert (await set_status(admin, order, "DELIVERED")).json()["status"] == "DELIVERED"
    assert (await customer.get(f"/ecom/orders/{order['id']}")).json()["status"] == "DELIVERED"
    assert cancelled_events(books) == []
    assert list(inventory.held) == [order["id"]]


async def test_admin_cancels(customer: Caller, admin: Caller, inventory: Inventory, books: Any) -> None:
    order = await customer.order()
    assert (await set_status(admin, order, "CANCELLED")).json()["cancel_reason"] == "cancelled_by_admin"
    (event,) = cancelled_events(books)
    events.validate(event)
    assert inventory.held == {}


@pytest.mark.parametrize(
    "body", [{}, {"status": "PAID"}, {"status": "shipped"}, {"status": None}, {"status": "SHIPPED", "x": 1}]
)
async def test_bad_status(customer: Caller, admin: Caller, body: Any) -> None:
    order = await customer.order()
    response = await admin.send("PATCH", f"{ADMIN}/{order['id']}/status", body)
    assert problem_of(response) == (422, "validation_error")
    assert problem_of(await set_status(admin, {"id": uuid.uuid4()}, "SHIPPED")) == (404, "not_found")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wishes=st.lists(st.sampled_from(Status), min_size=1, max_size=6))
async def test_any_sequence_of_wishes(customer: Caller, admin: Caller, books: Any, wishes: list[Status]) -> None:
    """The API follows the table of transitions, whatever is asked for, and each cancelled order has one event."""
    order = await customer.order(key=str(uuid.uuid4()))
    present = Status.CONFIRMED
    for wish in wishes:
        response = await set_status(admin, order, wish.value)
        if wish in following(present):
            present = wish
            assert response.status_code == 200
        else:
            assert problem_of(response) == (409, "invalid_transition")
    assert (await customer.get(f"/ecom/orders/{order['id']}")).json()["status"] == present
    emitted = [event for event in cancelled_events(books) if event["order_id"] == order["id"]]
    assert len(emitted) == (present is Status.CANCELLED)
