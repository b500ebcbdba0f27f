"""T-12: the administrator's stock and orders: set, adjust, reserved copies, movements, low stock; list, filter, transitions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.live.goods import Sql
from tests.live.people import People
from tests.live.signin import Shopper, body_of
from tests.live.waiting import until

from .shelf import Book, Shelf
from .window import Window

Open = Callable[..., Window]
Object = dict[str, Any]


@pytest.fixture
def buyer(people: People) -> Shopper:
    """A customer without orders."""
    return people.customer()


def order(shopper: Shopper, book: Book, copies: int = 1) -> Object:
    return body_of(shopper.checkout(str(uuid.uuid4()), shopper.add(book["id"], copies)["total"]))


def stock(admin: Shopper, book: Book) -> tuple[int, int]:
    """Copies on the shelf and how many of them can be sold."""
    found = body_of(admin.get(f"/inven/stock/{book['id']}"))
    return found["quantity"], found["available"]


def editor(page: Page, book: Book) -> Locator:
    """The window in which a book's stock is changed."""
    page.goto(f"/admin/stock?q={quote_plus(book['title'])}")
    page.get_by_role("button", name=f"Change stock of {book['title']}").click()
    return page.get_by_role("dialog", name=book["title"])


def cells(page: Page, book: Book) -> Locator:
    """Shelf, reserved, available and threshold of a row."""
    return page.get_by_test_id("stock-row").filter(has_text=book["title"]).locator("td.number")


def press(page: Page, words: str) -> None:
    """Press a button of an order, and mean it."""
    page.get_by_role("button", name=words).click()
    page.get_by_role("alertdialog", name=f"{words}?").get_by_role("button", name=words).click()


def test_copies_and_threshold_are_set(office: Page, shelf: Shelf, admin: Shopper) -> None:
    book = shelf.book(initial_quantity=5)
    box = editor(office, book)
    box.get_by_label("Copies on the shelf").fill("40")
    box.get_by_label("Low-stock threshold").fill("12")
    box.get_by_role("button", name="Set stock").click()
    expect(office.get_by_text("Stock is set.")).to_be_visible()
    expect(box).to_contain_text("40 on the shelf, 0 reserved, 40 available")
    box.get_by_role("button", name="Close").click()
    expect(cells(office, book)).to_have_text(["40", "0", "40", "12"])
    assert stock(admin, book) == (40, 40)


def test_a_count_of_before_an_order_is_not_saved_over_it(office: Page, shelf: Shelf, buyer: Shopper, admin: Shopper) -> None:
    """The editor says what changed and why; only then can the count be saved all the same."""
    book = shelf.book(initial_quantity=10)
    box = editor(office, book)
    box.get_by_label("Copies on the shelf").fill("11")
    order(buyer, book, copies=3)
    until(lambda: stock(admin, book) == (7, 7), "the order's copies to leave the shelf", 60)
    box.get_by_role("button", name="Set stock").click()
    told = office.get_by_role("alertdialog", name="Stock changed meanwhile")
    expect(told).to_contain_text("There were 10 copies on the shelf when you began, now there are 7.")
    expect(told.get_by_role("list", name="What happened")).to_contain_text("3 copies ordered")
    assert stock(admin, book) == (7, 7)
    told.get_by_role("button", name="Keep typing").click()
    expect(box.get_by_label("Copies on the shelf")).to_have_value("11")
    assert stock(admin, book) == (7, 7)
    box.get_by_role("button", name="Set stock").click()
    told.get_by_role("button", name="Take what is there now").click()
    expect(box.get_by_label("Copies on the shelf")).to_have_value("7")
    box.get_by_label("Copies on the shelf").fill("8")
    box.get_by_role("button", name="Set stock").click()
    expect(box).to_contain_text("8 on the shelf, 0 reserved, 8 available")
    assert stock(admin, book) == (8, 8)


def test_an_adjustment_needs_a_number_and_a_reason(office: Page, shelf: Shelf, admin: Shopper) -> None:
    book = shelf.book(initial_quantity=10)
    box = editor(office, book)
    for wrong in ("", "0", "1.5", "many"):
        box.get_by_label("Add or remove copies").fill(wrong)
        box.get_by_role("button", name="Adjust stock").click()
        expect(box.get_by_label("Add or remove copies")).to_have_attribute("aria-invalid", "true")
        expect(box.get_by_label("Reason")).to_have_accessible_description("Enter a reason.")
    assert stock(admin, book) == (10, 10)
    for delta, reason, left in (("-3", "damaged", 7), ("+5", "returned", 12)):
        box.get_by_label("Add or remove copies").fill(delta)
        box.get_by_label("Reason").fill(reason)
        box.get_by_role("button", name="Adjust stock").click()
        expect(box).to_contain_text(f"{left} on the shelf, 0 reserved, {left} available")
    assert stock(admin, book) == (12, 12)


def test_the_shelf_never_holds_fewer_than_reserved(
    office: Page, shelf: Shelf, buyer: Shopper, admin: Shopper, inventory_sql: Sql
) -> None:
    book = shelf.book(initial_quantity=10)
    order(buyer, book, copies=4)
    box = editor(office, book)
    # The order's event takes the copies from the shelf a moment later: 10 with 4 reserved, or 6 with none.
    box.get_by_label("Add or remove copies").fill("-7")
    box.get_by_label("Reason").fill("lost")
    box.get_by_role("button", name="Adjust stock").click()
    expect(box.get_by_label("Add or remove copies")).to_have_accessible_description("Fewer copies would be left than orders have reserved.")
    expect(box.get_by_label("Reason")).to_have_value("lost")
    assert stock(admin, book)[1] == 6
    # An order whose event is still under way holds four more: neither may they be set away.
    until(lambda: stock(admin, book) == (6, 6), "the order's copies to leave the shelf", 60)
    inventory_sql(f"""
        INSERT INTO reservations VALUES ('{uuid.uuid4()}', '{book["id"]}', 4, 'HELD', now() + interval '15 minutes');
        UPDATE inventory SET reserved = 4 WHERE book_id = '{book["id"]}'
    """)
    box = editor(office, book)
    box.get_by_label("Copies on the shelf").fill("3")
    box.get_by_role("button", name="Set stock").click()
    shelf_field = box.get_by_label("Copies on the shelf")
    expect(shelf_field).to_have_accessible_description("Orders have reserved 4 copies; enter at least as many.")
    expect(shelf_field).to_be_focused()
    assert stock(admin, book) == (6, 2)


def test_movements_tell_the_history(office: Page, shelf: Shelf, buyer: Shopper, admin: Shopper) -> None:
    book = shelf.book(initial_quantity=10)
    body_of(admin.send("POST", f"/admin/stock/{book['id']}/adjust", {"delta": -2, "reason": "water <damage>"}))
    order(buyer, book, copies=3)
    until(lambda: stock(admin, book) == (5, 5), "the order's copies to leave the shelf", 60)
    moves = editor(office, book).get_by_label("Movements").get_by_role("listitem")
    expect(moves.filter(has_text="water <damage>")).to_contain_text("-2")
    # The three copies: reserved first, taken when the order's event arrived.
    expect(moves.filter(has_text="(reserved +3)")).to_have_count(1)
    expect(moves.filter(has_text="(reserved -3)")).to_contain_text("-3")
    total = sum(int(text) for text in moves.locator("strong").all_inner_texts())
    assert total == 5


def test_low_stock_lists_the_fewest_first(office: Page, shelf: Shelf) -> None:
    low, out, enough = shelf.book(initial_quantity=2), shelf.book(initial_quantity=0), shelf.book()
    office.goto("/admin/low-stock")
    rows = office.get_by_test_id("stock-row")
    expect(rows.filter(has_text=out["title"])).to_contain_text("Out")
    expect(rows.filter(has_text=low["title"])).to_contain_text("Low")
    expect(rows.filter(has_text=enough["title"])).to_have_count(0)
    available = [int(text) for text in rows.locator("td.number:nth-of-type(4)").all_inner_texts()]
    assert available == sorted(available)


def test_all_orders_are_listed_newest_first(office: Page, shelf: Shelf, buyer: Shopper) -> None:
    book = shelf.book(price="3.00")
    first, second = order(buyer, book), order(buyer, book, copies=2)
    office.goto(f"/admin/orders?user_id={buyer.sub}")
    rows = office.get_by_test_id("admin-order")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text(second["id"][:8].upper())
    expect(rows.nth(0).locator("td.number")).to_have_text(["2", "$6.00"])
    expect(rows.nth(1)).to_contain_text(first["id"][:8].upper())
    rows.nth(0).get_by_role("link").click()
    expect(office.get_by_role("heading", level=1)).to_have_text(f"Order {second['id'][:8].upper()}")
    expect(office.get_by_label("Delivery address")).to_contain_text("Ada Reader")


def test_orders_are_filtered_by_status_day_and_customer(office: Page, shelf: Shelf, people: People, admin: Shopper) -> None:
    book = shelf.book()
    one, two = people.customers(2)
    mine, shipped, theirs = order(one, book), order(one, book), order(two, book)
    body_of(admin.send("PATCH", f"/admin/orders/{shipped['id']}/status", {"status": "SHIPPED"}))
    rows = office.get_by_test_id("admin-order")
    office.goto("/admin/orders")
    # By clicking on a customer.
    rows.filter(has_text=theirs["id"][:8].upper()).get_by_role("button").click()
    expect(rows).to_have_count(1)
    office.goto(f"/admin/orders?user_id={one.sub}")
    expect(rows).to_have_count(2)
    office.get_by_label("Status").select_option("Shipped")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(shipped["id"][:8].upper())
    office.get_by_label("Status").select_option("Confirmed")
    expect(rows).to_contain_text(mine["id"][:8].upper())
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    office.get_by_label("From").fill(tomorrow)
    expect(office.get_by_role("heading", name="No orders match")).to_be_visible()
    expect(office).to_have_url(re.compile(f"from={tomorrow}"))
    office.get_by_label("From").fill("")
    expect(rows).to_have_count(1)


def test_an_order_goes_its_way_to_the_customer(office: Page, window: Open, shelf: Shelf, buyer: Shopper) -> None:
    placed = order(buyer, shelf.book())
    page = window(buyer).page()
    office.goto(f"/admin/orders/{placed['id']}")
    buttons = office.locator("main").get_by_role("button")
    expect(buttons).to_have_text(["Mark as shipped", "Cancel order"])
    for words, status, label, after in (
        ("Mark as shipped", "SHIPPED", "Shipped", ["Mark as delivered"]),
        ("Mark as delivered", "DELIVERED", "Delivered", []),
    ):
        press(office, words)
        expect(office.locator(f".badge[data-status={status}]")).to_be_visible()
        expect(buttons).to_have_text(after)
        page.goto(f"/orders/{placed['id']}")
        expect(page.locator(".badge[data-status]")).to_have_text(label)
    expect(office.get_by_text("This status is final.")).to_be_visible()


def test_a_transition_that_is_no_longer_allowed_is_refused(office: Page, shelf: Shelf, buyer: Shopper, admin: Shopper) -> None:
    placed = order(buyer, shelf.book())
    office.goto(f"/admin/orders/{placed['id']}")
    expect(office.get_by_role("button", name="Mark as shipped")).to_be_visible()
    body_of(buyer.send("POST", f"/ecom/orders/{placed['id']}/cancel"))
    press(office, "Mark as shipped")
    expect(office.get_by_text("The order has moved on. Its status does not allow this any more.")).to_be_visible()
    expect(office.locator(".badge[data-status=CANCELLED]")).to_be_visible()
    expect(office.get_by_text("This status is final.")).to_be_visible()
    for status in ("CONFIRMED", "SHIPPED", "DELIVERED"):
        refused = admin.send("PATCH", f"/admin/orders/{placed['id']}/status", {"status": status})
        assert refused.status_code in {409, 422}, refused.text
    assert body_of(admin.get(f"/admin/orders/{placed['id']}"))["status"] == "CANCELLED"
