"""T-02: search by title, author and ISBN; nothing found, special characters, pages, the way back."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from .shelf import Shelf, isbn, word
from .window import Window

Open = Callable[..., Window]


def search(page: Page, text: str) -> None:
    """Type into the field in the frame, and press Enter."""
    field = page.get_by_label("Search books")
    field.fill(text)
    field.press("Enter")
    expect(page).to_have_url(re.compile(r"/search\?q="))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Results for “{text.strip()}”")


def expect_results(page: Page, *titles: str) -> None:
    """Exactly these books are shown, in any order."""
    expect(page.get_by_test_id("book-card")).to_have_count(len(titles))
    assert sorted(page.get_by_test_id("book-card").get_by_role("heading").all_inner_texts()) == sorted(titles)
    expect(page.get_by_test_id("result-count")).to_have_text(f"{len(titles)} result{'' if len(titles) == 1 else 's'}")


def test_a_word_of_the_title_finds_the_book(guest: Page, shelf: Shelf) -> None:
    rare = word()
    book = shelf.book(title=f"The {rare.upper()} and the sea")
    shelf.book()
    guest.goto("/")
    search(guest, rare)
    expect_results(guest, book["title"])
    guest.get_by_role("link", name=book["title"], exact=True).click()
    expect(guest.get_by_role("heading", level=1)).to_have_text(book["title"])


def test_an_authors_name_finds_all_of_their_books(guest: Page, shelf: Shelf) -> None:
    name = word().capitalize()
    books = [shelf.book(author=f"Ada {name}") for _ in range(2)]
    guest.goto("/")
    search(guest, name)
    expect_results(guest, *(book["title"] for book in books))


def test_an_isbn_finds_its_book(guest: Page, shelf: Shelf) -> None:
    number = isbn()
    book = shelf.book(isbn=number)
    guest.goto("/")
    search(guest, number)
    expect_results(guest, book["title"])
    # The field keeps what was asked, after a reload, too.
    guest.reload()
    expect(guest.get_by_label("Search books")).to_have_value(number)
    expect_results(guest, book["title"])


def test_nothing_found_says_so_and_shows_a_way_on(guest: Page) -> None:
    guest.goto("/")
    search(guest, word())
    expect(guest.get_by_role("heading", name="Nothing found")).to_be_visible()
    expect(guest.get_by_test_id("result-count")).to_have_text("0 results")
    # While the next search is under way, that says nothing of it.
    held: list[Route] = []
    guest.route("**/ecom/books/search?*", lambda route: held.append(route))
    with guest.expect_request("**/ecom/books/search?*"):
        search(guest, "the")
    expect(guest.get_by_role("heading", level=1)).to_have_text("Results for “the”")
    expect(guest.get_by_role("heading", name="Nothing found")).to_have_count(0)
    held[0].continue_()
    expect(guest.get_by_test_id("book-card").first).to_be_visible()
    guest.unroute("**/ecom/books/search?*")
    search(guest, word())
    expect(guest.get_by_role("heading", name="Nothing found")).to_be_visible()
    guest.get_by_role("link", name="Browse the catalogue").click()
    expect(guest.get_by_test_id("book-card").first).to_be_visible()
    # Nothing was asked for: no search is made.
    guest.goto("/search?q=++")
    expect(guest.get_by_role("heading", name="What are you looking for?")).to_be_visible()


def test_special_characters_are_text(window: Open, shelf: Shelf) -> None:
    visit, rare = window(), word()
    page = visit.page()
    book = shelf.book(title=f"100% {rare} & “more” <i>C++</i>")
    page.goto("/")
    for text in ("<img src=x onerror=alert(1)>", "%", "'; DROP TABLE books; --", "\\", "a & b | !c", "日本語", "\u202e", "x" * 100):
        search(page, text)
        expect(page.get_by_test_id("result-count")).to_have_text(re.compile(r"^\d+ results?$"))
    assert page.locator("main img[src=x]").count() == 0
    search(page, rare)
    expect_results(page, book["title"])
    bad = [one.url for one in visit.requests if "/ecom/books/search" in one.url and (answer := one.response()) and answer.status >= 400]
    assert bad == []


def test_results_have_pages(guest: Page, shelf: Shelf) -> None:
    rare = word()
    books = [shelf.book(title=f"{rare} {number:02d}") for number in range(13)]
    guest.goto("/")
    search(guest, rare)
    expect(guest.get_by_test_id("book-card")).to_have_count(12)
    expect(guest.get_by_test_id("result-count")).to_have_text("13 results")
    seen = set(guest.get_by_test_id("book-card").get_by_role("heading").all_inner_texts())
    guest.get_by_role("link", name="Next").click()
    expect(guest.get_by_test_id("book-card")).to_have_count(1)
    expect(guest).to_have_url(re.compile(rf"q={rare}&page=2$"))
    seen |= set(guest.get_by_test_id("book-card").get_by_role("heading").all_inner_texts())
    assert seen == {book["title"] for book in books}


def test_the_way_back_leads_to_the_same_results(guest: Page, shelf: Shelf) -> None:
    rare = word()
    books = [shelf.book(title=f"{rare} {name}") for name in ("one", "two")]
    guest.goto("/")
    search(guest, rare)
    expect_results(guest, *(book["title"] for book in books))
    guest.get_by_role("link", name=books[0]["title"], exact=True).click()
    expect(guest.get_by_role("heading", level=1)).to_have_text(books[0]["title"])
    guest.go_back()
    expect(guest.get_by_label("Search books")).to_have_value(rare)
    expect_results(guest, *(book["title"] for book in books))
    guest.go_back()
    expect(guest.get_by_role("heading", level=1)).to_have_text("Books with room to think")
    guest.go_forward()
    expect_results(guest, *(book["title"] for book in books))
