"""T-07: one order for one wish, whatever the shopper's hands or the network do; refusals in place, with a way on."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from tests.live.goods import Goods, Sql
from tests.live.people import People
from tests.live.signin import Shopper, body_of
from tests.live.waiting import until
from tests.live.workloads import Workloads

from .buying import expect_confirmation, expect_count, fill_address, place, to_checkout
from .window import Window

Open = Callable[..., Window]
CHECKOUT = "**/ecom/checkout"


@pytest.fixture
def buyer(people: People) -> Shopper:
    """A customer of the test's own: ten checkouts a minute are allowed to each."""
    return people.customer()


@pytest.fixture
def visit(window: Open, buyer: Shopper) -> Window:
    """The buyer's browser."""
    return window(buyer)


@pytest.fixture
def page(visit: Window) -> Page:
    """A page of it."""
    return visit.page()


def orders(shopper: Shopper) -> int:
    return int(body_of(shopper.get("/ecom/orders"))["total"])


def test_an_order_is_placed_and_confirmed(page: Page, buyer: Shopper, goods: Goods) -> None:
    first, second, third = goods.book(copies=5, price="8.00"), goods.book(copies=5, price="4.50"), goods.book(copies=5)
    for book in (first, second, third):
        buyer.add(book["id"], 2)
    held: list[Route] = []
    page.route("**/ecom/cart/items/*", lambda route: held.append(route))
    page.goto("/cart")
    with page.expect_request("**/ecom/cart/items/*"):
        page.get_by_role("button", name=f"Remove {third['title']}").click()
        # Faster than the shop: a cart that is still being changed is not offered.
        page.get_by_role("link", name="Check out", exact=True).click()
    expect(page.get_by_role("heading", name="Loading the checkout")).to_be_visible()
    expect(place(page)).to_have_count(0)
    [change] = held
    change.continue_()
    expect(place(page)).to_contain_text("$25.00")
    expect(page.get_by_test_id("checkout-total")).to_have_text("$25.00")
    fill_address(page)
    place(page).click()
    order = body_of(buyer.get(f"/ecom/orders/{expect_confirmation(page)}"))
    expect(page.get_by_test_id("order-number")).to_have_text(order["id"][:8].upper())
    expect(page.get_by_test_id("order-total")).to_have_text("$25.00")
    for book in (first, second):
        expect(page.get_by_role("row").filter(has_text=book["title"]).get_by_role("cell").first).to_have_text("2")
    expect_count(page, 0)
    assert (order["status"], order["total"], len(order["items"])) == ("CONFIRMED", "25.00", 2)
    # Back does not lead to a form that would order again.
    page.go_back()
    expect(place(page)).to_have_count(0)


def test_a_double_click_makes_one_order(page: Page, visit: Window, buyer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=5)
    to_checkout(page, buyer, book)
    place(page).dblclick()
    expect_confirmation(page)
    assert len(visit.asked("POST", "/ecom/checkout")) == 1
    assert orders(buyer) == 1


def test_a_lost_answer_and_a_reload_make_one_order(page: Page, visit: Window, buyer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=5)
    to_checkout(page, buyer, book)
    # The page itself asks once more before it tells.
    page.route(CHECKOUT, lambda route: route.abort("connectionreset"), times=2)
    place(page).click()
    expect(page.get_by_role("alert")).to_contain_text("the same order is never made twice")
    # A reload in the middle of the attempt: what is sent then is still the same order.
    page.reload()
    fill_address(page)

    def lose(route: Route) -> None:
        """The network breaks after the order arrived: the service answers, and nobody hears it."""
        route.fetch()
        route.abort("connectionreset")

    page.route(CHECKOUT, lose, times=2)
    place(page).click()
    expect(page.get_by_role("alert")).to_contain_text("the same order is never made twice")
    assert orders(buyer) == 1
    place(page).click()
    expect_confirmation(page)
    assert orders(buyer) == 1
    keys = {request.header_value("idempotency-key") for request in visit.asked("POST", "/ecom/checkout")}
    assert len(keys) == 1
    page.reload()
    expect_confirmation(page)
    assert orders(buyer) == 1
    # The same book once more is another wish, though everything else is the same.
    to_checkout(page, buyer, book)
    place(page).click()
    expect_confirmation(page)
    assert orders(buyer) == 2


def test_there_is_nothing_to_order_with_an_empty_cart(page: Page, buyer: Shopper) -> None:
    page.goto("/checkout")
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    expect(place(page)).to_have_count(0)
    page.get_by_role("link", name="Browse the catalogue").click()
    expect(page.get_by_test_id("book-card").first).to_be_visible()
    assert orders(buyer) == 0


def test_books_that_ran_out_are_named_and_the_cart_is_kept(page: Page, buyer: Shopper, goods: Goods, inventory_sql: Sql) -> None:
    there, gone = goods.book(copies=5), goods.book(copies=5)
    to_checkout(page, buyer, there, gone)
    inventory_sql(f"UPDATE inventory SET quantity = 0 WHERE book_id = '{gone['id']}'")
    place(page).click()
    expect(page.get_by_role("alert")).to_contain_text("nothing was ordered")
    marked = page.get_by_role("listitem").filter(has_text="Not enough in stock")
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text(gone["title"])
    expect(page.get_by_label("Full name")).not_to_have_value("")
    assert orders(buyer) == 0
    assert goods.held(there["id"]) == set()
    # The way on: without the book the rest can be ordered.
    page.get_by_role("alert").get_by_role("link", name="Change your cart").click()
    page.get_by_role("button", name=f"Remove {gone['title']}").click()
    page.get_by_role("link", name="Check out", exact=True).click()
    fill_address(page)
    place(page).click()
    expect_confirmation(page)
    assert orders(buyer) == 1


def test_a_changed_price_is_shown_before_anything_is_ordered(page: Page, buyer: Shopper, goods: Goods, ecom_sql: Sql) -> None:
    book = goods.book(copies=5, price="10.00")
    to_checkout(page, buyer, book)
    expect(place(page)).to_contain_text("$10.00")
    ecom_sql(f"UPDATE books SET price = 11.50 WHERE id = '{book['id']}'")
    place(page).click()
    expect(page.get_by_test_id("checkout-total")).to_have_text(re.compile(r"\$10\.00\s*\$11\.50"))
    expect(place(page)).to_contain_text("$11.50")
    assert orders(buyer) == 0
    expect(page.get_by_label("City")).not_to_have_value("")
    place(page).click()
    order = body_of(buyer.get(f"/ecom/orders/{expect_confirmation(page)}"))
    assert order["total"] == "11.50"


def test_what_is_ordered_is_reserved_for_everyone_to_see(page: Page, window: Open, buyer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=3)
    to_checkout(page, buyer, book, copies=3)
    other = window().page()
    other.goto(f"/books/{book['id']}")
    expect(other.get_by_role("button", name="Add to cart")).to_be_enabled()
    place(page).click()
    order = expect_confirmation(page)
    assert goods.held(book["id"]) == {order}
    other.reload()
    expect(other.locator("[data-stock=out_of_stock]")).to_be_visible()
    expect(other.get_by_role("button", name="Sold out")).to_be_disabled()


@pytest.mark.serial
def test_without_inventory_nothing_is_ordered_and_the_form_is_kept(page: Page, buyer: Shopper, goods: Goods, cluster: Cluster) -> None:
    book = goods.book(copies=5)
    to_checkout(page, buyer, book)
    with Workloads(cluster).without("Deployment", "inventory", "inventory-api"):
        place(page).click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing was ordered and your cart is kept")
        expect_count(page, 1)
        expect(page.get_by_label("Full name")).not_to_have_value("")
        assert orders(buyer) == 0
    confirmed = page.get_by_role("heading", name="Thank you, your order is placed")

    def ordered() -> bool:
        """Press again, as the words say; ten times a minute are allowed."""
        place(page).click()
        expect(confirmed.or_(place(page).and_(page.locator(":not([aria-disabled])")))).to_be_visible(timeout=20_000)
        return confirmed.is_visible()

    # The breaker closes by itself.
    until(ordered, "the order", 60, pause=7)
    expect(confirmed).to_be_visible()
    assert orders(buyer) == 1


def test_an_incomplete_address_is_refused_field_by_field(page: Page, visit: Window, buyer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=5)
    buyer.add(book["id"])
    page.goto("/checkout")
    page.get_by_label("City").fill("Springfield")
    place(page).click()
    told = {"Full name": "Enter the name on the parcel.", "Street and number": "Enter street and number.", "Country": "Choose the country."}
    for label, words in told.items():
        field = page.get_by_label(label)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(words)
    expect(page.get_by_label("Full name")).to_be_focused()
    expect(page.get_by_label("City")).to_have_value("Springfield")
    assert visit.asked("POST", "/ecom/checkout") == []
    # What the page lets pass and the service does not is told at the field, too.
    fill_address(page)
    page.get_by_label("Full name").fill("Ada\u200f\u0007 Reader")
    place(page).click()
    name = page.get_by_label("Full name")
    expect(name).to_have_attribute("aria-invalid", "true")
    expect(name).to_have_value(re.compile("Reader"))
    assert orders(buyer) == 0
    name.fill("<b>Ada</b>")
    place(page).click()
    expect_confirmation(page)
    assert orders(buyer) == 1
