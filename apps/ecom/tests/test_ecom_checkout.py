"""E-13: one checkout at a time; what happens to several is in test_ecom_checkout_races."""

import uuid
from typing import Any

import pytest
from ecom_testing import SHIPPING, Caller, Inventory, book, metric, problem_of

from bookstore_common import events
from bookstore_common.testing.tokens import TOKEN_PATH, Issuer
from ecom.app import Service
from ecom.checkout.service import RESULTS
from ecom.orders.schemas import OrderDetail

pytestmark = pytest.mark.anyio
HOLD = Inventory.PATH


def counts(books: Any) -> tuple[Any, ...]:
    """Orders, items, events, stored answers, cart lines."""
    row: tuple[Any, ...] = books.execute(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items),"
        " (SELECT count(*) FROM outbox_events), (SELECT count(*) FROM idempotency_keys),"
        " (SELECT count(*) FROM cart_items)"
    ).fetchone()
    return row


async def test_order(customer: Caller, service: Service, inventory: Inventory, issuer: Issuer, books: Any) -> None:
    token = issuer.answer_service_tokens()
    await customer.add(11, 2)
    cart = await customer.add(1, 1)
    response = await customer.checkout(cart["total"], "attempt-1")
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    order = response.json()
    OrderDetail.model_validate(order)
    assert order["id"] == str(uuid.uuid5(uuid.UUID(customer.sub), "attempt-1"))
    assert (order["status"], order["total"], order["currency"]) == ("CONFIRMED", "31.97", "USD")
    assert order["shipping"] == SHIPPING
    assert order["items"] == [
        {"book_id": book(1), "title": "Pride and Prejudice", "quantity": 1, "price": "9.99", "line_total": "9.99"},
        {"book_id": book(11), "title": "Dune", "quantity": 2, "price": "10.99", "line_total": "21.98"},
    ]
    assert (await customer.cart())["items"] == []
    assert counts(books) == (1, 2, 1, 1, 0)
    assert (await customer.get(f"/ecom/orders/{order['id']}")).json() == order
    # Inventory was asked once, by the service itself.
    assert inventory.held == {order["id"]: {book(1): 1, book(11): 2}}
    (asked,) = inventory.requests_to("POST", HOLD)
    assert asked.headers["authorization"] == f"Bearer {token}"
    assert asked.headers["x-request-id"] == response.headers["x-request-id"]
    # Its event goes on under the same id.
    assert books.execute("SELECT request_id FROM outbox_events").fetchall() == [(response.headers["x-request-id"],)]
    assert metric(service, "checkout_total", result="created") == 1
    for result in RESULTS:
        shown = service.metrics.registry.get_sample_value("checkout_total", {"result": result})
        assert shown is not None, f"{result}: a series that begins with its first event shows no increase"


async def test_event(customer: Caller, books: Any) -> None:
    order = await customer.order(11, 2)
    row = books.execute(
        "SELECT id::text, aggregate_type, aggregate_id, event_type, payload FROM outbox_events"
    ).fetchone()
    event_id, aggregate_type, aggregate_id, event_type, payload = row
    assert (aggregate_type, aggregate_id, event_type) == ("order", order["id"], "order.created")
    events.validate(payload)
    assert payload.pop("occurred_at")
    assert payload == {
        "event_id": event_id,
        "event_type": "order.created",
        "schema_version": 1,
        "order_id": order["id"],
        "user_id": customer.sub,
        "items": [{"book_id": book(11), "quantity": 2, "price": "10.99"}],
        "total": "21.98",
        "currency": "USD",
    }


async def test_replay(customer: Caller, service: Service, inventory: Inventory, books: Any) -> None:
    """Whatever happened since: the first answer."""
    order = await customer.order(11, 2, "key")
    await customer.add(1, 1)
    books.execute("UPDATE books SET price = 99, active = false WHERE id = %s", [book(11)])
    await customer.send("POST", f"/ecom/orders/{order['id']}/cancel")
    inventory.stop()
    again = await customer.checkout("21.98", "key")
    assert (again.status_code, again.json()) == (200, order)
    assert (await customer.cart())["count"] == 1
    assert counts(books)[0] == 1
    assert metric(service, "checkout_total", result="replayed") == 1


async def test_changed_body_with_the_same_key(customer: Caller, books: Any) -> None:
    await customer.order(11, 2, "key")
    await customer.add(1, 1)
    before = counts(books)
    for changes in ({"shipping": {**SHIPPING, "city": "Elsewhere"}}, {"expected_total": "9.99"}):
        response = await customer.checkout("21.98", "key", **changes)
        assert problem_of(response) == (409, "idempotency_key_reused")
    assert counts(books) == before


async def test_key_of_a_merge(customer: Caller) -> None:
    await customer.send(
        "POST", "/ecom/cart/merge", {"items": [{"book_id": book(1), "quantity": 1}]}, idempotency_key="k"
    )
    assert problem_of(await customer.checkout("9.99", "k")) == (409, "idempotency_key_reused")


async def test_key_after_a_day(customer: Caller, inventory: Inventory, books: Any) -> None:
    """Its record counts no more, but its order is there: nobody can tell whether this is the same request."""
    order = await customer.order(11, 1, "key")
    books.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    await customer.add(1, 1)
    for total in ("9.99", "10.99"):
        assert problem_of(await customer.checkout(total, "key")) == (409, "idempotency_key_reused")
    assert list(inventory.held) == [order["id"]]
    assert (await customer.checkout("9.99", "new-key")).status_code == 201


async def test_two_customers_may_use_the_same_key(person: Any) -> None:
    first, second = person(), person()
    assert (await first.order(1, 1, "key"))["id"] != (await second.order(1, 1, "key"))["id"]


async def test_empty_cart(customer: Caller, service: Service, inventory: Inventory, books: Any) -> None:
    assert problem_of(await customer.checkout("0.00")) == (400, "cart_empty")
    assert counts(books) == (0, 0, 0, 0, 0)
    assert not inventory.requests
    assert metric(service, "checkout_total", result="cart_empty") == 1
    # The key was not used up.
    assert (await customer.order(key="attempt-1"))["status"] == "CONFIRMED"


async def test_out_of_stock(customer: Caller, service: Service, inventory: Inventory, books: Any) -> None:
    inventory.stock = {book(11): 1, book(2): 0}
    await customer.add(1, 1)
    await customer.add(2, 1)
    cart = await customer.add(11, 2)
    before = counts(books)
    response = await customer.checkout(cart["total"], "key")
    assert problem_of(response) == (409, "out_of_stock")
    assert sorted(response.json()["book_ids"]) == [book(2), book(11)]
    assert counts(books) == before
    assert inventory.held == {}
    assert metric(service, "checkout_total", result="out_of_stock") == 1
    inventory.stock = {}
    assert (await customer.checkout(cart["total"], "key")).status_code == 201


async def test_withdrawn_book(customer: Caller, inventory: Inventory, books: Any) -> None:
    await customer.add(1, 1)
    cart = await customer.add(2, 1)
    books.execute("UPDATE books SET active = false WHERE id = %s", [book(2)])
    response = await customer.checkout(cart["total"])
    assert problem_of(response) == (409, "out_of_stock")
    assert response.json()["book_ids"] == [book(2)]
    assert not inventory.requests


async def test_price_changed(customer: Caller, inventory: Inventory, books: Any) -> None:
    cart = await customer.add(11, 2)
    books.execute("UPDATE books SET price = 11 WHERE id = %s", [book(11)])
    before = counts(books)
    response = await customer.checkout(cart["total"], "key")
    assert problem_of(response) == (409, "price_changed")
    assert response.json()["total"] == "22.00"
    assert counts(books) == before
    assert not inventory.requests
    # The customer agrees: same key, new total.
    assert (await customer.checkout("22.00", "key")).json()["total"] == "22.00"


async def test_equal_totals_written_differently(customer: Caller, books: Any) -> None:
    books.execute("UPDATE books SET price = 10 WHERE id = %s", [book(11)])
    await customer.add(11, 1)
    first = await customer.checkout("10", "key")
    assert first.status_code == 201
    assert (await customer.checkout("10.00", "key")).json() == first.json()


async def test_order_keeps_title_and_price(customer: Caller, books: Any) -> None:
    order = await customer.order(11, 1)
    books.execute("UPDATE books SET price = 1, title = 'Sand', active = false WHERE id = %s", [book(11)])
    later = (await customer.get(f"/ecom/orders/{order['id']}")).json()
    assert later == order


FAULTS: dict[str, dict[str, Any]] = {
    "unavailable": {"status": 503},
    "failed": {"status": 500, "body": {"code": "internal_error"}},
    "token refused": {"status": 401, "body": {"code": "unauthenticated"}},
    "forbidden": {"status": 403, "body": {"code": "forbidden"}},
    "nonsense": {"status": 409, "body": "<html>"},
    "another conflict": {"status": 409, "body": {"code": "new_kind"}},
    "a list": {"status": 409, "body": []},
    "no word": {"drop": True},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_inventory_fails(
    customer: Caller, service: Service, inventory: Inventory, books: Any, fault: str
) -> None:
    cart = await customer.add(11, 2)
    before = counts(books)
    for _ in range(3):  # a retried call fails each time
        inventory.answer("POST", HOLD, **FAULTS[fault])
    response = await customer.checkout(cart["total"], "key")
    assert problem_of(response) == (503, "inventory_unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert counts(books) == before
    assert inventory.held == {}
    assert metric(service, "checkout_total", result="inventory_unavailable") == 1
    inventory.reset()
    assert (await customer.checkout(cart["total"], "key")).status_code == 201


async def test_one_failure_is_bridged(customer: Caller, inventory: Inventory) -> None:
    inventory.answer("POST", HOLD, drop=True)
    assert (await customer.order())["status"] == "CONFIRMED"
    assert len(inventory.requests_to("POST", HOLD)) == 2


async def test_inventory_down_and_up_again(customer: Caller, inventory: Inventory, books: Any) -> None:
    cart = await customer.add(11, 1)
    inventory.stop()
    assert problem_of(await customer.checkout(cart["total"], "key")) == (503, "inventory_unavailable")
    assert counts(books) == (0, 0, 0, 0, 1)
    inventory.start()
    assert (await customer.checkout(cart["total"], "key")).status_code == 201


async def test_short_without_names(customer: Caller, inventory: Inventory) -> None:
    """A shortage that names no book of ours is a shortage all the same."""
    cart = await customer.add(11, 1)
    inventory.answer("POST", HOLD, 409, {"code": "insufficient_stock", "books": [{"book_id": "x"}, 7]})
    response = await customer.checkout(cart["total"])
    assert problem_of(response) == (409, "out_of_stock")
    assert response.json()["book_ids"] == [book(11)]


async def test_keycloak_down(customer: Caller, issuer: Issuer, inventory: Inventory, books: Any) -> None:
    cart = await customer.add(11, 1)
    issuer.server.always("POST", TOKEN_PATH, 503)
    assert problem_of(await customer.checkout(cart["total"], "key")) == (503, "inventory_unavailable")
    assert counts(books) == (0, 0, 0, 0, 1)
    assert not inventory.requests
    issuer.answer_service_tokens()
    assert (await customer.checkout(cart["total"], "key")).status_code == 201


async def test_refused_token_is_fetched_anew(customer: Caller, issuer: Issuer, inventory: Inventory) -> None:
    cart = await customer.add(11, 1)
    inventory.answer("POST", HOLD, 401)
    await customer.checkout(cart["total"], "key")
    await customer.checkout(cart["total"], "key")
    assert len(issuer.server.requests_to("POST", TOKEN_PATH)) == 2


BAD: list[tuple[dict[str, Any], str]] = [
    ({"expected_total": 10.99}, "expected_total"),
    ({"expected_total": "10,99"}, "expected_total"),
    ({"expected_total": "-1"}, "expected_total"),
    ({"expected_total": "1e3"}, "expected_total"),
    ({"expected_total": "NaN"}, "expected_total"),
    ({"expected_total": "1.999"}, "expected_total"),
    ({"expected_total": "9" * 40}, "expected_total"),
    ({"shipping": None}, "shipping"),
    ({"shipping": {**SHIPPING, "name": ""}}, "shipping.name"),
    ({"shipping": {**SHIPPING, "name": "   "}}, "shipping.name"),
    ({"shipping": {**SHIPPING, "name": "x" * 101}}, "shipping.name"),
    ({"shipping": {**SHIPPING, "city": "A\u0000B"}}, "shipping.city"),
    ({"shipping": {**SHIPPING, "city": "A\nB"}}, "shipping.city"),
    ({"shipping": {**SHIPPING, "country": 7}}, "shipping.country"),
    ({"shipping": {**SHIPPING, "phone": "1"}}, "shipping.phone"),
    ({"user_id": "someone-else"}, "user_id"),
    ({"items": []}, "items"),
]


@pytest.mark.parametrize(("changes", "field"), BAD)
async def test_bad_input(customer: Caller, inventory: Inventory, books: Any, changes: Any, field: str) -> None:
    cart = await customer.add(11, 1)
    response = await customer.checkout(cart["total"], "key", **changes)
    assert problem_of(response) == (422, "validation_error")
    assert field in [error["field"] for error in response.json()["errors"]]
    assert counts(books) == (0, 0, 0, 0, 1)
    assert not inventory.requests


async def test_missing_key(customer: Caller, books: Any) -> None:
    await customer.add(11, 1)
    response = await customer.send("POST", "/ecom/checkout", {"shipping": SHIPPING, "expected_total": "10.99"})
    assert problem_of(response) == (422, "validation_error")
    assert response.json()["errors"][0]["field"] == "Idempotency-Key"
    assert counts(books) == (0, 0, 0, 0, 1)


async def test_text_is_kept_as_typed(customer: Caller) -> None:
    await customer.add(11, 1)
    shipping = {**SHIPPING, "name": "  Žofia <b>O'Brien</b> 🙂 ", "line2": 'c/o "X" \\ Y'}
    order = (await customer.checkout("10.99", shipping=shipping)).json()
    assert order["shipping"]["name"] == "Žofia <b>O'Brien</b> 🙂"
    assert (await customer.get(f"/ecom/orders/{order['id']}")).json()["shipping"] == order["shipping"]
    assert (await customer.checkout("10.99", shipping=shipping)).json() == order
