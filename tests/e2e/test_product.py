"""T-03: one book's page: its facts, the bounds of the quantity, adding, unknown ids, stock, and links from outside."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.live.goods import Sql

from .shelf import Shelf, isbn
from .steps import account_button, badge
from .window import Window

Open = Callable[..., Window]


def test_all_facts_are_shown(guest: Page, shelf: Shelf) -> None:
    number = isbn()
    book = shelf.book(title="Facts", author="Ada Test", price="7.05", isbn=number, published_year=1851, description="One.\n\nTwo <script>.")
    guest.goto(f"/books/{book['id']}")
    expect(guest.get_by_role("heading", level=1)).to_have_text("Facts")
    expect(guest).to_have_title("Facts · Marginalia")
    for words in ("by Ada Test", "$7.05", "Two <script>."):
        expect(guest.get_by_role("article")).to_contain_text(words)
    facts = guest.locator("dl.facts > div")
    expect(facts).to_have_text(["AuthorAda Test", f"Genre{shelf.genre}", "Published1851", f"ISBN{number}"])
    guest.get_by_role("link", name=shelf.genre).click()
    expect(guest.get_by_role("heading", level=1)).to_have_text(shelf.genre)
    bare = shelf.book()
    guest.goto(f"/books/{bare['id']}")
    expect(facts.nth(2)).to_have_text("Publishednot given")


def test_the_quantity_stays_between_1_and_99(guest: Page, shelf: Shelf) -> None:
    book = shelf.book(initial_quantity=200)
    guest.goto(f"/books/{book['id']}")
    copies = guest.get_by_role("textbox", name="Copies")
    less, more = guest.get_by_role("button", name="One less"), guest.get_by_role("button", name="One more")
    expect(copies).to_have_value("1")
    expect(less).to_be_disabled()
    more.click()
    expect(copies).to_have_value("2")
    less.click()
    expect(copies).to_have_value("1")
    copies.fill("99")
    copies.press("Enter")
    expect(more).to_be_disabled()
    for wrong in ("0", "100", "-3", "1.5", "many", ""):
        copies.fill(wrong)
        expect(copies).to_have_attribute("aria-invalid", "true")
        copies.press("Enter")
        expect(copies).to_have_value(wrong)
        expect(copies).to_have_accessible_description("Enter 1 to 99")
    # Nothing is added that was not meant.
    expect(guest.get_by_role("button", name="Add to cart")).to_be_disabled()
    copies.press("Escape")
    expect(copies).to_have_value("99")
    expect(guest.get_by_role("button", name="Add to cart")).to_be_enabled()


def test_copies_are_added_to_the_cart(guest: Page, shelf: Shelf) -> None:
    book = shelf.book()
    guest.goto(f"/books/{book['id']}")
    guest.get_by_role("textbox", name="Copies").fill("3")
    guest.get_by_role("button", name="Add to cart").click()
    expect(guest.get_by_text(f"“{book['title']}” is in your cart.")).to_be_visible()
    expect(guest.get_by_role("link", name="Cart, 3 items")).to_be_visible()
    guest.get_by_role("button", name="Add", exact=False).filter(has_text="Add").first.click()
    expect(guest.get_by_role("link", name="Cart, 6 items")).to_be_visible()


def test_unknown_books_are_not_found(guest: Page, shelf: Shelf, ecom_sql: Sql) -> None:
    withdrawn = shelf.book()
    ecom_sql(f"UPDATE books SET active = false WHERE id = '{withdrawn['id']}'")
    for name in (str(uuid.uuid4()), "no-number", "1", withdrawn["id"]):
        guest.goto(f"/books/{name}")
        expect(guest.get_by_role("heading", level=1, name="Book not found")).to_be_visible()
        expect(guest.get_by_role("navigation", name="Main")).to_be_visible()
    guest.get_by_role("link", name="Browse the catalogue").click()
    expect(guest.get_by_test_id("book-card").first).to_be_visible()
    guest.goto("/books")
    expect(guest.get_by_role("heading", level=1, name="Page not found")).to_be_visible()


def test_stock_is_told_and_decides_what_can_be_bought(guest: Page, shelf: Shelf) -> None:
    plenty, few, none = shelf.book(), shelf.book(initial_quantity=2), shelf.book(initial_quantity=0)
    guest.goto(f"/books/{plenty['id']}")
    expect(badge(guest)).to_have_text("In stock: 50 copies")
    guest.goto(f"/books/{few['id']}")
    expect(badge(guest)).to_have_text("Only 2 left")
    guest.get_by_role("textbox", name="Copies").fill("5")
    guest.get_by_role("textbox", name="Copies").press("Enter")
    expect(guest.get_by_text("Only 2 of them can be delivered now.")).to_be_visible()
    guest.goto(f"/books/{none['id']}")
    expect(badge(guest)).to_have_text("Out of stock")
    expect(guest.get_by_role("button", name="Sold out")).to_be_disabled()
    expect(guest.get_by_role("textbox", name="Copies")).to_be_disabled()


def test_a_link_from_outside_leads_straight_to_the_book(window: Open, shelf: Shelf) -> None:
    book = shelf.book()
    visit = window(shelf.admin)
    page = visit.page()
    answer = page.goto(f"/books/{book['id']}?utm_source=elsewhere#reviews")
    assert answer is not None
    assert answer.status == 200
    expect(page.get_by_role("heading", level=1)).to_have_text(book["title"])
    account_button(page, shelf.admin.username)
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text(book["title"])
    assert [one for one in visit.asked("GET", f"/ecom/books/{book['id']}") if one.header_value("authorization")] == []
