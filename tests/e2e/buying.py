"""Steps of somebody who buys."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.live.conftest import SHOP_ORIGIN
from tests.live.signin import SHIPPING, Shopper

# In the order of the form. The page has a list of countries, of which a browser knows the names; the API takes any text.
ADDRESS = {
    "Full name": SHIPPING["name"], "Street and number": SHIPPING["line1"], "Postal code": SHIPPING["postal_code"],
    "City": SHIPPING["city"], "Country": "United States",
}  # fmt: skip
Book = dict[str, Any]


def line_of(page: Page, book: Book) -> Locator:
    """A book's line in the cart."""
    return page.get_by_test_id("cart-line").filter(has_text=book["title"])


def expect_count(page: Page, copies: int) -> None:
    """The badge on the cart says so many copies."""
    words = f"Cart, {copies} {'item' if copies == 1 else 'items'}"
    expect(page.get_by_role("link", name=words, exact=True)).to_be_visible()


def expect_lines(page: Page, count: int) -> None:
    expect(page.get_by_test_id("cart-line")).to_have_count(count)


def to_checkout(page: Page, shopper: Shopper, *books: Book, copies: int = 1) -> None:
    """Books into the cart, and on to the form, filled in."""
    for book in books:
        shopper.add(book["id"], copies)
    page.goto("/checkout")
    fill_address(page)


def fill_address(page: Page) -> None:
    for label, value in ADDRESS.items():
        field = page.get_by_label(label)
        if label == "Country":
            field.select_option(str(value))
        else:
            field.fill(str(value))


def place(page: Page) -> Locator:
    """The button that orders."""
    return page.get_by_role("button", name="Place order")


def expect_confirmation(page: Page) -> str:
    """The order's page is shown; returns the order's id."""
    expect(page.get_by_role("heading", name="Thank you, your order is placed")).to_be_visible()
    path = page.url.removeprefix(f"{SHOP_ORIGIN}/order-confirmation/")
    assert path != page.url, f"confirmed at another address: {page.url}"
    return path
