"""What people do and see on many pages."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from tests.live.conftest import SHOP_ORIGIN
from tests.live.people import Account

from .conftest import sign_in

# A page signs in silently before it knows its visitor, which takes seconds where many browsers share two processors.
SIGNED_IN_MS = 20_000


def account_button(page: Page, name: str) -> None:
    """Somebody is signed in, and this is their name."""
    expect(page.get_by_role("button", name=f"Account: {name}")).to_be_visible(timeout=SIGNED_IN_MS)


def enter(page: Page, account: Account, path: str = "/") -> None:
    """Sign in by hand on the way to a page, and be there."""
    page.goto(f"/login?return={quote(path, safe='')}")
    sign_in(page, account, account.password)
    expect(page).to_have_url(f"{SHOP_ORIGIN}{path}")
    account_button(page, account.username)


def sign_out(page: Page, name: str) -> None:
    """Use the menu."""
    page.get_by_role("button", name=f"Account: {name}").click()
    page.get_by_role("button", name="Sign out").click()


def expect_guest(page: Page) -> None:
    """It is known that nobody is signed in."""
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible(timeout=SIGNED_IN_MS)


def badge(scope: Page | Locator) -> Locator:
    """The word about a book's stock: always on its page, in a card or a line only if the stock is low or not known."""
    return scope.locator(".badge[data-stock]")
