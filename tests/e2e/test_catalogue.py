"""T-01: the list of books: cards, pages, order, genre, stock badges, sold out, Inventory down, caching."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote_plus

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from tests.live.waiting import until
from tests.live.workloads import Workloads

from .shelf import Book, Shelf
from .steps import badge
from .window import Window

Open = Callable[..., Window]


def card(page: Page, book: Book) -> Locator:
    return page.get_by_test_id("book-card").filter(has=page.get_by_role("link", name=book["title"], exact=True))


def titles(page: Page) -> Locator:
    return page.get_by_test_id("book-card").get_by_role("heading")


def browse(page: Page, shelf: Shelf, more: str = "") -> None:
    """The catalogue of the test's own genre."""
    page.goto(f"/?genre={quote_plus(shelf.genre)}{more}")


def test_each_book_has_a_card_that_leads_to_it(guest: Page, shelf: Shelf) -> None:
    book = shelf.book(title="A <b>bold</b> & \"quoted\" title", author="Ada O'Test", price="1234.50")
    guest.goto("/")
    # Seed books of SPEC, and a full page of them.
    expect(guest.get_by_test_id("book-card")).to_have_count(12)
    browse(guest, shelf)
    mine = card(guest, book)
    # What looks like markup stays text.
    expect(mine.get_by_role("heading")).to_have_text(book["title"])
    expect(mine).to_contain_text("Ada O'Test")
    expect(mine).to_contain_text("$1,234.50")
    expect(mine.locator(".cover")).to_be_visible()
    mine.get_by_role("link", name=book["title"]).click()
    expect(guest).to_have_url(re.compile(rf"/books/{book['id']}$"))
    expect(guest.get_by_role("heading", level=1)).to_have_text(book["title"])


def test_pages_are_in_the_address(guest: Page, shelf: Shelf) -> None:
    books = [shelf.book(title=f"Page {number:02d} of {shelf.genre}") for number in range(13)]
    browse(guest, shelf)
    expect(titles(guest)).to_have_text([book["title"] for book in books[:12]])
    guest.get_by_role("link", name="Next").click()
    expect(titles(guest)).to_have_text([books[12]["title"]])
    expect(guest).to_have_url(re.compile(r"[?&]page=2"))
    expect(guest.get_by_role("link", name="Page 2")).to_have_attribute("aria-current", "page")
    guest.reload()
    expect(titles(guest)).to_have_text([books[12]["title"]])
    guest.go_back()
    expect(titles(guest)).to_have_count(12)
    browse(guest, shelf, "&page=9")
    expect(guest.get_by_text("This page is beyond the last one.")).to_be_visible()


def test_the_order_is_chosen_and_kept(guest: Page, shelf: Shelf) -> None:
    facts = {"Bee": ("3.00", 1900), "Ant": ("5.00", 2000), "Cat": ("1.00", 1950)}
    for title, (price, year) in facts.items():
        shelf.book(title=title, price=price, published_year=year)
    browse(guest, shelf)
    expect(titles(guest)).to_have_text(["Ant", "Bee", "Cat"])
    wanted = {
        "Title, Z to A": ["Cat", "Bee", "Ant"], "Price, low to high": ["Cat", "Bee", "Ant"], "Price, high to low": ["Ant", "Bee", "Cat"],
        "Published, newest first": ["Ant", "Cat", "Bee"], "Published, oldest first": ["Bee", "Cat", "Ant"],
        "New in the shop": ["Cat", "Ant", "Bee"],
    }  # fmt: skip
    for words, order in wanted.items():
        guest.get_by_label("Sort by").select_option(words)
        expect(titles(guest)).to_have_text(order)
    expect(guest).to_have_url(re.compile("sort=-created_at"))
    guest.reload()
    expect(titles(guest)).to_have_text(wanted["New in the shop"])


def test_a_genre_shows_its_books_alone(guest: Page, shelf: Shelf) -> None:
    book = shelf.book()
    guest.goto("/")
    guest.get_by_label("Genre").select_option(f"{shelf.genre} (1)")
    expect(guest.get_by_role("heading", level=1)).to_have_text(shelf.genre)
    expect(titles(guest)).to_have_text([book["title"]])
    expect(guest.get_by_text("1 book", exact=True)).to_be_visible()
    guest.reload()
    expect(titles(guest)).to_have_text([book["title"]])
    guest.get_by_label("Genre").select_option("All genres")
    expect(guest.get_by_test_id("book-card")).to_have_count(12)
    guest.goto("/?genre=Nothing+is+in+it")
    expect(guest.get_by_text("No book matches this choice.")).to_be_visible()


def test_badges_tell_the_stock_after_one_call_for_all(window: Open, shelf: Shelf) -> None:
    plenty, few, none = shelf.book(), shelf.book(initial_quantity=3), shelf.book(initial_quantity=0)
    visit = window()
    page = visit.page()
    browse(page, shelf)
    # A word stands only where something is special; that a book is sold out is the button's to say.
    for book, state, words in ((plenty, "in_stock", []), (few, "low_stock", ["Only 3 left"]), (none, "out_of_stock", [])):
        expect(card(page, book)).to_have_attribute("data-stock", state)
        expect(badge(card(page, book))).to_have_text(words)
    expect(card(page, none).get_by_role("button", name=f"Sold out: {none['title']}")).to_be_disabled()
    asked = [one for one in visit.requests if "/inven/stock" in one.url and one.method != "OPTIONS"]
    assert len(asked) == 1, [one.url for one in asked]


def test_what_is_sold_out_cannot_be_added(guest: Page, shelf: Shelf) -> None:
    none, some = shelf.book(initial_quantity=0), shelf.book()
    browse(guest, shelf)
    sold = guest.get_by_role("button", name=f"Sold out: {none['title']}")
    expect(sold).to_be_disabled()
    sold.click(force=True)
    guest.get_by_role("button", name=f"Add to cart: {some['title']}").click()
    expect(guest.get_by_role("button", name=f"Added ✓: {some['title']}")).to_be_visible()
    expect(guest.get_by_role("link", name="Cart, 1 item")).to_be_visible()


@pytest.mark.serial
def test_without_inventory_one_can_browse(guest: Page, shelf: Shelf, cluster: Cluster) -> None:
    book = shelf.book()
    with Workloads(cluster).without("Deployment", "inventory", "inventory-api"):
        browse(guest, shelf)
        expect(badge(card(guest, book))).to_have_text("Stock unknown", timeout=30_000)
        guest.get_by_role("button", name=f"Add to cart: {book['title']}").click()
        expect(guest.get_by_role("link", name="Cart, 1 item")).to_be_visible()
        guest.get_by_role("link", name=book["title"], exact=True).click()
        expect(guest.get_by_text("Stock cannot be checked just now.")).to_be_visible(timeout=30_000)

    def known() -> bool:
        browse(guest, shelf)
        expect(card(guest, book)).not_to_have_attribute("data-stock", "loading", timeout=30_000)
        return card(guest, book).get_attribute("data-stock") == "in_stock"

    until(known, "the badge to know again", 60, pause=2)


def test_lists_may_be_cached_and_are_asked_for_again_with_their_tag(guest: Page, shelf: Shelf, api: httpx2.Client) -> None:
    shelf.book()
    with guest.expect_response(lambda answer: "/ecom/books?" in answer.url and answer.request.method == "GET") as listed:
        browse(guest, shelf)
    headers = listed.value.headers
    assert re.fullmatch(r"public, max-age=\d+", headers["cache-control"]), headers["cache-control"]
    tag = headers["etag"]
    path = listed.value.url.partition("bookstore.test:30000")[2]
    again = api.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    shelf.book()
    fresh = api.get(path, headers={"If-None-Match": tag, "Cache-Control": "no-cache"})
    assert fresh.status_code == 200
    assert fresh.headers["etag"] != tag
