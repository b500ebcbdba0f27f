"""Where things stand: on a phone nothing of a page is out of sight, and the frame is the same for everybody."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.live.goods import Goods
from tests.live.signin import Shopper, body_of

from .conftest import DESKTOP, PHONE
from .steps import account_button, expect_guest
from .window import Window

Open = Callable[..., Window]
SMALL = {"width": 320, "height": 640}


def beyond(page: Page, parts: Locator) -> list[str]:
    """The text of each of these that does not lie within the width of the screen."""
    code = """(nodes) => nodes.filter((node) => {
      const { left, right } = node.getBoundingClientRect();
      return left < 0 || right > innerWidth;
    }).map((node) => node.textContent)"""
    assert parts.count() > 0, "there is nothing to look at"
    found: list[str] = parts.evaluate_all(code)
    return found


def centre(part: Locator) -> float:
    box = part.bounding_box()
    assert box is not None
    return box["y"] + box["height"] / 2


def order(shopper: Shopper, goods: Goods) -> str:
    """An order of the shopper's; returns its id."""
    total = shopper.add(goods.book(copies=9)["id"])["total"]
    return str(body_of(shopper.checkout(str(uuid.uuid4()), total))["id"])


@pytest.mark.parametrize("size", [PHONE, SMALL], ids=lambda size: f"{size['width']}")
def test_on_a_phone_the_administrators_area_is_on_the_screen(
    size: dict[str, int], office: Page, customer: Shopper, goods: Goods
) -> None:
    placed = order(customer, goods)
    office.set_viewport_size(size)  # type: ignore[arg-type]
    for path, row in (("books", "admin-book"), ("stock", "stock-row"), ("orders", "admin-order")):
        office.goto(f"/admin/{path}")
        expect(office.get_by_test_id(row).first).to_be_visible()
        tabs = office.get_by_role("navigation", name="Admin").get_by_role("link")
        expect(tabs).to_have_count(5)
        assert beyond(office, tabs) == [], f"tabs of {path}"
        assert beyond(office, office.get_by_test_id(row).first.locator("th, td")) == [], f"values of {path}"
    office.goto(f"/admin/orders/{placed}")
    expect(office.get_by_role("heading", name="Goes to")).to_be_visible()
    assert beyond(office, office.get_by_role("region", name="Items").locator("tbody th, td")) == []


def test_a_table_on_a_phone_is_one_for_those_who_hear_it(office: Page) -> None:
    office.set_viewport_size(PHONE)  # type: ignore[arg-type]
    office.goto("/admin/books")
    table = office.get_by_role("region", name="Books").get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(["Title", "Author", "ISBN", "Price", "Stock", "Available", "State", "Actions"])
    first = table.get_by_role("row").nth(1)
    expect(first.get_by_role("rowheader")).to_have_count(1)
    expect(first.get_by_role("cell")).to_have_count(7)


@pytest.mark.parametrize("size", [PHONE, SMALL], ids=lambda size: f"{size['width']}")
def test_the_price_of_an_order_stands_at_the_end_of_its_line(size: dict[str, int], shop: Page, customer: Shopper, goods: Goods) -> None:
    order(customer, goods)
    shop.set_viewport_size(size)  # type: ignore[arg-type]
    shop.goto("/orders")
    row = shop.locator(".order-row").first
    expect(row).to_be_visible()
    assert abs(centre(row.locator(".price")) - centre(row.locator(".hint"))) < 6
    ends = row.evaluate("(row) => ['.price', '.badge'].map((part) => row.querySelector(part).getBoundingClientRect().right)")
    assert abs(ends[0] - ends[1]) < 2, ends


def test_an_orders_number_has_figures_that_can_be_told_apart(shop: Page, customer: Shopper, goods: Goods) -> None:
    """Of the page's sans: the headings' font has figures with swashes."""
    placed = order(customer, goods)
    for path in (f"/orders/{placed}", f"/order-confirmation/{placed}", "/orders"):
        shop.goto(path)
        number = shop.get_by_text(placed[:8].upper(), exact=True).first
        expect(number).to_be_visible()
        assert number.evaluate("(node) => getComputedStyle(node).fontFamily").startswith("Figtree"), path


def test_the_search_field_has_one_place_for_everybody(window: Open, guest: Page, customer: Shopper, admin: Shopper) -> None:
    places = set()
    for shopper, page in ((None, guest), (customer, window(customer).page()), (admin, window(admin).page())):
        page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
        page.goto("/")
        if shopper is None:
            expect_guest(page)
        else:
            account_button(page, shopper.username)
        box = page.get_by_role("search").bounding_box()
        assert box is not None
        places.add((box["x"], box["width"]))
    assert len(places) == 1, places


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=lambda size: f"{size['width']}")
def test_a_books_page_stands_still_while_its_parts_arrive(size: dict[str, int], guest: Page, goods: Goods) -> None:
    book = goods.book(copies=3)
    guest.set_viewport_size(size)  # type: ignore[arg-type]
    guest.add_init_script("""window.moved = []; new PerformanceObserver((list) => {
      for (const one of list.getEntries()) window.moved.push(one.value);
    }).observe({ type: 'layout-shift', buffered: true })""")
    guest.goto(f"/books/{book['id']}")
    expect(guest.get_by_text("Only 3 left")).to_be_visible()
    expect_guest(guest)
    expect(guest.locator(".more .skeleton")).to_have_count(0)
    moved: list[float] = guest.evaluate("window.moved")
    assert sum(moved) < 0.01, moved
