"""A customer's and an administrator's way through the shop, with a real sign-in, through the gateway (SPEC 5.3, 5.5, 5.6)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from .goods import Goods, Sql
from .people import People
from .signin import Shopper, SignInError, body_of, problem_of
from .waiting import until

Stock = Callable[[str], dict[str, Any]]
UNKNOWN = "ffffffff-0000-4000-8000-000000000001"


@pytest.fixture
def stock(api: httpx2.Client) -> Stock:
    """What the shop shows of a book's copies (I-02)."""
    return lambda book_id: body_of(api.get(f"/inven/stock/{book_id}"))


@pytest.fixture
def customer(people: People) -> Shopper:
    return people.customer()


def order(shopper: Shopper, book_id: str, quantity: int = 1) -> dict[str, Any]:
    """Put copies into the cart and order the cart."""
    cart = shopper.add(book_id, quantity)
    return body_of(shopper.checkout(str(uuid.uuid4()), cart["total"]))


def events(sql: Sql, aggregate: str) -> list[dict[str, Any]]:
    """The outbox' events about an order or book, oldest first."""
    rows = sql(
        "SELECT json_build_object('type', event_type, 'payload', payload)"
        f" FROM outbox_events WHERE aggregate_id = '{aggregate}' ORDER BY created_at"
    )
    return [json.loads(row) for row in rows.splitlines()]


def test_from_guest_to_order_and_back(
    user1: Shopper, api: httpx2.Client, goods: Goods, stock: Stock, ecom_sql: Sql, inventory_sql: Sql
) -> None:
    book = goods.book(copies=5, price="12.50")
    shown = body_of(api.get(f"/ecom/books/{book['id']}"))
    assert (shown["title"], shown["price"]) == (book["title"], "12.50")
    assert body_of(api.get("/ecom/books/search", params={"q": book["title"]}))["items"][0]["id"] == book["id"]

    assert user1.send("DELETE", "/ecom/cart").status_code == 204
    guest = {"items": [{"book_id": book["id"], "quantity": 2}, {"book_id": UNKNOWN, "quantity": 1}]}
    key = {"Idempotency-Key": str(uuid.uuid4())}
    merged = body_of(user1.send("POST", "/ecom/cart/merge", guest, key))
    assert merged["skipped"] == [{"book_id": UNKNOWN, "reason": "not_on_sale"}]
    assert body_of(user1.send("POST", "/ecom/cart/merge", guest, key)) == merged
    assert [(line["book_id"], line["quantity"]) for line in user1.cart()["items"]] == [(book["id"], 2)]

    made = user1.checkout(str(uuid.uuid4()), "25.00")
    assert made.status_code == 201, made.text
    placed = made.json()
    assert (placed["status"], placed["total"]) == ("CONFIRMED", "25.00")
    assert user1.cart() == {"items": [], "count": 0, "total": "0.00"}
    assert body_of(user1.get("/ecom/orders"))["items"][0]["id"] == placed["id"]
    assert body_of(user1.get(f"/ecom/orders/{placed['id']}")) == placed
    assert stock(book["id"])["available"] == 3
    created = {"order_id": placed["id"], "user_id": user1.sub, "total": "25.00", "currency": "USD"}
    (event,) = events(ecom_sql, placed["id"])
    assert event["type"] == "order.created"
    assert created.items() <= event["payload"].items()

    reservation = f"SELECT status FROM reservations WHERE order_id = '{placed['id']}'"
    until(lambda: inventory_sql(reservation) == "COMMITTED", "order.created to commit the hold")
    assert (stock(book["id"])["quantity"], stock(book["id"])["reserved"], stock(book["id"])["available"]) == (3, 0, 3)

    cancelled = body_of(user1.send("POST", f"/ecom/orders/{placed['id']}/cancel", {"reason": "Ordered by mistake"}))
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("CANCELLED", "Ordered by mistake")
    assert [event["type"] for event in events(ecom_sql, placed["id"])] == ["order.created", "order.cancelled"]
    until(lambda: inventory_sql(reservation) == "RELEASED", "order.cancelled to give the stock back")
    assert (stock(book["id"])["reserved"], stock(book["id"])["available"]) == (0, 5)
    again = user1.send("POST", f"/ecom/orders/{placed['id']}/cancel")
    assert problem_of(again) == (409, "invalid_transition")


def test_double_click_and_replay_make_one_order(customer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=9)
    total, key = customer.add(book["id"], 3)["total"], str(uuid.uuid4())
    customer.csrf()
    with ThreadPoolExecutor(2) as pool:
        clicks = list(pool.map(lambda _: customer.checkout(key, total), range(2)))
    assert sorted(click.status_code for click in clicks) == [200, 201], [click.text for click in clicks]
    replay = customer.checkout(key, total)
    assert replay.status_code == 200
    assert replay.json() == clicks[0].json() == clicks[1].json()
    assert goods.orders(book["id"]) == goods.held(book["id"]) == {replay.json()["id"]}
    assert problem_of(customer.checkout(key, "1.00")) == (409, "idempotency_key_reused")


def test_refused_checkouts_change_nothing(customer: Shopper, goods: Goods, admin1: Shopper, stock: Stock) -> None:
    book = goods.book(copies=2)
    assert problem_of(customer.checkout(str(uuid.uuid4()), "1.00")) == (400, "cart_empty")
    cart = customer.add(book["id"], 3)
    short = customer.checkout(str(uuid.uuid4()), cart["total"])
    assert problem_of(short) == (409, "out_of_stock")
    assert short.json()["book_ids"] == [book["id"]]
    cart = body_of(customer.send("PUT", f"/ecom/cart/items/{cart['items'][0]['id']}", {"quantity": 1}))
    edit = {"title": book["title"], "author": book["author"], "price": "11.00"}
    assert admin1.send("PUT", f"/admin/books/{book['id']}", edit, {"If-Match": f'"{book["version"]}"'}).status_code == 200
    dearer = customer.checkout(str(uuid.uuid4()), cart["total"])
    assert problem_of(dearer) == (409, "price_changed")
    assert dearer.json()["total"] == "11.00"
    assert (goods.orders(book["id"]), goods.held(book["id"]), stock(book["id"])["available"]) == (set(), set(), 2)
    assert customer.cart()["count"] == 1


def test_what_is_another_customers_does_not_exist(people: People, goods: Goods) -> None:
    owner, other = people.customers(2)
    book = goods.book(copies=3)
    placed = order(owner, book["id"])
    line = owner.add(book["id"])["items"][0]["id"]
    assert problem_of(other.get(f"/ecom/orders/{placed['id']}")) == (404, "not_found")
    assert problem_of(other.send("POST", f"/ecom/orders/{placed['id']}/cancel")) == (404, "not_found")
    assert body_of(other.get("/ecom/orders"))["total"] == 0
    assert other.cart()["items"] == []
    assert problem_of(other.send("PUT", f"/ecom/cart/items/{line}", {"quantity": 9})) == (404, "not_found")
    assert other.send("DELETE", f"/ecom/cart/items/{line}").status_code == 204
    assert owner.cart()["count"] == 1
    assert body_of(owner.get(f"/ecom/orders/{placed['id']}"))["status"] == "CONFIRMED"


def test_csrf_token_belongs_to_its_session(people: People) -> None:
    mine, other = people.customers(2)
    for headers, code in (
        (mine.bearer(), "csrf_invalid"),
        ({**mine.bearer(), "X-CSRF-Token": "A" * 43}, "csrf_invalid"),
        ({**mine.bearer(), **other.csrf()}, "csrf_invalid"),
        ({**mine.bearer(), **mine.csrf(), "Origin": "https://evil.test"}, "origin_mismatch"),
    ):
        refused = mine.client.delete(f"{mine.places.api}/ecom/cart", headers=headers)
        assert problem_of(refused) == (403, code)


def test_administrator_runs_the_shop(admin1: Shopper, customer: Shopper, goods: Goods, api: httpx2.Client, ecom_sql: Sql) -> None:
    book = goods.book(copies=4, price="20.00")
    path = f"/admin/books/{book['id']}"
    assert [event["type"] for event in events(ecom_sql, book["id"])] == ["book.created"]
    first = admin1.get(path).headers["etag"]
    fields = {"title": book["title"], "author": "An Editor", "genre": "Live", "price": "21.00"}
    edited = admin1.send("PUT", path, fields, {"If-Match": first})
    assert (edited.status_code, edited.json()["price"]) == (200, "21.00"), edited.text
    assert problem_of(admin1.send("PUT", path, fields, {"If-Match": first})) == (412, "stale_version")
    assert problem_of(admin1.send("PUT", path, fields)) == (428, "precondition_required")
    # Not after the minute that the catalogue is cached for.
    assert body_of(api.get(f"/ecom/books/{book['id']}"))["price"] == "21.00"

    adjusted = admin1.send("POST", f"/admin/stock/{book['id']}/adjust", {"delta": -1, "reason": "damaged in transport"})
    assert (adjusted.status_code, adjusted.json()["available"]) == (200, 3), adjusted.text
    placed = order(customer, book["id"], 2)

    def movements() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = body_of(admin1.get(f"/admin/stock/{book['id']}/movements"))["items"]
        return rows

    until(lambda: len(movements()) == 4, "order.created to commit the hold", pause=0.5)
    assert [(row["delta"], row["reserved_delta"]) for row in movements()] == [(-2, -2), (0, 2), (-1, 0), (4, 0)]
    assert movements()[2]["actor"] == admin1.sub
    # Counted before the order: three copies, of which two are gone by now.
    shelf, counted = f"/admin/stock/{book['id']}", adjusted.headers["etag"]
    stale = admin1.send("PUT", shelf, {"quantity": 3}, {"If-Match": counted})
    assert (problem_of(stale), stale.json()["quantity"]) == ((412, "stale_version"), 1)
    assert problem_of(admin1.send("PUT", shelf, {"quantity": 3})) == (428, "precondition_required")
    recounted = admin1.send("PUT", shelf, {"quantity": 2}, {"If-Match": admin1.get(shelf).headers["etag"]})
    assert (recounted.status_code, recounted.json()["available"]) == (200, 2), recounted.text

    assert body_of(admin1.get(f"/admin/orders?user_id={customer.sub}"))["items"][0]["id"] == placed["id"]
    shipped = admin1.send("PATCH", f"/admin/orders/{placed['id']}/status", {"status": "SHIPPED"})
    assert (shipped.status_code, shipped.json()["status"]) == (200, "SHIPPED"), shipped.text
    back = admin1.send("PATCH", f"/admin/orders/{placed['id']}/status", {"status": "CONFIRMED"})
    assert problem_of(back) == (409, "invalid_transition")
    assert problem_of(customer.send("POST", f"/ecom/orders/{placed['id']}/cancel")) == (409, "invalid_transition")

    assert admin1.send("DELETE", path).status_code == 204
    assert problem_of(api.get(f"/ecom/books/{book['id']}")) == (404, "not_found")
    assert body_of(api.get("/ecom/books/search", params={"q": book["title"]}))["total"] == 0
    assert body_of(admin1.get(path))["active"] is False
    assert body_of(customer.get(f"/ecom/orders/{placed['id']}"))["items"][0]["title"] == book["title"]


def test_summary_counts_what_there_is(admin1: Shopper, goods: Goods, ecom_sql: Sql) -> None:
    before = body_of(admin1.get("/admin/summary"))
    goods.book(copies=0)
    after = body_of(admin1.get("/admin/summary"))
    assert after["warnings"] == []
    assert after["active_books"] == before["active_books"] + 1 == int(ecom_sql("SELECT count(*) FROM books WHERE active"))
    assert after["out_of_stock"] == before["out_of_stock"] + 1


def test_refresh_token_works_once(customer: Shopper) -> None:
    used = customer.tokens
    customer.refresh()
    assert customer.tokens.claims["sid"] == used.claims["sid"]
    assert Decimal(customer.cart()["total"]) == 0
    customer.tokens, fresh = used, customer.tokens
    with pytest.raises(SignInError, match="answered 400 to refresh_token"):
        customer.refresh()
    # Somebody has a stolen token: the session ends for both.
    customer.tokens = fresh
    with pytest.raises(SignInError, match="answered 400 to refresh_token"):
        customer.refresh()


def test_logout_ends_the_session_everywhere(customer: Shopper, api: httpx2.Client) -> None:
    assert customer.cart()["count"] == 0
    customer.csrf()
    bearer = customer.bearer()
    left = customer.logout()
    assert (left.status_code, left.headers["location"]) == (302, f"{customer.places.shop}/")
    # Keycloak tells the E-Commerce API on its own (back-channel), the mark is Redis': nothing of it is instantaneous.
    until(lambda: api.get("/ecom/cart", headers=bearer).status_code == 401, "ecom-api to refuse the old access token", 5)
    refused = api.get("/ecom/cart", headers=bearer)
    assert problem_of(refused) == (401, "unauthenticated")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    with pytest.raises(SignInError, match="answered 400 to refresh_token"):
        customer.refresh()
