"""E-07 to E-12: the cart."""

import asyncio
import uuid
from typing import Any

import pytest
from ecom_testing import Caller, book, problem_of

from ecom.cart.schemas import Cart, MergedCart

pytestmark = pytest.mark.anyio
ITEMS = "/ecom/cart/items"
MERGE = "/ecom/cart/merge"
People = Any


def guest(*lines: tuple[int, int]) -> dict[str, Any]:
    return {"items": [{"book_id": book(number), "quantity": quantity} for number, quantity in lines]}


async def test_empty(customer: Caller) -> None:
    response = await customer.get("/ecom/cart")
    assert response.json() == {"items": [], "count": 0, "total": "0.00"}
    assert response.headers["cache-control"] == "no-store"


async def test_lines_and_totals(customer: Caller) -> None:
    await customer.add(11, 2)  # Dune, 10.99
    cart = await customer.add(1, 1)  # Pride and Prejudice, 9.99
    Cart.model_validate(cart)
    assert [(item["title"], item["quantity"], item["price"], item["line_total"]) for item in cart["items"]] == [
        ("Dune", 2, "10.99", "21.98"),
        ("Pride and Prejudice", 1, "9.99", "9.99"),
    ]
    assert (cart["count"], cart["total"]) == (3, "31.97")
    assert cart == await customer.cart()


async def test_adding_adds_up_to_the_cap(customer: Caller) -> None:
    assert (await customer.add(1, 60))["items"][0]["quantity"] == 60
    cart = await customer.add(1, 30)
    assert [item["quantity"] for item in cart["items"]] == [90]
    assert (await customer.add(1, 30))["items"][0]["quantity"] == 99


async def test_the_price_is_todays(customer: Caller, books: Any) -> None:
    await customer.add(1, 2)
    books.execute("UPDATE books SET price = 20 WHERE id = %s", [book(1)])
    cart = await customer.cart()
    assert (cart["items"][0]["price"], cart["total"]) == ("20.00", "40.00")


async def test_unknown_and_withdrawn_books(customer: Caller, books: Any) -> None:
    for book_id in (str(uuid.uuid4()), book(2)):
        books.execute("UPDATE books SET active = false WHERE id = %s", [book(2)])
        response = await customer.send("POST", ITEMS, {"book_id": book_id, "quantity": 1})
        assert problem_of(response) == (404, "not_found")
    assert (await customer.cart())["items"] == []


async def test_withdrawn_while_in_the_cart(customer: Caller, books: Any) -> None:
    await customer.add(1)
    await customer.add(2)
    books.execute("UPDATE books SET active = false WHERE id = %s", [book(1)])
    cart = await customer.cart()
    assert [item["available_for_sale"] for item in cart["items"]] == [False, True]
    line = cart["items"][0]["id"]
    assert (await customer.send("DELETE", f"{ITEMS}/{line}")).status_code == 204


async def test_full(customer: Caller, books: Any) -> None:
    books.execute(
        "INSERT INTO books (title, author, price) SELECT 'Filler ' || n, 'A', 1 FROM generate_series(1, 30) n"
    )
    books.execute(
        "INSERT INTO cart_items (user_id, book_id, quantity) SELECT %s, id, 1 FROM books WHERE id <> %s LIMIT 50",
        [customer.sub, book(1)],
    )
    response = await customer.send("POST", ITEMS, {"book_id": book(1), "quantity": 1})
    assert problem_of(response) == (409, "cart_full")
    cart = await customer.cart()
    assert len(cart["items"]) == 50
    # A line that is there can still grow.
    more = {"book_id": cart["items"][0]["book_id"], "quantity": 4}
    assert (await customer.send("POST", ITEMS, more)).json()["count"] == 54


async def test_set_quantity(customer: Caller) -> None:
    line = (await customer.add(1, 5))["items"][0]["id"]
    response = await customer.send("PUT", f"{ITEMS}/{line}", {"quantity": 2})
    assert (response.status_code, response.json()["count"]) == (200, 2)
    assert problem_of(await customer.send("PUT", f"{ITEMS}/{uuid.uuid4()}", {"quantity": 2})) == (404, "not_found")


async def test_remove_and_clear(customer: Caller) -> None:
    for number in (1, 2, 3):
        await customer.add(number)
    line = (await customer.cart())["items"][0]["id"]
    for _ in range(2):  # a repeat is no error
        response = await customer.send("DELETE", f"{ITEMS}/{line}")
        assert (response.status_code, response.content) == (204, b"")
    assert (await customer.cart())["count"] == 2
    for _ in range(2):
        assert (await customer.send("DELETE", "/ecom/cart")).status_code == 204
    assert (await customer.cart())["count"] == 0


async def test_another_customers_cart_stays_as_it_is(person: People) -> None:
    mine, theirs = person(), person()
    line = (await mine.add(1, 3))["items"][0]["id"]
    assert (await theirs.cart())["items"] == []
    assert problem_of(await theirs.send("PUT", f"{ITEMS}/{line}", {"quantity": 9})) == (404, "not_found")
    await theirs.send("DELETE", f"{ITEMS}/{line}")
    await theirs.send("DELETE", "/ecom/cart")
    await theirs.add(1, 1)
    assert [item["quantity"] for item in (await mine.cart())["items"]] == [3]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"quantity": 1}, "book_id"),
        ({"book_id": book(1)}, "quantity"),
        ({"book_id": "x", "quantity": 1}, "book_id"),
        ({"book_id": book(1), "quantity": 0}, "quantity"),
        ({"book_id": book(1), "quantity": -1}, "quantity"),
        ({"book_id": book(1), "quantity": 100}, "quantity"),
        ({"book_id": book(1), "quantity": 10**30}, "quantity"),
        ({"book_id": book(1), "quantity": "1"}, "quantity"),
        ({"book_id": book(1), "quantity": 1.0}, "quantity"),
        ({"book_id": book(1), "quantity": True}, "quantity"),
        ({"book_id": book(1), "quantity": 1, "price": "0.01"}, "price"),
        ({"book_id": book(1), "quantity": 1, "user_id": "someone"}, "user_id"),
        ([], "body"),
    ],
)
async def test_bad_lines(customer: Caller, body: Any, field: str) -> None:
    response = await customer.send("POST", ITEMS, body)
    assert problem_of(response) == (422, "validation_error")
    assert field in [error["field"] for error in response.json()["errors"]]
    assert (await customer.cart())["items"] == []


async def test_merge(customer: Caller, books: Any) -> None:
    books.execute("UPDATE books SET active = false WHERE id = %s", [book(4)])
    await customer.add(1, 90)
    unknown = str(uuid.uuid4())
    wanted = guest((1, 20), (2, 3), (4, 1), (2, 4))
    wanted["items"].append({"book_id": unknown, "quantity": 1})
    response = await customer.send("POST", MERGE, wanted, idempotency_key="merge-1")
    body = response.json()
    MergedCart.model_validate(body)
    assert {item["book_id"]: item["quantity"] for item in body["cart"]["items"]} == {book(1): 99, book(2): 7}
    assert body["skipped"] == [
        {"book_id": book(4), "reason": "not_on_sale"},
        {"book_id": unknown, "reason": "not_on_sale"},
    ]
    assert body["cart"] == await customer.cart()


async def test_merge_keeps_the_guests_order(customer: Caller) -> None:
    response = await customer.send("POST", MERGE, guest((9, 1), (3, 1), (7, 1), (5, 1)), idempotency_key="k")
    assert [item["book_id"] for item in response.json()["cart"]["items"]] == [book(9), book(3), book(7), book(5)]


async def test_same_key_merges_once(customer: Caller) -> None:
    first = await customer.send("POST", MERGE, guest((1, 2)), idempotency_key="merge-1")
    await customer.add(2, 1)
    again = await customer.send("POST", MERGE, guest((1, 2)), idempotency_key="merge-1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await customer.cart())["count"] == 3
    other = await customer.send("POST", MERGE, guest((1, 3)), idempotency_key="merge-1")
    assert problem_of(other) == (409, "idempotency_key_reused")
    await customer.send("POST", MERGE, guest((1, 2)), idempotency_key="merge-2")
    assert (await customer.cart())["count"] == 5


async def test_merge_fills_fifty_lines(customer: Caller, books: Any) -> None:
    books.execute(
        "INSERT INTO books (title, author, price) SELECT 'Filler ' || n, 'A', 1 FROM generate_series(1, 48) n"
    )
    books.execute(
        "INSERT INTO cart_items (user_id, book_id, quantity) SELECT %s, id, 1 FROM books WHERE title LIKE 'Filler%%'",
        [customer.sub],
    )
    response = await customer.send("POST", MERGE, guest((1, 1), (2, 1), (3, 1)), idempotency_key="k")
    assert len(response.json()["cart"]["items"]) == 50
    assert response.json()["skipped"] == [{"book_id": book(3), "reason": "cart_full"}]


@pytest.mark.parametrize("key", [None, "", " ", "a b", "é", "x" * 256])
async def test_merge_needs_a_proper_key(customer: Caller, key: str | None) -> None:
    headers = {} if key is None else {"idempotency_key": key}
    if key == "é":  # as Latin-1, which a header may hold
        headers = {"idempotency_key": b"\xe9"}  # type: ignore[dict-item]
    response = await customer.send("POST", MERGE, guest((1, 1)), **headers)
    assert problem_of(response) == (422, "validation_error")
    assert response.json()["errors"][0]["field"].lower() == "idempotency-key"
    assert (await customer.cart())["items"] == []


@pytest.mark.parametrize(
    "body",
    [{}, {"items": None}, {"items": [{}]}, {"items": [{"book_id": book(1), "quantity": 100}]},
     {"items": [{"book_id": book(1), "quantity": 1}] * 51}, {"items": [], "extra": 1}],
)  # fmt: skip
async def test_bad_merges(customer: Caller, body: Any) -> None:
    response = await customer.send("POST", MERGE, body, idempotency_key="k")
    assert problem_of(response) == (422, "validation_error")


async def test_concurrent_merges_with_one_key_merge_once(customer: Caller) -> None:
    await customer.cart()
    await customer.send("DELETE", "/ecom/cart")  # gets the CSRF token
    answers = await asyncio.gather(
        *(customer.send("POST", MERGE, guest((1, 2), (2, 3)), idempotency_key="k") for _ in range(12))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) <= 2  # the first and its stored copy, whose members jsonb sorted
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert (await customer.cart())["count"] == 5


async def test_concurrent_changes_lose_nothing(customer: Caller) -> None:
    """Adding and merging at once, of the same books in opposite orders: the sum is right and nobody deadlocks."""
    await customer.send("DELETE", "/ecom/cart")
    calls = [
        *(customer.add(1, 1) for _ in range(8)),
        *(customer.send("POST", MERGE, guest((1, 1), (2, 1), (3, 1)), idempotency_key=f"up-{n}") for n in range(6)),
        *(customer.send("POST", MERGE, guest((3, 1), (2, 1), (1, 1)), idempotency_key=f"down-{n}") for n in range(6)),
    ]
    await asyncio.gather(*calls)
    cart = await customer.cart()
    assert {item["book_id"]: item["quantity"] for item in cart["items"]} == {book(1): 20, book(2): 12, book(3): 12}


async def test_concurrent_additions_stop_at_fifty_lines(customer: Caller, books: Any) -> None:
    books.execute(
        "INSERT INTO books (title, author, price) SELECT 'Filler ' || n, 'A', 1 FROM generate_series(1, 45) n"
    )
    books.execute(
        "INSERT INTO cart_items (user_id, book_id, quantity) SELECT %s, id, 1 FROM books WHERE title LIKE 'Filler%%'",
        [customer.sub],
    )
    await customer.send("PUT", f"{ITEMS}/{uuid.uuid4()}", {"quantity": 1})
    answers = await asyncio.gather(
        *(customer.send("POST", ITEMS, {"book_id": book(number), "quantity": 1}) for number in range(1, 16))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [409] * 10
    assert len((await customer.cart())["items"]) == 50
