"""T-08: history, filter, detail, cancelling, what may no longer be cancelled, returned stock, and orders of others."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.live.goods import Goods, Sql
from tests.live.people import People
from tests.live.signin import SHIPPING, Shopper, body_of
from tests.live.waiting import until

from .window import Window

Open = Callable[..., Window]
Object = dict[str, Any]


@pytest.fixture
def buyer(people: People) -> Shopper:
    """A customer without orders."""
    return people.customer()


def order(shopper: Shopper, book: Object, copies: int = 1) -> Object:
    """An order of one book, placed as the shop's pages do."""
    total = shopper.add(book["id"], copies)["total"]
    return body_of(shopper.checkout(str(uuid.uuid4()), total))


def number(placed: Object) -> str:
    """How people see an order's id."""
    return str(placed["id"])[:8].upper()


def advance(admin: Shopper, placed: Object, status: str) -> None:
    body_of(admin.send("PATCH", f"/admin/orders/{placed['id']}/status", {"status": status}))


def available(admin: Shopper, book: Object) -> int:
    return int(body_of(admin.get(f"/inven/stock/{book['id']}"))["available"])


def cancel(page: Page) -> None:
    """Press the button, and mean it."""
    page.get_by_role("button", name="Cancel order").click()
    page.get_by_role("alertdialog", name="Cancel this order?").get_by_role("button", name="Cancel order").click()


def test_history_shows_ones_orders_newest_first(window: Open, buyer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=9, price="7.00")
    page = window(buyer).page()
    page.goto("/orders")
    expect(page.get_by_role("heading", name="No orders yet")).to_be_visible()
    first, second = order(buyer, book), order(buyer, book, copies=3)
    page.reload()
    rows = page.locator(".order-row")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text(f"Order {number(second)}")
    expect(rows.nth(0)).to_contain_text("3 copies")
    expect(rows.nth(0)).to_contain_text("$21.00")
    expect(rows.nth(1)).to_contain_text(f"Order {number(first)}")
    expect(page.get_by_text("2 orders", exact=True)).to_be_visible()


def test_the_filter_shows_one_status_and_stays_in_the_address(window: Open, buyer: Shopper, admin: Shopper, goods: Goods) -> None:
    book = goods.book(copies=9)
    kept, shipped = order(buyer, book), order(buyer, book)
    advance(admin, shipped, "SHIPPED")
    page = window(buyer).page()
    page.goto("/orders")
    expect(page.locator(".order-row")).to_have_count(2)
    page.get_by_label("Status").select_option("Shipped")
    expect(page).to_have_url(re.compile(r"\?status=SHIPPED$"))
    expect(page.locator(".order-row")).to_have_count(1)
    expect(page.locator(".order-row")).to_contain_text(number(shipped))
    page.reload()
    expect(page.locator(".order-row")).to_contain_text(number(shipped))
    page.get_by_label("Status").select_option("Delivered")
    expect(page.get_by_role("heading", name="No delivered orders")).to_be_visible()
    page.get_by_label("Status").select_option("Confirmed")
    expect(page.locator(".order-row")).to_contain_text(number(kept))


def test_detail_shows_items_as_they_were_bought_and_the_address(window: Open, buyer: Shopper, goods: Goods, ecom_sql: Sql) -> None:
    book = goods.book(copies=9, price="5.25")
    placed = order(buyer, book, copies=2)
    # Later changes of the book do not rewrite history.
    ecom_sql(f"UPDATE books SET price = 99, title = title || ' (new edition)' WHERE id = '{book['id']}'")
    page = window(buyer).page()
    page.goto("/orders")
    page.get_by_role("link", name=f"Order {number(placed)}").click()
    expect(page.get_by_role("heading", level=1, name=f"Order {number(placed)}")).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=book["title"], exact=True))
    expect(row.get_by_role("rowheader")).to_have_text(book["title"])
    expect(row.get_by_role("cell")).to_have_text(["2", "$5.25", "$10.50"])
    expect(page.get_by_test_id("order-total")).to_have_text("$10.50")
    address = page.get_by_label("Delivery address")
    for part in ("name", "line1", "city", "country"):
        expect(address).to_contain_text(str(SHIPPING[part]))
    expect(page.locator(".badge[data-status]")).to_have_text("Confirmed")


def test_an_order_can_be_cancelled_while_it_is_confirmed(window: Open, buyer: Shopper, goods: Goods) -> None:
    placed = order(buyer, goods.book(copies=9))
    page = window(buyer).page()
    page.goto(f"/orders/{placed['id']}")
    page.get_by_role("button", name="Cancel order").click()
    question = page.get_by_role("alertdialog", name="Cancel this order?")
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    assert body_of(buyer.get(f"/ecom/orders/{placed['id']}"))["status"] == "CONFIRMED"
    cancel(page)
    expect(page.locator("[data-status=CANCELLED]")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel order")).to_have_count(0)
    assert body_of(buyer.get(f"/ecom/orders/{placed['id']}"))["status"] == "CANCELLED"


def test_an_order_that_was_sent_meanwhile_is_not_cancelled(window: Open, buyer: Shopper, admin: Shopper, goods: Goods) -> None:
    placed = order(buyer, goods.book(copies=9))
    page = window(buyer).page()
    page.goto(f"/orders/{placed['id']}")
    expect(page.get_by_role("button", name="Cancel order")).to_be_visible()
    advance(admin, placed, "SHIPPED")
    cancel(page)
    expect(page.get_by_text("The order has moved on. Its status does not allow this any more.")).to_be_visible()
    # The page knows now how it stands.
    expect(page.locator("[data-status=SHIPPED]")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel order")).to_have_count(0)
    assert body_of(buyer.get(f"/ecom/orders/{placed['id']}"))["status"] == "SHIPPED"


def test_copies_of_a_cancelled_order_go_back_to_the_shelf(window: Open, buyer: Shopper, admin: Shopper, goods: Goods) -> None:
    book = goods.book(copies=4)
    placed = order(buyer, book, copies=4)
    assert available(admin, book) == 0
    page = window(buyer).page()
    page.goto(f"/books/{book['id']}")
    expect(page.locator("[data-stock=out_of_stock]")).to_be_visible()
    page.goto(f"/orders/{placed['id']}")
    cancel(page)
    expect(page.locator("[data-status=CANCELLED]")).to_be_visible()
    until(lambda: available(admin, book) == 4, "the copies to be available again", 30)
    page.goto(f"/books/{book['id']}")
    expect(page.get_by_role("button", name="Add to cart")).to_be_enabled()


def test_orders_of_others_do_not_exist(window: Open, people: People, goods: Goods) -> None:
    owner, stranger = people.customers(2)
    placed = order(owner, goods.book(copies=9))
    page = window(stranger).page()
    for path in (f"/orders/{placed['id']}", f"/order-confirmation/{placed['id']}", f"/orders/{uuid.uuid4()}", "/orders/no-number"):
        page.goto(path)
        expect(page.get_by_role("heading", name="Order not found")).to_be_visible()
    assert stranger.get(f"/ecom/orders/{placed['id']}").status_code == 404
    assert stranger.send("POST", f"/ecom/orders/{placed['id']}/cancel").status_code == 404
    assert body_of(owner.get(f"/ecom/orders/{placed['id']}"))["status"] == "CONFIRMED"
