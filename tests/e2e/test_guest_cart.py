"""T-05: a cart without an account, kept on the device, and moved into the customer's once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.live.people import Account, People
from tests.live.signin import Shopper

from .buying import expect_count, expect_lines, line_of
from .conftest import sign_in
from .shelf import Book, Shelf
from .steps import account_button, expect_guest
from .window import Window

Open = Callable[..., Window]
KEY = "bookstore_guest_cart"
MERGE = "**/ecom/cart/merge"


@pytest.fixture
def visit(window: Open) -> Window:
    """A guest's browser."""
    return window()


@pytest.fixture
def page(visit: Window) -> Page:
    """A page of it."""
    return visit.page()


def kept(page: Page) -> dict[str, Any] | None:
    """What the device keeps."""
    text = page.evaluate("key => localStorage.getItem(key)", KEY)
    found: dict[str, Any] | None = None if text is None else json.loads(text)
    return found


def collect(page: Page, *books: Book, copies: int = 1) -> None:
    """Put copies of books into the cart, from their pages."""
    for book in books:
        page.goto(f"/books/{book['id']}")
        page.get_by_role("textbox", name="Copies").fill(str(copies))
        page.get_by_role("button", name="Add to cart").click()
        expect(page.get_by_text(f"“{book['title']}” is in your cart.")).to_be_visible()


def keep(page: Page, *items: tuple[str, int]) -> None:
    """A cart as a device may have kept it since an earlier visit."""
    cart = {"merge_id": str(uuid.uuid4()), "items": [{"book_id": book, "quantity": copies} for book, copies in items]}
    page.goto("/healthz")
    page.evaluate("([key, text]) => localStorage.setItem(key, text)", [KEY, json.dumps(cart)])


def enter(page: Page, account: Account) -> None:
    """From the cart to its owner's account."""
    page.goto("/cart")
    expect_guest(page)
    page.get_by_role("link", name="Sign in", exact=True).click()
    sign_in(page, account, account.password)
    account_button(page, account.username)


def quantities(shopper: Shopper) -> dict[str, int]:
    return {item["book_id"]: item["quantity"] for item in shopper.cart()["items"]}


def test_a_guest_can_fill_change_and_clear_a_cart(page: Page, visit: Window, shelf: Shelf) -> None:
    one, two = shelf.book(price="2.50"), shelf.book(price="4.00")
    collect(page, one, two)
    page.goto("/cart")
    expect_lines(page, 2)
    line_of(page, one).get_by_role("button", name="One more").click()
    expect(page.get_by_test_id("cart-total")).to_have_text("$9.00")
    page.get_by_role("button", name=f"Remove {two['title']}").click()
    expect_lines(page, 1)
    cart = kept(page)
    assert cart is not None
    assert cart["items"] == [{"book_id": one["id"], "quantity": 2}]
    assert cart.keys() == {"merge_id", "items"}
    expect(page.get_by_role("link", name="Sign in to check out")).to_be_visible()
    assert [one.url for one in visit.requests if "/ecom/cart" in one.url] == []
    line_of(page, one).get_by_role("button", name="One less").click(click_count=2)
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    assert kept(page) is None


def test_the_cart_survives_reload_and_return(page: Page, visit: Window, shelf: Shelf) -> None:
    book = shelf.book()
    collect(page, book, copies=2)
    page.reload()
    expect_count(page, 2)
    page.close()
    later = visit.page()
    later.goto("/cart")
    expect(line_of(later, book).get_by_role("textbox")).to_have_value("2")
    # What others wrote there is not believed.
    for text in ("no json", "[]", '{"items": 5}', '{"items": [{"book_id": "<b>", "quantity": 1}, {"book_id": 7}]}'):
        later.evaluate("([key, text]) => localStorage.setItem(key, text)", [KEY, text])
        later.reload()
        expect(later.get_by_role("heading", name="Your cart is empty")).to_be_visible()


def test_the_badge_counts_copies_in_every_tab(page: Page, visit: Window, shelf: Shelf) -> None:
    book = shelf.book()
    other = visit.page()
    other.goto("/")
    expect_count(other, 0)
    collect(page, book, copies=3)
    expect_count(page, 3)
    # Without a reload.
    expect_count(other, 3)
    page.goto("/cart")
    page.get_by_role("button", name=f"Remove {book['title']}").click()
    expect_count(other, 0)


def test_signing_in_moves_the_cart_into_the_account(page: Page, visit: Window, people: People, shelf: Shelf) -> None:
    one, two, account = shelf.book(), shelf.book(), people.account()
    collect(page, one, two, copies=2)
    before = kept(page)
    enter(page, account)
    expect_lines(page, 2)
    expect_count(page, 4)
    (merge,) = visit.asked("POST", "/ecom/cart/merge")
    assert before is not None
    assert merge.header_value("idempotency-key") == before["merge_id"]
    assert kept(page) is None
    page.reload()
    expect_count(page, 4)
    assert len(visit.asked("POST", "/ecom/cart/merge")) == 1


def test_what_the_account_had_is_added_to(page: Page, people: People, window: Open, shelf: Shelf) -> None:
    both, old, new = shelf.book(), shelf.book(), shelf.book()
    shopper = people.customer()
    shopper.add(both["id"], 2)
    shopper.add(old["id"])
    # The visitor comes back with the cookie of an earlier sign-in, which the page finds out by itself.
    page = window(shopper).page()
    keep(page, (both["id"], 3), (new["id"], 1))
    page.goto("/cart")
    expect_lines(page, 3)
    expect_count(page, 7)
    assert quantities(shopper) == {both["id"]: 5, old["id"]: 1, new["id"]: 1}


def test_no_line_grows_beyond_99(window: Open, people: People, shelf: Shelf) -> None:
    book, shopper = shelf.book(initial_quantity=500), people.customer()
    shopper.add(book["id"], 60)
    page = window(shopper).page()
    keep(page, (book["id"], 70))
    page.goto("/cart")
    expect_count(page, 99)
    assert quantities(shopper) == {book["id"]: 99}
    # A guest's own line neither.
    guest = window().page()
    collect(guest, book, copies=60)
    collect(guest, book, copies=60)
    expect_count(guest, 99)


def test_a_merge_whose_answer_is_lost_happens_once(window: Open, people: People, shelf: Shelf) -> None:
    book, shopper = shelf.book(), people.customer()
    visit = window(shopper)
    page = visit.page()
    keep(page, (book["id"], 2))

    def lose(route: Route) -> None:
        """The network breaks after the items arrived: the service answers, and nobody hears it."""
        route.fetch()
        route.abort("connectionreset")

    page.route(MERGE, lose, times=2)
    page.goto("/cart")
    expect(page.get_by_text("Your items are kept on this device.")).to_be_visible()
    assert kept(page) is not None
    assert quantities(shopper) == {book["id"]: 2}
    # The next load asks again, under the same key.
    page.reload()
    expect_count(page, 2)
    page.wait_for_function("key => localStorage.getItem(key) === null", arg=KEY)
    keys = {one.header_value("idempotency-key") for one in visit.asked("POST", "/ecom/cart/merge")}
    assert len(keys) == 1
    assert quantities(shopper) == {book["id"]: 2}


def test_books_that_are_not_sold_are_left_out_and_named(window: Open, people: People, shelf: Shelf) -> None:
    book, shopper = shelf.book(), people.customer()
    page = window(shopper).page()
    unknown = str(uuid.uuid4())
    keep(page, (unknown, 1), (book["id"], 1))
    page.goto("/cart")
    expect_lines(page, 1)
    expect(line_of(page, book)).to_be_visible()
    told = page.get_by_role("status").filter(has_text="These books could not be moved into your cart:")
    expect(told).to_contain_text(f"A book that is no longer sold ({unknown[-4:]}): not on sale")
    page.get_by_role("link", name="Check out", exact=True).click()
    expect(page.get_by_role("heading", name="Checkout")).to_be_visible()
    expect(told).to_be_visible()
    told.get_by_role("button", name="I have seen it").press("Enter")
    expect(told).to_have_count(0)
    expect(page.get_by_role("main")).to_be_focused()
    assert quantities(shopper) == {book["id"]: 1}
    assert kept(page) is None
