"""E-13 under concurrency, crashes and lost connections: one order per key, and a hold for exactly the orders there are.

``check_law`` states it; every test ends with it.
"""

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from ecom_testing import (
    SHIPPING,
    Caller,
    Inventory,
    book,
    http,
    metric,
    problem_of,
    running,
    settings_of,
)
from sqlalchemy import exc

from bookstore_common.db import Database, Session
from bookstore_common.testing.http_stub import Answer
from bookstore_common.testing.postgres import Postgres
from ecom.app import Service
from ecom.checkout.service import order_id_of

pytestmark = pytest.mark.anyio


def check_law(inventory: Inventory, books: Any) -> None:
    """Orders, holds, events and stored answers tell the same story; no order is half made."""
    orders = books.execute(
        "SELECT o.id::text, json_object_agg(i.book_id, i.quantity), sum(i.quantity * i.price_at_purchase) = o.total"
        " FROM orders o LEFT JOIN order_items i ON i.order_id = o.id GROUP BY o.id"
    ).fetchall()
    assert inventory.held == {order: items for order, items, _adds_up in orders}
    assert all(adds_up for _order, _items, adds_up in orders)
    names = sorted(order for order, _items, _adds_up in orders)
    for statement in (
        "SELECT aggregate_id FROM outbox_events WHERE event_type = 'order.created' ORDER BY 1",
        "SELECT response->'body'->>'id' FROM idempotency_keys ORDER BY 1",
    ):
        assert [name for (name,) in books.execute(statement).fetchall()] == names


async def test_double_click(customer: Caller, service: Service, inventory: Inventory, books: Any) -> None:
    """One key, one cart, many requests at once."""
    cart = await customer.add(11, 2)
    answers = await asyncio.gather(*(customer.checkout(cart["total"], "key") for _ in range(25)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 24}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert (await customer.cart())["items"] == []
    assert metric(service, "checkout_total", result="replayed") == 24
    assert len(inventory.requests_to("POST", Inventory.PATH)) == 1
    check_law(inventory, books)


async def test_one_cart_many_keys(customer: Caller, inventory: Inventory, books: Any) -> None:
    """Two windows, each with an attempt of its own: the cart can be ordered once."""
    cart = await customer.add(11, 2)
    answers = await asyncio.gather(*(customer.checkout(cart["total"], f"key-{n}") for n in range(15)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 400: 14}
    assert {answer.json().get("code") for answer in answers if answer.status_code == 400} == {"cart_empty"}
    check_law(inventory, books)


async def test_last_copies(person: Any, inventory: Inventory, books: Any) -> None:
    """More customers than copies: exactly as many orders as copies, and the others keep their carts."""
    inventory.stock = {book(11): 7}
    people: list[Caller] = [person() for _ in range(40)]
    for one in people:
        books.execute("INSERT INTO cart_items (user_id, book_id, quantity) VALUES (%s, %s, 1)", [one.sub, book(11)])
    answers = await asyncio.gather(*(one.checkout("10.99") for one in people))
    assert Counter(answer.status_code for answer in answers) == {201: 7, 409: 33}
    assert inventory.available(book(11)) == 0
    assert books.execute("SELECT count(*) FROM cart_items").fetchone() == (33,)
    check_law(inventory, books)


async def test_cart_changes_while_it_is_ordered(customer: Caller, inventory: Inventory, books: Any) -> None:
    """What is added during the checkout is neither ordered nor lost; what is changed there waits."""
    cart = await customer.add(11, 1)
    reached = asyncio.Event()
    loop, answered = asyncio.get_running_loop(), threading.Event()

    def pause(_order: str) -> None:
        loop.call_soon_threadsafe(reached.set)
        answered.wait(20)

    inventory.on_hold = pause
    checkout = asyncio.create_task(customer.checkout(cart["total"]))
    await reached.wait()
    books.execute("INSERT INTO cart_items (user_id, book_id, quantity) VALUES (%s, %s, 3)", [customer.sub, book(2)])
    line = cart["items"][0]["id"]
    change = asyncio.create_task(customer.send("PUT", f"/ecom/cart/items/{line}", {"quantity": 50}))
    clear = asyncio.create_task(customer.send("DELETE", "/ecom/cart"))
    await asyncio.wait([change, clear], timeout=0.5)
    assert not change.done()  # the line is locked
    assert not clear.done()
    answered.set()
    order = (await checkout).json()
    assert [(item["book_id"], item["quantity"]) for item in order["items"]] == [(book(11), 1)]
    assert problem_of(await change) == (404, "not_found")
    assert (await clear).status_code == 204
    check_law(inventory, books)


def kill_holder(server: Postgres) -> None:
    """The connection that holds an order's lock (class 2) is gone, as if the database had been restarted."""
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 2 AND granted"
        )


async def test_connection_dies_after_the_reservation(
    customer: Caller, inventory: Inventory, roles: Postgres, books: Any
) -> None:
    """The commit fails: the reservation is released at once, and the same attempt succeeds later."""
    cart = await customer.add(11, 2)
    inventory.on_hold = lambda _order: kill_holder(roles)
    response = await customer.checkout(cart["total"], "key")
    assert problem_of(response) == (503, "dependency_unavailable")
    assert inventory.held == {}
    assert len(inventory.requests_to("DELETE", f"{Inventory.PATH}/{order_id_of(customer.sub, 'key')}")) == 1
    assert await customer.cart() == cart
    check_law(inventory, books)
    inventory.on_hold = lambda _order: None
    assert (await customer.checkout(cart["total"], "key")).status_code == 201
    check_law(inventory, books)


@pytest.mark.parametrize("refused", ["order", "item", "event"])
async def test_database_refuses_after_the_reservation(
    customer: Caller, service: Service, inventory: Inventory, books: Any, refused: str
) -> None:
    """Whichever row cannot be written, none is, and nothing stays reserved."""
    cart = await customer.add(11, 2)
    table = {"order": "orders", "item": "order_items", "event": "outbox_events"}[refused]
    books.execute(f"ALTER TABLE {table} ADD CONSTRAINT never CHECK (false) NOT VALID")
    response = await customer.checkout(cart["total"], "key")
    assert problem_of(response) == (500, "internal_error")
    assert metric(service, "checkout_total", result="failed") == 1
    assert await customer.cart() == cart
    check_law(inventory, books)
    books.execute(f"ALTER TABLE {table} DROP CONSTRAINT never")
    assert (await customer.checkout(cart["total"], "key")).status_code == 201
    check_law(inventory, books)


async def test_answer_to_the_commit_is_lost(
    customer: Caller, service: Service, inventory: Inventory, books: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is there although the service was told otherwise: its reservation must stay."""
    cart = await customer.add(11, 2)
    whole = Database.transaction
    lost = iter([True])

    @asynccontextmanager
    async def transaction(self: Database) -> AsyncIterator[Session]:
        async with whole(self) as session:
            yield session
        if next(lost, False):
            raise exc.OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(Database, "transaction", transaction)
    response = await customer.checkout(cart["total"], "key")
    assert problem_of(response) == (503, "dependency_unavailable")
    check_law(inventory, books)
    again = await customer.checkout(cart["total"], "key")
    assert again.status_code == 200
    assert books.execute("SELECT id::text FROM orders").fetchall() == [(again.json()["id"],)]
    check_law(inventory, books)


async def test_one_attempt_fails_while_its_twin_waits(
    customer: Caller, inventory: Inventory, roles: Postgres, books: Any
) -> None:
    """A double click whose first half loses its connection: giving up must not take the second half's reservation."""
    cart = await customer.add(11, 2)
    first = iter([True])

    def once(_order: str) -> None:
        if next(first, False):
            kill_holder(roles)

    inventory.on_hold = once
    answers = await asyncio.gather(*(customer.checkout(cart["total"], "key") for _ in range(6)))
    assert Counter(answer.status_code for answer in answers) == {503: 1, 201: 1, 200: 4}
    check_law(inventory, books)


async def test_hold_whose_answer_is_lost(customer: Caller, inventory: Inventory, books: Any) -> None:
    """The retried call finds the hold."""
    cart = await customer.add(11, 2)
    lost = iter([True])
    inventory.on_hold = lambda _order: Answer(drop=True) if next(lost, False) else None
    assert (await customer.checkout(cart["total"], "key")).status_code == 201
    check_law(inventory, books)


async def test_hold_without_any_answer_is_given_back(customer: Caller, inventory: Inventory, books: Any) -> None:
    cart = await customer.add(11, 2)
    inventory.on_hold = lambda _order: Answer(drop=True)
    assert problem_of(await customer.checkout(cart["total"], "key")) == (503, "inventory_unavailable")
    check_law(inventory, books)


async def test_retry_after_a_crash(customer: Caller, inventory: Inventory, books: Any) -> None:
    """The service reserved and died; the customer tries again with the same key."""
    cart = await customer.add(11, 2)
    order = str(order_id_of(customer.sub, "key"))
    inventory.held[order] = {book(11): 2}
    response = await customer.checkout(cart["total"], "key")
    assert (response.status_code, response.json()["id"]) == (201, order)
    check_law(inventory, books)


async def test_retry_after_a_crash_with_another_cart(customer: Caller, inventory: Inventory, books: Any) -> None:
    """The key stands for what was reserved; that is given back, and a new key orders what is wanted now."""
    inventory.held[str(order_id_of(customer.sub, "key"))] = {book(11): 2}
    cart = await customer.add(11, 3)
    assert problem_of(await customer.checkout(cart["total"], "key")) == (409, "idempotency_key_reused")
    check_law(inventory, books)
    assert (await customer.checkout(cart["total"], "new-key")).status_code == 201
    check_law(inventory, books)


async def test_process_is_killed_between_reservation_and_commit(
    environment: Any, fresh: str, inventory: Inventory, issuer: Any, books: Any, spawn: Any
) -> None:
    """A real process, a real SIGKILL; another process takes the retry."""
    process = spawn(environment(fresh)).started()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{process.ports['PUBLIC_PORT']}", timeout=40) as client:
        customer = Caller(client, issuer)
        cart = await customer.add(11, 2)
        inventory.on_hold = lambda _order: process.kill()
        with pytest.raises(httpx2.TransportError):
            await customer.checkout(cart["total"], "key")
    assert books.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    assert inventory.held == {str(order_id_of(customer.sub, "key")): {book(11): 2}}
    inventory.on_hold = lambda _order: None
    async with running(settings_of(environment(fresh))) as service, http(service.public) as client:
        customer.client = client
        answers = [await customer.checkout(cart["total"], "key") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    check_law(inventory, books)


async def test_others_are_served_while_inventory_hangs(person: Any, inventory: Inventory, books: Any) -> None:
    """Checkouts that wait hold connections; they must leave some to carts and orders."""
    people: list[Caller] = [person() for _ in range(16)]
    for one in people:
        books.execute("INSERT INTO cart_items (user_id, book_id, quantity) VALUES (%s, %s, 1)", [one.sub, book(11)])
        await one.send("DELETE", f"/ecom/cart/items/{uuid.uuid4()}")
    reached, answered = threading.Semaphore(0), threading.Event()

    def hang(_order: str) -> None:
        reached.release()
        answered.wait(20)

    inventory.on_hold = hang
    checkouts = [asyncio.create_task(one.checkout("10.99")) for one in people]
    for _ in range(6):  # as many as there are slots
        assert await asyncio.to_thread(reached.acquire, timeout=20)
    visitor = person()
    assert (await visitor.add(1, 1))["count"] == 1
    assert (await visitor.get("/ecom/orders")).status_code == 200
    assert not any(checkout.done() for checkout in checkouts)
    answered.set()
    assert {(await checkout).status_code for checkout in checkouts} == {201}
    check_law(inventory, books)


async def test_turn_does_not_come(environment: Any, fresh: str, issuer: Any, inventory: Inventory, books: Any) -> None:
    settings = settings_of({**environment(fresh), "DATABASE_POOL_SIZE": "2", "CHECKOUT_SLOT_TIMEOUT_SECONDS": "0.2"})
    loop, reached, answered = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def hang(_order: str) -> None:
        loop.call_soon_threadsafe(reached.set)
        answered.wait(20)

    inventory.on_hold = hang
    async with running(settings) as service, http(service.public) as client:
        people = [Caller(client, issuer) for _ in range(3)]
        for one in people:
            await one.add(11, 1)
        first = asyncio.create_task(people[0].checkout("10.99"))
        await reached.wait()
        refused = await asyncio.gather(*(one.checkout("10.99") for one in people[1:]))
        answered.set()
        assert [problem_of(answer) for answer in refused] == [(503, "dependency_unavailable")] * 2
        assert (await first).status_code == 201
        assert (await people[1].checkout("10.99")).status_code == 201
    check_law(inventory, books)


async def test_a_whole_day_of_clicks(person: Any, inventory: Inventory, books: Any) -> None:
    """Many customers, each impatient, with an Inventory that now and then loses an answer."""
    inventory.stock = {book(11): 12}
    seen: list[str] = []

    def lose_some(order: str) -> Answer | None:
        """The first answer of every third order: four in all, fewer than open the breaker."""
        if order in seen:
            return None
        seen.append(order)
        return Answer(drop=True) if len(seen) % 3 == 1 else None

    inventory.on_hold = lose_some
    people: list[Caller] = [person() for _ in range(20)]
    for one in people:
        books.execute("INSERT INTO cart_items (user_id, book_id, quantity) VALUES (%s, %s, 1)", [one.sub, book(11)])
    body = {"shipping": SHIPPING, "expected_total": "10.99"}
    answers = await asyncio.gather(
        *(one.send("POST", "/ecom/checkout", body, idempotency_key="k") for one in people for _ in range(3))
    )
    codes = Counter(answer.status_code for answer in answers)
    assert codes == {201: 12, 200: 24, 409: 24}
    assert inventory.available(book(11)) == 0
    check_law(inventory, books)
