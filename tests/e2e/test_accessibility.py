"""Every state of the shop under axe-core, at desktop and phone size, light and dark; one whole purchase by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.live.goods import Goods, Sql
from tests.live.people import People
from tests.live.signin import Shopper

from .appearance import tab_to, violations
from .buying import ADDRESS, expect_confirmation, expect_count, place
from .office import ADMINISTRATORS
from .shelf import Shelf
from .states import GUESTS, SHOPPERS, Scene
from .steps import account_button
from .window import Window

Open = Callable[..., Window]


@pytest.mark.parametrize("state", GUESTS, ids=lambda state: state.__name__)
def test_a_guest_finds_no_barrier(state: Callable[[Scene], None], guest: Page, goods: Goods, inventory_sql: Sql) -> None:
    state(Scene(guest, goods, inventory_sql))
    assert violations(guest) == []


@pytest.mark.parametrize("state", SHOPPERS, ids=lambda state: state.__name__)
def test_a_customer_finds_no_barrier(
    state: Callable[[Scene], None], shop: Page, customer: Shopper, goods: Goods, inventory_sql: Sql
) -> None:
    state(Scene(shop, goods, inventory_sql, customer))
    assert violations(shop) == []


@pytest.mark.parametrize("state", ADMINISTRATORS, ids=lambda state: state.__name__)
def test_an_administrator_finds_no_barrier(
    state: Callable[[Scene], None], office: Page, customer: Shopper, admin: Shopper, goods: Goods, inventory_sql: Sql
) -> None:
    state(Scene(office, goods, inventory_sql, customer, admin))
    assert violations(office) == []


def test_a_book_is_bought_by_keyboard_alone(window: Open, people: People, shelf: Shelf) -> None:
    book, account = shelf.book(), people.account()
    visit = window()
    page = visit.page()
    press = page.keyboard.press
    page.goto("/")
    expect(page.get_by_test_id("book-card").first).to_be_visible()
    press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    tab_to(page, page.get_by_label("Search books"))
    page.keyboard.type(book["title"])
    press("Enter")
    tab_to(page, page.get_by_role("link", name=book["title"], exact=True))
    press("Enter")
    expect(page.get_by_role("heading", name=book["title"])).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Add to cart"))
    press("Enter")
    # The announcement does not take the focus away.
    expect_count(page, 1)
    expect(page.get_by_role("button", name="Add to cart")).to_be_focused()
    tab_to(page, page.get_by_role("link", name="Cart, 1 item", exact=True))
    press("Enter")
    tab_to(page, page.get_by_role("link", name="Sign in to check out"))
    press("Enter")
    expect(page.locator("#username")).to_be_focused()
    page.keyboard.type(account.username)
    press("Tab")
    page.keyboard.type(account.password)
    press("Enter")
    account_button(page, account.username)
    tab_to(page, page.get_by_role("link", name="Check out", exact=True))
    press("Enter")
    for label, value in ADDRESS.items():
        tab_to(page, page.get_by_label(label))
        page.keyboard.type(str(value))
    # The last field is a list, in which Enter does not send the form.
    tab_to(page, place(page))
    press("Enter")
    expect_confirmation(page)
