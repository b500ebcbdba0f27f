"""T-06: a signed-in shopper's cart: add, plus, minus, remove, clear, totals, badge, and that nobody else sees it."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from tests.live.conftest import SHOP_ORIGIN
from tests.live.goods import Goods
from tests.live.people import People
from tests.live.signin import Shopper

from .buying import expect_count, expect_lines, line_of
from .window import Window

Open = Callable[..., Window]


def test_a_book_that_is_added_is_in_the_cart_on_the_server(shop: Page, customer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=5, price="12.50")
    shop.goto(f"/books/{book['id']}")
    shop.get_by_role("button", name="One more").click()
    shop.get_by_role("button", name="Add to cart").click()
    expect_count(shop, 2)
    shop.get_by_role("link", name="Cart, 2 items").click()
    expect(line_of(shop, book)).to_contain_text("$12.50")
    expect(line_of(shop, book).get_by_test_id("line-total")).to_have_text("$25.00")
    assert [(item["book_id"], item["quantity"]) for item in customer.cart()["items"]] == [(book["id"], 2)]


def test_plus_and_the_field_raise_a_line_up_to_99(shop: Page, customer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=200)
    customer.add(book["id"])
    shop.goto("/cart")
    line = line_of(shop, book)
    line.get_by_role("button", name="One more").press("Enter")
    expect_count(shop, 2)
    # The request did not take the focus away.
    expect(line.get_by_role("button", name="One more")).to_be_focused()
    copies = line.get_by_label(f"Copies of {book['title']}").get_by_role("textbox").or_(line.get_by_role("textbox"))
    copies.fill("99")
    copies.press("Enter")
    expect_count(shop, 99)
    expect(line.get_by_role("button", name="One more")).to_be_disabled()
    # What is no quantity is not taken, and stays to be mended.
    for wrong in ("0", "100", "-1", "two"):
        copies.fill(wrong)
        expect(copies).to_have_attribute("aria-invalid", "true")
        copies.press("Enter")
        expect(copies).to_have_value(wrong)
        expect(copies).to_have_accessible_description("Enter 1 to 99")
    copies.press("Escape")
    expect(copies).to_have_value("99")
    assert customer.cart()["items"][0]["quantity"] == 99


def test_minus_lowers_a_line_and_at_one_removes_it(shop: Page, customer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=5)
    customer.add(book["id"], 2)
    shop.goto("/cart")
    less = line_of(shop, book).get_by_role("button", name="One less")
    less.click()
    expect_count(shop, 1)
    assert customer.cart()["items"][0]["quantity"] == 1
    less.click()
    expect(shop.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    expect_count(shop, 0)
    assert customer.cart()["items"] == []


def test_remove_takes_one_line_and_leaves_the_others(shop: Page, customer: Shopper, goods: Goods) -> None:
    gone, kept = goods.book(copies=5), goods.book(copies=5)
    customer.add(gone["id"], 3)
    customer.add(kept["id"])
    shop.goto("/cart")
    expect_lines(shop, 2)
    shop.get_by_role("button", name=f"Remove {gone['title']}").press("Enter")
    expect_lines(shop, 1)
    # Whoever uses the keyboard goes on at the next line.
    expect(line_of(shop, kept).get_by_role("link", name=kept["title"])).to_be_focused()
    expect(line_of(shop, kept)).to_be_visible()
    expect_count(shop, 1)
    shop.reload()
    expect_lines(shop, 1)
    assert [item["book_id"] for item in customer.cart()["items"]] == [kept["id"]]
    # What fails after one has gone on is told all the same, until one has seen it.
    held: list[Route] = []
    shop.route("**/ecom/cart/items/*", lambda route: held.append(route))
    with shop.expect_request("**/ecom/cart/items/*"):
        shop.get_by_role("button", name=f"Remove {kept['title']}").click()
        shop.get_by_role("link", name="Marginalia").click()
    expect(shop.get_by_test_id("book-card").first).to_be_visible()
    held[0].fulfill(status=503, headers={"access-control-allow-origin": SHOP_ORIGIN}, json={"code": "dependency_unavailable"})
    told = shop.get_by_text(f"“{kept['title']}” was not changed in your cart.")
    expect(told).to_be_visible()
    shop.get_by_role("button", name="Dismiss").click()
    expect(told).to_have_count(0)


def test_clear_asks_first_and_then_empties_the_cart(shop: Page, customer: Shopper, goods: Goods) -> None:
    for book in (goods.book(copies=5), goods.book(copies=5)):
        customer.add(book["id"], 2)
    shop.goto("/cart")
    expect_lines(shop, 2)
    shop.get_by_role("button", name="Clear cart").click()
    question = shop.get_by_role("alertdialog", name="Empty the cart?")
    expect(question).to_contain_text("All 4 copies will be taken out.")
    question.get_by_role("button", name="Keep as it is").click()
    expect(question).to_have_count(0)
    expect_lines(shop, 2)
    shop.get_by_role("button", name="Clear cart").click()
    question.get_by_role("button", name="Clear cart").press("Enter")
    expect(shop.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    expect(shop.get_by_role("main")).to_be_focused()
    assert customer.cart()["items"] == []


def test_totals_are_exact_and_follow_each_change(shop: Page, customer: Shopper, goods: Goods) -> None:
    # Sums that binary fractions get wrong: 0.1 + 0.2.
    dime, fifth = goods.book(copies=50, price="0.10"), goods.book(copies=50, price="0.20")
    customer.add(dime["id"], 3)
    customer.add(fifth["id"], 3)
    shop.goto("/cart")
    total = shop.get_by_test_id("cart-total")
    expect(total).to_have_text("$0.90")
    expect(line_of(shop, dime).get_by_test_id("line-total")).to_have_text("$0.30")
    line_of(shop, fifth).get_by_role("button", name="One more").click()
    expect(line_of(shop, fifth).get_by_test_id("line-total")).to_have_text("$0.80")
    expect(total).to_have_text("$1.10")
    summary = shop.get_by_role("complementary", name="Summary")
    expect(summary).to_contain_text("Copies7")
    assert customer.cart()["total"] == "1.10"


def test_the_badge_counts_on_every_page_and_in_every_tab(window: Open, people: People, goods: Goods) -> None:
    book, shopper = goods.book(copies=50), people.customer()
    visit = window(shopper)
    page, other = visit.page(), visit.page()
    for tab in (page, other):
        tab.goto("/")
        expect_count(tab, 0)
    page.goto(f"/books/{book['id']}")
    page.get_by_role("button", name="Add to cart").click()
    expect_count(page, 1)
    page.get_by_role("link", name="Marginalia").click()
    expect_count(page, 1)
    # The other tab learns of it when it is looked at again.
    other.bring_to_front()
    other.evaluate("() => window.dispatchEvent(new Event('visibilitychange'))")
    expect_count(other, 1)


def test_nobody_sees_or_changes_somebody_elses_cart(window: Open, people: People, goods: Goods) -> None:
    book = goods.book(copies=5)
    owner, stranger = people.customers(2)
    mine = owner.add(book["id"], 2)
    page = window(stranger).page()
    page.goto("/cart")
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    expect_count(page, 0)
    item = mine["items"][0]["id"]
    assert stranger.send("PUT", f"/ecom/cart/items/{item}", {"quantity": 9}).status_code == 404
    assert stranger.send("DELETE", f"/ecom/cart/items/{item}").status_code == 204
    assert owner.cart() == mine
    theirs = window(owner).page()
    theirs.goto("/cart")
    expect(line_of(theirs, book)).to_be_visible()
    expect_count(theirs, 2)
