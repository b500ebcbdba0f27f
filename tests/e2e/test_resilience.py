"""A page that a translator rewrites, a part that could not be fetched, and a realm that is away: the shop goes on (T-04, T-07)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.live.conftest import PLACES
from tests.live.goods import Goods
from tests.live.people import People
from tests.live.signin import Shopper, body_of
from tests.live.waiting import until

from .buying import expect_confirmation, fill_address, line_of, place
from .conftest import sign_in
from .states import ANY_ORIGIN
from .steps import SIGNED_IN_MS, account_button, expect_guest
from .window import Window

Open = Callable[..., Window]
# What a browser's translator does: each text leaves its place to two font elements with another text.
TRANSLATE = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) {
    if (text.data.trim() === '' || text.parentElement.closest('font, script, style, svg')) continue;
    const [outer, inner] = [document.createElement('font'), document.createElement('font')];
    outer.append(inner);
    inner.textContent = text.data;
    text.replaceWith(outer);
  }
}"""
CRASHED = "This page could not be shown"


@pytest.fixture
def buyer(people: People) -> Shopper:
    """A customer of the test's own."""
    return people.customer()


def translate(page: Page) -> None:
    page.evaluate(TRANSLATE)
    assert page.locator("font > font").count() > 0


def test_a_translated_page_still_sells(window: Open, buyer: Shopper, goods: Goods) -> None:
    book = goods.book(copies=5, price="8.00")
    buyer.add(book["id"], 1)
    page = window(buyer).page()
    page.goto("/cart")
    expect(line_of(page, book)).to_be_visible(timeout=SIGNED_IN_MS)
    translate(page)
    line_of(page, book).get_by_role("button", name="One more").click()
    expect(page.get_by_text("$16.00").first).to_be_visible()
    translate(page)
    page.get_by_role("link", name="Check out", exact=True).click()
    expect(page.get_by_test_id("checkout-total")).to_contain_text("$16.00")
    translate(page)
    place(page).click()
    expect(page.get_by_label("Full name")).to_have_attribute("aria-invalid", "true")
    translate(page)
    fill_address(page)
    expect(page.get_by_label("Full name")).to_have_attribute("aria-invalid", "false")
    translate(page)
    problem = {"type": "about:blank", "title": "Conflict", "status": 409, "detail": "Changed.", "code": "price_changed", "total": "17.00"}

    def refuse(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        headers = {**ANY_ORIGIN, "content-type": "application/problem+json"}
        route.fulfill(status=409, headers=headers, body=json.dumps(problem))

    page.route("**/ecom/checkout", refuse)
    place(page).click()
    expect(page.get_by_text("The price has changed.")).to_be_visible()
    translate(page)
    page.get_by_role("button", name="I have seen it").click()
    expect(page.get_by_text("The price has changed.")).to_have_count(0)
    page.unroute("**/ecom/checkout")
    translate(page)
    place(page).click()
    expect_confirmation(page)
    expect(page.get_by_text(CRASHED)).to_have_count(0)
    assert body_of(buyer.get("/ecom/orders"))["items"][0]["total"] == "16.00"


def test_a_part_that_failed_is_fetched_again(window: Open) -> None:
    """The shop answers, so the page is loaded anew, once; then it says so, and goes on as soon as the part is there."""
    visit = window()
    page = visit.page()
    page.goto("/")
    expect_guest(page)
    part = re.compile(r"/assets/cart-page-.*\.js")
    page.route(part, lambda route: route.abort())
    page.get_by_role("link", name=re.compile("^Cart")).click()
    expect(page.get_by_text(CRASHED)).to_be_visible(timeout=SIGNED_IN_MS)
    loaded = [one for one in visit.asked("GET", "/cart") if one.is_navigation_request() and one.frame == page.main_frame]
    assert len(loaded) == 1
    page.unroute(part)
    page.get_by_role("link", name="Browse the catalogue").click()
    page.get_by_role("link", name=re.compile("^Cart")).click()
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()


def test_the_sign_in_library_is_fetched_again(window: Open, people: People) -> None:
    """Away while the page was opened: the visitor is a guest then, and can sign in all the same."""
    account, page = people.account(), window().page()
    page.route(re.compile(r"/assets/oidc-.*\.js"), lambda route: route.abort())
    page.goto("/")
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible(timeout=SIGNED_IN_MS)
    page.unroute(re.compile(r"/assets/oidc-.*\.js"))
    page.get_by_role("link", name="Sign in", exact=True).click()
    sign_in(page, account, account.password)
    account_button(page, account.username)


def test_a_realm_that_is_away_signs_nobody_out(window: Open, buyer: Shopper) -> None:
    page = window(buyer).page()
    page.clock.install()
    page.goto("/orders")
    account_button(page, buyer.username)
    token = PLACES.endpoint("token")
    page.route(token, lambda route: route.fulfill(status=503, headers=ANY_ORIGIN, json={"error": "temporarily_unavailable"}))
    told = page.get_by_role("status").filter(has_text="The sign-in service does not answer. You stay signed in")

    def after(minutes: str, seen: bool) -> None:
        """Each attempt sets the time of the next, so the clock goes on in steps."""

        def step() -> bool:
            page.clock.fast_forward(minutes)
            return told.is_visible() == seen

        until(step, f"the notice to be {'there' if seen else 'gone'}", 60)

    after("02:00", seen=True)
    account_button(page, buyer.username)
    page.get_by_label("Status").select_option("Cancelled")
    # By the browser's clock the token has ended; it is sent all the same, and the services judge it.
    expect(page.get_by_text("No cancelled orders")).to_be_visible()
    page.unroute(token)
    after("00:40", seen=False)
    page.get_by_label("Status").select_option("Shipped")
    expect(page.get_by_text("No shipped orders")).to_be_visible()
    account_button(page, buyer.username)
