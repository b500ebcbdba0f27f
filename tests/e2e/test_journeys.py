"""The two journeys that the shop is for: from a guest to an order, and from an administrator's new book to its buyer."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.live.goods import Goods
from tests.live.people import People
from tests.live.signin import Shopper, body_of

from .buying import expect_confirmation, expect_count, expect_lines, fill_address, place
from .conftest import sign_in
from .pictures import Pictures, pictures  # noqa: F401 (fixture)
from .shelf import Shelf, isbn, word
from .steps import account_button
from .window import Window

Open = Callable[..., Window]


def test_journey_of_a_guest_to_an_order(window: Open, people: People, shelf: Shelf, pictures: Pictures) -> None:  # noqa: F811
    mark = word()
    title = f"A Field Guide to Winter Light{pictures.word(mark)}"
    text = "What frost, low sun and long shadows do to a landscape one believed to know, told in forty short walks."
    facts = {"published_year": 2021, "description": text, "isbn": isbn(), "genre": pictures.genre("Essays")}
    shelf.book(title=title, author="Ines Marlow", price="18.50", **facts)
    account, page = people.account(), window().page()
    page.goto("/")
    expect(page.get_by_test_id("book-card")).to_have_count(12)
    expect(page.locator("article[data-stock]:not([data-stock=loading])")).to_have_count(12)
    pictures.keep(page, "catalogue")
    page.get_by_label("Search books").fill("winter light")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=title, exact=True)).to_be_visible()
    pictures.keep(page, "search")
    page.get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_text("In stock: 50 copies")).to_be_visible()
    pictures.keep(page, "product")
    page.get_by_role("button", name="Add to cart").click()
    expect_count(page, 1)
    page.get_by_role("link", name="Cart, 1 item", exact=True).click()
    expect_lines(page, 1)
    pictures.keep(page, "cart")
    page.get_by_role("link", name="Sign in to check out").click()
    expect(page.locator("#kc-login")).to_be_visible()
    pictures.keep(page, "sign-in")
    sign_in(page, account, account.password)
    account_button(page, account.username)
    page.get_by_role("link", name="Check out", exact=True).click()
    fill_address(page)
    pictures.keep(page, "checkout")
    place(page).click()
    order = expect_confirmation(page)
    expect(page.get_by_role("main")).to_contain_text("$18.50")
    pictures.keep(page, "confirmation")
    page.goto("/orders")
    expect(page.locator(".order-row")).to_have_count(1)
    pictures.keep(page, "orders")
    page.locator(".order-row").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name=f"Order {order[:8].upper()}")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text(title)
    pictures.keep(page, "order")


def test_journey_of_a_new_book_to_its_buyer(
    window: Open, office: Page, people: People, goods: Goods, admin: Shopper, pictures: Pictures  # noqa: F811
) -> None:
    mark = word()
    title = f"Harbours of the Inner Sea{pictures.word(mark)}"
    office.goto("/admin")
    expect(office.locator(".tiles").first).to_be_visible()
    pictures.keep(office, "admin-overview")
    office.goto("/admin/books")
    expect(office.get_by_test_id("admin-book").first).to_be_visible()
    pictures.keep(office, "admin-books")
    office.get_by_role("link", name="Add a book").click()
    form = office.get_by_role("form", name="Book")
    for label, value in {
        "Title": title, "Author": "Tomas Eide", "Genre": pictures.genre("Travel"), "Price in US dollars": "24.00",
        "Copies on the shelf": "6",
    }.items():  # fmt: skip
        form.get_by_label(label).fill(value)
    pictures.keep(office, "admin-new-book")
    form.get_by_role("button", name="Add the book").click()
    expect(office.get_by_role("heading", level=1)).to_have_text(title)
    goods.adopt(office.url.rpartition("/")[2])
    pictures.keep(office, "admin-book")
    buyer = people.customer()
    page = window(buyer).page()
    page.goto("/search?q=harbours+inner+sea")
    page.get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_text("In stock: 6 copies")).to_be_visible()
    page.get_by_role("button", name="Add to cart").click()
    expect_count(page, 1)
    page.goto("/checkout")
    fill_address(page)
    place(page).click()
    order = expect_confirmation(page)
    assert [line["title"] for line in body_of(admin.get(f"/admin/orders/{order}"))["items"]] == [title]
    office.goto("/admin/stock?q=harbours")
    expect(office.get_by_test_id("stock-row").filter(has_text=title)).to_contain_text("5")
    pictures.keep(office, "admin-stock")
    office.goto("/admin/orders")
    expect(office.locator("tbody tr").first).to_be_visible()
    pictures.keep(office, "admin-orders")
    office.goto(f"/admin/orders/{order}")
    expect(office.get_by_role("button", name="Mark as shipped")).to_be_visible()
    pictures.keep(office, "admin-order")
