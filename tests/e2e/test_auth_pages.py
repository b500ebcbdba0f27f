"""The identity provider's pages in the shop's look: every state under axe-core, the shop's colours and font, nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.live.conftest import PLACES, SHOP_ORIGIN
from tests.live.signin import CLIENT

from .appearance import settle, tab_to, violations
from .conftest import DESKTOP, PHONE
from .window import Window

Open = Callable[..., Window]
NOBODY = "5b1f7c1e-0000-4000-8000-000000000000"
# What the shop and these pages have in common, as the browser computes it: the frame, a heading, the first button, fonts.
COMMON = """([heading, button, brand]) => {
  const of = (selector, ...names) => {
    const style = getComputedStyle(document.querySelector(selector));
    return names.map((name) => style.getPropertyValue(name));
  };
  return {
    page: of('body', 'background-color', 'color', 'font-family', 'font-size'),
    heading: of(heading, 'font-family', 'font-weight', 'color'),
    button: of(button, 'background-color', 'color', 'border-radius', 'font-weight', 'min-height'),
    brand: of(brand, 'font-family', 'font-weight', 'font-size', 'color'),
    fonts: [...document.fonts].filter((one) => one.status === 'loaded').map((one) => one.family.replaceAll('"', ''))
      // Which stand-ins were shown meanwhile depends on how fast the fonts came.
      .filter((name) => !name.endsWith('Fallback')).sort(),
  };
}"""


def headed(page: Page, words: str) -> None:
    """The page is the one with this heading."""
    expect(page.get_by_role("heading", level=1, name=words, exact=True)).to_be_visible()


def asking(endpoint: str, **changes: str) -> str:
    """The address of an endpoint with a question of the shop's."""
    return f"{PLACES.endpoint(endpoint)}?{urlencode({'client_id': CLIENT, **changes})}"


def sign_in(page: Page) -> None:
    page.goto("/login")
    headed(page, "Sign in")
    expect(page.get_by_label("Username or email")).to_be_focused()


def sign_in_refused(page: Page) -> None:
    sign_in(page)
    page.get_by_label("Username or email").fill(f"nobody-{NOBODY}")
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Invalid username or password.")).to_be_visible()
    expect(page.get_by_label("Username or email")).to_have_accessible_description("Invalid username or password.")


def password_shown(page: Page) -> None:
    sign_in(page)
    page.get_by_label("Password", exact=True).fill("a secret")
    page.get_by_role("button", name="Show password").click()
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("type", "text")
    expect(page.get_by_role("button", name="Hide password")).to_be_visible()


def registration(page: Page) -> None:
    sign_in(page)
    page.get_by_role("link", name="Register").click()
    headed(page, "Create an account")


def registration_with_errors(page: Page) -> None:
    registration(page)
    page.get_by_label("Email").fill("no address")
    page.locator("#password").fill("short")
    page.locator("#password-confirm").fill("other")
    page.get_by_role("button", name="Register").click()
    for field in ("username", "password", "password-confirm", "email", "firstName", "lastName"):
        expect(page.locator(f"#{field}")).to_have_attribute("aria-invalid", "true")
        expect(page.locator(f"#input-error-{field}")).to_be_visible()
        expect(page.locator(f"#{field}")).to_have_accessible_description(re.compile(r"\w"))
    expect(page.locator("#username")).to_be_focused()


def refused(page: Page) -> None:
    page.goto(asking("auth", response_type="code", redirect_uri="https://elsewhere.test/"))
    headed(page, "Something went wrong")
    expect(page.get_by_role("link", name="Back to the shop")).to_have_attribute("href", f"{SHOP_ORIGIN}/")


def sign_out_asked(page: Page) -> None:
    page.goto(asking("logout"))
    headed(page, "Sign out")


def signed_out(page: Page) -> None:
    sign_out_asked(page)
    page.get_by_role("button", name="Sign out").click()
    headed(page, "You are signed out")


def page_expired(page: Page) -> None:
    sign_in(page)
    action = page.locator("#kc-form-login").get_attribute("action") or ""
    page.goto(re.sub(r"execution=[^&]+", f"execution={NOBODY}", action))
    headed(page, "This page has expired")


STATES = [
    sign_in, sign_in_refused, password_shown, registration, registration_with_errors, refused, sign_out_asked, signed_out, page_expired,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_nobody_finds_a_barrier(state: Callable[[Page], None], guest: Page) -> None:
    state(guest)
    assert violations(guest) == []


def test_an_expired_page_leads_on(guest: Page) -> None:
    page_expired(guest)
    guest.get_by_role("link", name="Continue").click()
    headed(guest, "Sign in")
    page_expired(guest)
    guest.get_by_role("link", name="Start again").click()
    headed(guest, "Sign in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_look_as_the_shop_does(guest: Page, scheme: str) -> None:
    def look(size: dict[str, int], *selectors: str) -> dict[str, Any]:
        settle(guest, size, scheme)
        guest.evaluate("document.fonts.ready")
        found: dict[str, Any] = guest.evaluate(COMMON, selectors)
        return found

    for size in (DESKTOP, PHONE):
        guest.goto("/login?failed=1")
        expect(guest.locator("main .button").first).to_be_visible()
        shop = look(size, "h1", "main .button", ".brand")
        sign_in(guest)
        ours = look(size, "h1", "#kc-login", "#kc-header-wrapper")
        # The form's button is the shop's large one.
        assert (shop["button"].pop(), ours["button"].pop()) == ("44px", "49.6px")
        assert ours == shop
        assert "Fraunces" in ours["fonts"]


def test_all_is_the_identity_providers_own(window: Open, api: httpx2.Client) -> None:
    visit = window()
    page = visit.page()
    sign_in(page)
    del visit.requests[:]
    page.reload()
    expect(page.locator("#kc-login")).to_be_visible()
    page.evaluate("document.fonts.ready")
    sources = {urlsplit(one.url)[:2] for one in visit.requests}
    assert {"://".join(source) for source in sources} == {PLACES.id}
    paths = [urlsplit(one.url).path.rpartition("/login/bookstore/")[2] for one in visit.requests if "/login/bookstore/" in one.url]
    assert {"css/bookstore.css", "fonts/fraunces-latin-wght-normal.woff2"} <= set(paths)
    icon = page.locator("link[rel=icon]").evaluate("link => link.href")
    sheet = page.locator("link[rel=stylesheet]").evaluate("link => link.href")
    script = page.locator("script[src*='/page.js']").evaluate("script => script.src")
    for address, kind in ((icon, "image/svg+xml"), (sheet, "text/css"), (script, "text/javascript")):
        # Kept for a month; the address changes with the content, for Keycloak's own part of it changes with its version alone.
        assert address == icon or re.search(r"\?[0-9a-f]{12}$", address)
        answer = api.get(address)
        assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (200, kind, "max-age=2592000")


def test_who_signs_in_by_keyboard_sees_where_they_are(guest: Page) -> None:
    sign_in(guest)
    for target in (
        guest.get_by_label("Password", exact=True),
        guest.get_by_role("button", name="Show password"),
        guest.get_by_role("button", name="Sign in", exact=True),
        guest.get_by_role("link", name="Register"),
        guest.get_by_role("link", name="Back to the shop"),
    ):
        tab_to(guest, target)
    guest.keyboard.press("Enter")
    expect(guest).to_have_url(f"{SHOP_ORIGIN}/")
