"""The states that the pages of guests and customers can be in, and how each is reached."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.live.conftest import PLACES
from tests.live.goods import Goods, Sql
from tests.live.signin import Shopper, body_of

from .buying import expect_confirmation, place, to_checkout

Object = dict[str, Any]
NOBODY = "00000000-0000-4000-8000-000000000000"
ANY_ORIGIN = {"access-control-allow-origin": "*"}
PROBLEM = {**ANY_ORIGIN, "content-type": "application/problem+json"}


@dataclass
class Scene:
    """What a state is made of."""

    page: Page
    goods: Goods
    sql: Sql
    shopper: Shopper | None = None
    admin: Shopper | None = None

    def order(self, book: Object) -> Object:
        """An order of the shopper's."""
        assert self.shopper is not None
        return body_of(self.shopper.checkout(str(uuid.uuid4()), self.shopper.add(book["id"])["total"]))

    def headed(self, path: str, words: str) -> None:
        """Go to a page whose state is known by its heading."""
        self.page.goto(path)
        expect(self.page.get_by_role("heading", name=words, exact=True)).to_be_visible()

    def fail(self, pattern: str, status: int = 503, code: str = "unavailable", **more: str) -> None:
        """Let what the pages ask for fail as the services would."""
        problem = {"type": "about:blank", "title": "Refused", "status": status, "detail": "Try again.", "code": code, **more}
        self.page.route(pattern, lambda route: route.fulfill(status=status, headers=PROBLEM, body=json.dumps(problem)))

    def hold(self, pattern: str) -> None:
        """Let no answer come."""

        def wait(_: Route) -> None:
            """The page waits for as long as it is open."""

        self.page.route(pattern, wait)


def catalogue(scene: Scene) -> None:
    scene.page.goto("/")
    expect(scene.page.get_by_test_id("book-card")).to_have_count(12)
    expect(scene.page.locator("article[data-stock]:not([data-stock=loading])")).to_have_count(12)


def catalogue_loading(scene: Scene) -> None:
    scene.hold("**/ecom/books?*")
    scene.page.goto("/")
    expect(scene.page.get_by_text("Loading books")).to_be_attached()


def catalogue_failed(scene: Scene) -> None:
    scene.fail("**/ecom/books?*")
    scene.page.goto("/")
    expect(scene.page.get_by_role("button", name="Try again")).to_be_visible()


def catalogue_without_stock(scene: Scene) -> None:
    scene.fail("**/inven/stock/bulk*")
    scene.page.goto("/")
    expect(scene.page.locator(".badge[data-stock=unknown]")).to_have_count(12)


def catalogue_beyond(scene: Scene) -> None:
    scene.headed("/?page=999", "No books here")


def offline(scene: Scene) -> None:
    catalogue(scene)
    scene.page.context.set_offline(True)
    expect(scene.page.get_by_text("You are offline.")).to_be_visible()


def search_results(scene: Scene) -> None:
    scene.page.goto("/search?q=the")
    expect(scene.page.get_by_test_id("book-card").first).to_be_visible()


def search_of_nothing(scene: Scene) -> None:
    scene.headed("/search", "What are you looking for?")


def search_without_result(scene: Scene) -> None:
    scene.headed("/search?q=zzqqxxzz", "Nothing found")


def product(scene: Scene) -> None:
    book = scene.goods.book(copies=3)
    scene.headed(f"/books/{book['id']}", book["title"])
    expect(scene.page.locator(".badge[data-stock=low_stock]")).to_be_visible()
    scene.page.get_by_role("button", name="Add to cart").click()
    expect(scene.page.get_by_role("button", name="Dismiss")).to_be_visible()


def product_with_more(scene: Scene) -> None:
    """Other books of the author and of the genre stand below."""
    books = [scene.goods.book(copies=9) for _ in range(2)]
    scene.headed(f"/books/{books[0]['id']}", books[0]["title"])
    expect(scene.page.get_by_role("region", name="More by").or_(scene.page.get_by_role("region", name="More in")).first).to_be_visible()


def product_loading(scene: Scene) -> None:
    scene.hold("**/ecom/books/*")
    scene.page.goto(f"/books/{NOBODY}")
    expect(scene.page.get_by_text("Loading the book")).to_be_attached()


def product_sold_out(scene: Scene) -> None:
    book = scene.goods.book(copies=0)
    scene.headed(f"/books/{book['id']}", book["title"])
    expect(scene.page.locator(".badge[data-stock=out_of_stock]")).to_be_visible()


def product_failed(scene: Scene) -> None:
    scene.fail("**/ecom/books/*")
    scene.page.goto(f"/books/{NOBODY}")
    expect(scene.page.get_by_role("button", name="Try again")).to_be_visible()


def product_with_a_wrong_quantity(scene: Scene) -> None:
    book = scene.goods.book(copies=3)
    scene.headed(f"/books/{book['id']}", book["title"])
    scene.page.get_by_role("textbox", name="Copies").fill("100")
    scene.page.keyboard.press("Enter")
    expect(scene.page.get_by_text("Enter 1 to 99")).to_be_visible()


def product_missing(scene: Scene) -> None:
    scene.headed(f"/books/{NOBODY}", "Book not found")


def cart_empty(scene: Scene) -> None:
    scene.headed("/cart", "Your cart is empty")


def cart_of_a_guest(scene: Scene) -> None:
    product(scene)
    scene.page.get_by_role("link", name="Cart, 1 item", exact=True).click()
    expect(scene.page.get_by_test_id("cart-line")).to_have_count(1)


def cart_to_be_emptied(scene: Scene) -> None:
    cart_of_a_guest(scene)
    scene.page.get_by_role("button", name="Clear cart").click()
    expect(scene.page.get_by_role("alertdialog", name="Empty the cart?")).to_be_visible()


def not_found(scene: Scene) -> None:
    scene.headed("/nothing/here", "Page not found")


def crash(scene: Scene) -> None:
    """A part of the shop cannot be fetched."""
    scene.page.route("**/assets/cart-page*", lambda route: route.abort())
    scene.headed("/cart", "This page could not be shown")


def sign_in_failed(scene: Scene) -> None:
    scene.headed("/login?failed=1", "You are not signed in")


GUESTS = [
    catalogue, catalogue_loading, catalogue_failed, catalogue_without_stock, catalogue_beyond, offline, search_results, search_of_nothing,
    search_without_result, product, product_with_more, product_loading, product_sold_out, product_failed, product_with_a_wrong_quantity,
    product_missing, cart_empty, cart_of_a_guest, cart_to_be_emptied, not_found, crash, sign_in_failed,
]  # fmt: skip


def account_menu(scene: Scene) -> None:
    assert scene.shopper is not None
    scene.page.goto("/")
    scene.page.get_by_role("button", name=f"Account: {scene.shopper.username}").click()
    expect(scene.page.get_by_role("link", name="Your orders")).to_be_visible()


def cart_that_cannot_be_ordered(scene: Scene) -> None:
    assert scene.shopper is not None
    book = scene.goods.book(copies=2)
    scene.shopper.add(book["id"], 3)
    scene.page.goto("/cart")
    expect(scene.page.get_by_text("Only 2 can be delivered.")).to_be_visible()


def cart_failed(scene: Scene) -> None:
    scene.fail("**/ecom/cart")
    scene.page.goto("/cart")
    expect(scene.page.get_by_role("button", name="Try again")).to_be_visible()


def cart_with_books_left_out(scene: Scene) -> None:
    items = [{"book_id": book, "quantity": 1} for book in (NOBODY, scene.goods.book(copies=5)["id"])]
    scene.page.goto("/healthz")
    kept = json.dumps({"merge_id": str(uuid.uuid4()), "items": items})
    scene.page.evaluate("text => localStorage.setItem('bookstore_guest_cart', text)", kept)
    scene.page.goto("/cart")
    expect(scene.page.get_by_text("These books could not be moved into your cart:")).to_be_visible()


def checkout(scene: Scene) -> None:
    assert scene.shopper is not None
    to_checkout(scene.page, scene.shopper, scene.goods.book(copies=5))


def checkout_with_errors(scene: Scene) -> None:
    assert scene.shopper is not None
    scene.shopper.add(scene.goods.book(copies=5)["id"])
    scene.page.goto("/checkout")
    place(scene.page).click()
    expect(scene.page.get_by_label("Full name")).to_have_attribute("aria-invalid", "true")


def checkout_refused(scene: Scene) -> None:
    assert scene.shopper is not None
    book = scene.goods.book(copies=5)
    to_checkout(scene.page, scene.shopper, book)
    scene.sql(f"UPDATE inventory SET quantity = 0 WHERE book_id = '{book['id']}'")
    place(scene.page).click()
    expect(scene.page.get_by_role("alert")).to_contain_text("nothing was ordered")


def checkout_unavailable(scene: Scene) -> None:
    checkout(scene)
    scene.fail("**/ecom/checkout")
    place(scene.page).click()
    expect(scene.page.get_by_role("alert")).to_be_visible()
    expect(place(scene.page)).to_be_enabled()


def checkout_at_another_price(scene: Scene) -> None:
    checkout(scene)
    scene.fail("**/ecom/checkout", 409, "price_changed", total="11.50")
    place(scene.page).click()
    expect(scene.page.get_by_role("alert")).to_contain_text("The price has changed.")
    # The cart is asked for its new total before one may order again.
    expect(place(scene.page)).to_be_enabled()


def confirmation(scene: Scene) -> None:
    checkout(scene)
    place(scene.page).click()
    expect_confirmation(scene.page)


def confirmation_of_a_cancelled_order(scene: Scene) -> None:
    assert scene.shopper is not None
    placed = scene.order(scene.goods.book(copies=5))
    body_of(scene.shopper.send("POST", f"/ecom/orders/{placed['id']}/cancel"))
    scene.headed(f"/order-confirmation/{placed['id']}", "This order was cancelled")


def session_ended(scene: Scene) -> None:
    """Neither the refresh token nor the cookie is good any more, which the next request finds out."""
    orders_none(scene)
    scene.page.context.clear_cookies()
    scene.page.route(PLACES.endpoint("token"), lambda route: route.fulfill(status=400, headers=ANY_ORIGIN, json={"error": "invalid_grant"}))
    scene.fail("**/ecom/orders?*", 401, "unauthenticated")
    scene.page.get_by_label("Status").select_option("Shipped")
    expect(scene.page.get_by_role("heading", name="Please sign in again")).to_be_visible()
    expect(scene.page.get_by_role("link", name="Sign in again")).to_be_visible()


def orders_failed(scene: Scene) -> None:
    scene.fail("**/ecom/orders?*")
    scene.page.goto("/orders")
    expect(scene.page.get_by_role("button", name="Try again")).to_be_visible()


def orders_none(scene: Scene) -> None:
    scene.headed("/orders?status=DELIVERED", "No delivered orders")


def orders(scene: Scene) -> None:
    scene.order(scene.goods.book(copies=5))
    scene.headed("/orders", "Your orders")
    expect(scene.page.locator(".order-row").first).to_be_visible()


def order(scene: Scene) -> None:
    placed = scene.order(scene.goods.book(copies=5))
    scene.headed(f"/orders/{placed['id']}", f"Order {placed['id'][:8].upper()}")


def order_to_be_cancelled(scene: Scene) -> None:
    order(scene)
    scene.page.get_by_role("button", name="Cancel order").click()
    expect(scene.page.get_by_role("alertdialog", name="Cancel this order?")).to_be_visible()


def order_missing(scene: Scene) -> None:
    scene.headed(f"/orders/{NOBODY}", "Order not found")


def access_denied(scene: Scene) -> None:
    scene.headed("/admin", "Access denied")


SHOPPERS = [
    account_menu, session_ended, cart_that_cannot_be_ordered, cart_with_books_left_out, cart_failed, checkout, checkout_with_errors,
    checkout_refused, checkout_unavailable, checkout_at_another_price, confirmation, confirmation_of_a_cancelled_order, orders_none, orders,
    orders_failed, order, order_to_be_cancelled, order_missing, access_denied,
]  # fmt: skip
