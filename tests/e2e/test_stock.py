"""T-09: stock of one book and of many, unknown ids, low, out, reserved by an order; reservations cannot be made from outside."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.live.documents import NOTHING
from tests.live.goods import Goods, Sql
from tests.live.people import People
from tests.live.signin import Shopper, body_of, problem_of
from tests.live.waiting import until

from .steps import badge
from .window import Window

Open = Callable[..., Window]
Stock = Callable[[str], dict[str, Any]]
ENOUGH, LOW, OUT = "in_stock", "low_stock", "out_of_stock"


@pytest.fixture
def stock(api: httpx2.Client) -> Stock:
    """What anybody may know of a book's copies (I-02)."""
    return lambda book_id: body_of(api.get(f"/inven/stock/{book_id}"))


def bulk(api: httpx2.Client, ids: list[str]) -> dict[str, tuple[int, str]]:
    """Copies that can be bought, and their word, by book (I-03)."""
    answer = api.get("/inven/stock/bulk", params={"book_ids": ",".join(ids)})
    assert answer.status_code == 200, answer.text
    return {row["book_id"]: (row["available"], row["stock_status"]) for row in answer.json()}


def set_stock(admin: Shopper, book_id: str, **values: int) -> None:
    over = body_of(admin.get(f"/admin/stock/{book_id}"))["version"]
    body_of(admin.send("PUT", f"/admin/stock/{book_id}", values, {"If-Match": f'"{over}"'}))


def expect_badge(scope: Page | Locator, state: str, words: str) -> str:
    """What a badge says, and what kind it is; returns the colour of its text."""
    expect(badge(scope)).to_have_text(words)
    expect(badge(scope)).to_have_attribute("data-stock", state)
    return str(badge(scope).evaluate("element => getComputedStyle(element).color"))


def test_one_book_is_told_to_anybody(guest: Page, goods: Goods, stock: Stock) -> None:
    book = goods.book(copies=7)
    assert stock(book["id"]) == {"book_id": book["id"], "quantity": 7, "reserved": 0, "available": 7, "stock_status": ENOUGH}
    guest.goto(f"/books/{book['id']}")
    expect_badge(guest, ENOUGH, "In stock: 7 copies")


def test_all_books_of_a_page_in_one_call(window: Open, admin: Shopper, goods: Goods, api: httpx2.Client) -> None:
    genre, books = f"E2e stock {secrets.token_hex(4)}", {}
    for copies in (9, 4, 0):
        new = {"title": f"{genre}: {copies}", "author": "A Test", "genre": genre, "price": "9.00", "initial_quantity": copies}
        books[copies] = body_of(admin.send("POST", "/admin/books", new))["id"]
        goods.adopt(books[copies])
    assert bulk(api, list(books.values())) == {books[9]: (9, ENOUGH), books[4]: (4, LOW), books[0]: (0, OUT)}
    assert bulk(api, []) == {}

    visit = window()
    page = visit.page()
    page.goto(f"/?genre={quote(genre)}&sort=title")
    cards = page.get_by_test_id("book-card")
    expect(cards).to_have_count(3)
    # By title: 0, 4, 9.
    for place, state in enumerate((OUT, LOW, ENOUGH)):
        expect(cards.nth(place)).to_have_attribute("data-stock", state)
    # Only what is special is said in words.
    expect_badge(cards.nth(1), LOW, "Only 4 left")
    expect(badge(page)).to_have_count(1)
    (asked,) = visit.asked("GET", "/inven/stock/bulk")
    assert set(parse_qs(urlsplit(asked.url).query)["book_ids"][0].split(",")) == set(books.values())


def test_unknown_ids(guest: Page, goods: Goods, api: httpx2.Client, admin: Shopper) -> None:
    book = goods.book(copies=6)
    assert problem_of(api.get(f"/inven/stock/{NOTHING}")) == (404, "not_found")
    assert bulk(api, [NOTHING, book["id"]]) == {book["id"]: (6, ENOUGH)}
    # What cannot be an id is a mistake of the caller's.
    assert problem_of(api.get("/inven/stock/one")) == (422, "validation_error")
    for ids in ("one", f"{book['id']},", "0" * 36, ",".join(str(uuid.uuid4()) for _ in range(101))):
        answer = api.get("/inven/stock/bulk", params={"book_ids": ids})
        assert problem_of(answer) == (422, "validation_error"), ids
    assert problem_of(admin.send("POST", f"/admin/stock/{NOTHING}/adjust", {"delta": 1, "reason": "found"})) == (404, "not_found")
    guest.goto(f"/books/{NOTHING}")
    expect(guest.get_by_role("heading", name="Book not found")).to_be_visible()
    expect(badge(guest)).to_have_count(0)


def test_low_stock_begins_at_the_threshold(guest: Page, goods: Goods, admin: Shopper, stock: Stock) -> None:
    book = goods.book(copies=6)
    assert stock(book["id"])["stock_status"] == ENOUGH
    body_of(admin.send("POST", f"/admin/stock/{book['id']}/adjust", {"delta": -1, "reason": "damaged"}))
    assert (stock(book["id"])["available"], stock(book["id"])["stock_status"]) == (5, LOW)
    guest.goto(f"/books/{book['id']}")
    expect_badge(guest, LOW, "Only 5 left")
    expect(guest.get_by_role("button", name=f"Add to cart: {book['title']}")).to_be_enabled()
    # The threshold is each book's own.
    set_stock(admin, book["id"], quantity=5, low_stock_threshold=4)
    assert stock(book["id"])["stock_status"] == ENOUGH
    set_stock(admin, book["id"], quantity=40, low_stock_threshold=40)
    assert stock(book["id"])["stock_status"] == LOW
    guest.reload()
    expect_badge(guest, LOW, "Only 40 left")


def test_out_of_stock_cannot_be_bought_until_there_is_more(guest: Page, goods: Goods, admin: Shopper, stock: Stock) -> None:
    book = goods.book(copies=1)
    set_stock(admin, book["id"], quantity=0)
    assert (stock(book["id"])["available"], stock(book["id"])["stock_status"]) == (0, OUT)
    guest.goto(f"/books/{book['id']}")
    expect_badge(guest, OUT, "Out of stock")
    expect(guest.get_by_role("button", name=f"Sold out: {book['title']}")).to_be_disabled()
    set_stock(admin, book["id"], quantity=8)
    guest.reload()
    expect_badge(guest, ENOUGH, "In stock: 8 copies")
    guest.get_by_role("button", name=f"Add to cart: {book['title']}").click()
    expect(guest.get_by_role("link", name="Cart, 1 item", exact=True)).to_be_visible()


def test_an_order_takes_its_copies_at_once(guest: Page, people: People, goods: Goods, admin: Shopper, stock: Stock) -> None:
    book, buyer = goods.book(copies=8), people.customer()
    guest.goto(f"/books/{book['id']}")
    expect_badge(guest, ENOUGH, "In stock: 8 copies")
    total = buyer.add(book["id"], 5)["total"]
    # A cart reserves nothing.
    assert stock(book["id"])["available"] == 8
    placed = body_of(buyer.checkout(str(uuid.uuid4()), total))
    seen = stock(book["id"])
    # Held, or taken from the shelf meanwhile: the event of the order is on its way.
    assert (seen["available"], seen["quantity"] - seen["reserved"], seen["stock_status"]) == (3, 3, LOW)
    assert (seen["quantity"], seen["reserved"]) in {(8, 5), (3, 0)}
    guest.reload()
    expect_badge(guest, LOW, "Only 3 left")

    until(lambda: stock(book["id"])["reserved"] == 0, "order.created to commit the hold", 60)
    assert (stock(book["id"])["quantity"], stock(book["id"])["available"]) == (3, 3)
    moved = body_of(admin.get(f"/admin/stock/{book['id']}/movements"))["items"]
    assert [(row["delta"], row["reserved_delta"], row["order_id"]) for row in moved[:2]] == [(-5, -5, placed["id"]), (0, 5, placed["id"])]
    body_of(buyer.send("POST", f"/ecom/orders/{placed['id']}/cancel"))
    until(lambda: stock(book["id"])["available"] == 8, "order.cancelled to give the copies back", 60)


def test_nobody_reserves_from_outside(
    shop: Page, goods: Goods, customer: Shopper, admin: Shopper, api: httpx2.Client, inventory_sql: Sql, stock: Stock
) -> None:
    book, order = goods.book(copies=5), str(uuid.uuid4())
    wanted = {"order_id": order, "items": [{"book_id": book["id"], "quantity": 5}]}
    ways = [("POST", ""), ("GET", f"/{order}"), ("DELETE", f"/{order}")]
    for prefix in ("/internal/reservations", "/inven/internal/reservations", "/inven/stock/../../internal/reservations"):
        for method, rest in ways:
            path = f"{prefix}{rest}"
            assert api.request(method, path, json=wanted).status_code == 404, (method, path)
            for shopper in (customer, admin):
                assert shopper.send(method, path, wanted).status_code == 404, (method, path, shopper)
    # From the shop's own page neither: not even an answer that a script could read.
    shop.goto("/")
    reached = shop.evaluate(
        "([url, body]) => fetch(url, {method: 'POST', body, headers: {'Content-Type': 'application/json'}}).then(() => true, () => false)",
        [f"{api.base_url}/internal/reservations".replace("//internal", "/internal"), str(wanted)],
    )
    assert reached is False
    assert inventory_sql(f"SELECT count(*) FROM reservations WHERE order_id = '{order}'") == "0"
    assert stock(book["id"])["available"] == 5
