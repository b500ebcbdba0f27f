"""T-11: the administrator's books: create, edit, stale edit, ISBN, validation, withdrawal, and what shoppers see of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.live.goods import Goods
from tests.live.people import People
from tests.live.signin import Shopper, body_of

from .shelf import Book, Shelf, isbn, word
from .window import Window

Open = Callable[..., Window]


def fill(page: Page, **fields: str) -> None:
    """Fill in the form; names are those of labels."""
    labels = {
        "title": "Title", "author": "Author", "price": "Price in US dollars", "year": "Year of publication", "isbn": "ISBN-13",
        "genre": "Genre", "copies": "Copies on the shelf", "description": "Description", "cover": "Cover picture",
    }  # fmt: skip
    for name, value in fields.items():
        page.get_by_role("form", name="Book").get_by_label(labels[name]).fill(value)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save changes").click()


def read(admin: Shopper, book: Book) -> dict[str, Any]:
    return body_of(admin.get(f"/admin/books/{book['id']}"))


def put(admin: Shopper, book: Book, **changes: Any) -> dict[str, Any]:
    """Save a book as another administrator would."""
    fields = ("title", "author", "isbn", "genre", "description", "cover_url", "price", "published_year", "active")
    body = {**{name: book[name] for name in fields}, **changes}
    return body_of(admin.send("PUT", f"/admin/books/{book['id']}", body, {"If-Match": f'"{book["version"]}"'}))


def row(page: Page, book: Book) -> Locator:
    return page.get_by_test_id("admin-book").filter(has=page.get_by_role("link", name=book["title"], exact=True))


def find(page: Page, text: str) -> None:
    """The list of the books that a text finds."""
    page.goto("/admin/books")
    form = page.get_by_role("form", name="Search books")
    form.get_by_role("searchbox").fill(text)
    form.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"[?&]q="))


def test_a_new_book_is_in_the_shop_with_its_copies(office: Page, window: Open, goods: Goods, admin: Shopper) -> None:
    title, number = f"E2e {word()}", isbn()
    office.goto("/admin/books")
    office.get_by_role("link", name="Add a book").click()
    fill(office, title=title, author="Ada Test", price="12.5", year="1999", isbn=number, genre="E2e", copies="7")
    fill(office, description="A first book.")
    office.get_by_role("button", name="Add the book").click()
    expect(office.get_by_role("heading", level=1)).to_have_text(title)
    made = office.url.rpartition("/")[2]
    goods.adopt(made)
    expect(office.get_by_text(f"“{title}” is added.")).to_be_visible()
    found = body_of(admin.get(f"/admin/books/{made}"))
    assert (found["price"], found["isbn"], found["published_year"], found["available"]) == ("12.50", number, 1999, 7)
    shopper = window().page()
    shopper.goto(f"/search?q={title.split()[1]}")
    shopper.get_by_role("link", name=title, exact=True).click()
    expect(shopper.get_by_text("In stock: 7 copies")).to_be_visible()
    expect(shopper.get_by_role("article")).to_contain_text("$12.50")


def test_an_edit_is_seen_by_shoppers_at_once(office: Page, window: Open, shelf: Shelf, admin: Shopper) -> None:
    book = shelf.book(price="10.00")
    shopper = window().page()
    shopper.goto(f"/books/{book['id']}")
    expect(shopper.get_by_role("article")).to_contain_text("$10.00")
    office.goto(f"/admin/books/{book['id']}")
    fill(office, price="8.75", author="Grace Test")
    save(office)
    expect(office.get_by_text(f"“{book['title']}” is saved.")).to_be_visible()
    changed = read(admin, book)
    assert (changed["price"], changed["author"], changed["version"]) == ("8.75", "Grace Test", book["version"] + 1)
    assert (changed["title"], changed["genre"]) == (book["title"], book["genre"])
    shopper.reload()
    expect(shopper.get_by_role("article")).to_contain_text("$8.75")
    expect(shopper.get_by_role("article")).to_contain_text("by Grace Test")


def test_an_edit_of_an_old_version_is_refused_and_nothing_is_lost(office: Page, shelf: Shelf, admin: Shopper) -> None:
    book = shelf.book(price="10.00")
    office.goto(f"/admin/books/{book['id']}")
    fill(office, price="11.00")
    put(admin, book, price="15.00")
    save(office)
    told = office.get_by_role("alertdialog", name="Changed meanwhile")
    expect(told.get_by_role("row").filter(has_text="Price").get_by_role("cell")).to_have_text(["11.00", "15.00"])
    told.get_by_role("button", name="Keep typing").click()
    expect(office.get_by_label("Price in US dollars")).to_have_value("11.00")
    assert read(admin, book)["price"] == "15.00"
    # A third one comes between once more; then what is typed is meant to win.
    put(admin, read(admin, book), price="15.50")
    save(office)
    expect(told.get_by_role("row").filter(has_text="Price").get_by_role("cell")).to_have_text(["11.00", "15.50"])
    told.get_by_role("button", name="Save mine over it").click()
    expect(told).to_have_count(0)
    expect(office.get_by_text("version 4")).to_be_visible()
    assert read(admin, book)["price"] == "11.00"
    # Or not.
    fill(office, price="12.00")
    put(admin, read(admin, book), price="15.00")
    save(office)
    told.get_by_role("button", name="Load the latest version").click()
    expect(office.get_by_label("Price in US dollars")).to_have_value("15.00")
    fill(office, price="16.00")
    save(office)
    expect(office.get_by_text("version 6")).to_be_visible()
    assert read(admin, book)["price"] == "16.00"


def test_an_isbn_belongs_to_one_book(office: Page, shelf: Shelf, admin: Shopper) -> None:
    taken = isbn()
    shelf.book(isbn=taken)
    office.goto("/admin/books/new")
    fill(office, title=f"E2e {word()}", author="A Test", price="1", copies="1", isbn=taken)
    office.get_by_role("button", name="Add the book").click()
    field = office.get_by_label("ISBN-13")
    expect(field).to_have_accessible_description("Another book has this ISBN.")
    expect(field).to_be_focused()
    expect(field).to_have_value(taken)
    # The same when a book is changed.
    other = shelf.book()
    office.goto(f"/admin/books/{other['id']}")
    fill(office, isbn=taken)
    save(office)
    expect(field).to_have_accessible_description("Another book has this ISBN.")
    assert read(admin, other)["isbn"] is None


def test_wrong_fields_are_told_one_by_one_and_kept(office: Page, shelf: Shelf) -> None:
    office.goto("/admin/books/new")
    before = {"title": "", "author": "", "price": "0", "year": "99", "isbn": "9780000000000", "copies": "-1"}
    fill(office, **before)
    office.get_by_role("button", name="Add the book").click()
    invalid = office.locator("form[aria-label=Book] [aria-invalid=true]")
    expect(invalid).to_have_count(len(before))
    for number in range(len(before)):
        expect(invalid.nth(number)).to_have_accessible_description(re.compile(r"\w"))
    expect(office.get_by_label("Price in US dollars")).to_have_value("0")
    expect(office.get_by_label("ISBN-13")).to_have_value("9780000000000")
    expect(office).to_have_url(re.compile("/admin/books/new$"))
    # What only the service refuses is told at its field, too.
    title = f"E2e {word()}"
    fill(office, title=title, author="A Test", price="1.00", year="", isbn="", copies="1", cover="javascript:alert(1)")
    office.get_by_role("button", name="Add the book").click()
    expect(office.get_by_label("Cover picture")).to_have_attribute("aria-invalid", "true")
    expect(office.get_by_label("Title")).to_have_value(title)
    # Put right, it goes through.
    fill(office, cover="")
    office.get_by_role("button", name="Add the book").click()
    expect(office.get_by_role("heading", level=1)).to_have_text(title)
    shelf.goods.adopt(office.url.rpartition("/")[2])


def test_a_deleted_book_is_kept_as_inactive_and_can_come_back(office: Page, shelf: Shelf, admin: Shopper) -> None:
    book = shelf.book()
    find(office, book["title"])
    office.get_by_role("button", name=f"Delete {book['title']}").click()
    question = office.get_by_role("alertdialog", name=f"Stop selling “{book['title']}”?")
    question.get_by_role("button", name="Keep as it is").click()
    assert read(admin, book)["active"] is True
    office.get_by_role("button", name=f"Delete {book['title']}").click()
    question.get_by_role("button", name="Delete").click()
    expect(row(office, book)).to_contain_text("Inactive")
    assert read(admin, book)["active"] is False
    office.get_by_role("link", name=book["title"]).click()
    office.get_by_label("On sale").check()
    save(office)
    expect(office.get_by_text(f"“{book['title']}” is saved.")).to_be_visible()
    assert read(admin, book)["active"] is True


def test_a_withdrawn_book_is_hidden_from_the_shop(window: Open, shelf: Shelf, people: People, admin: Shopper) -> None:
    book, shopper = shelf.book(title=f"E2e {word()}"), people.customer()
    shopper.add(book["id"])
    assert admin.send("DELETE", f"/admin/books/{book['id']}").status_code == 204
    page = window(shopper).page()
    page.goto(f"/books/{book['id']}")
    expect(page.get_by_role("heading", name="Book not found")).to_be_visible()
    page.goto(f"/search?q={book['title'].split()[1]}")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    page.goto("/cart")
    expect(page.get_by_text("This book is no longer sold. Remove it to check out.")).to_be_visible()
    expect(page.get_by_role("button", name="Check out")).to_be_disabled()
    assert shopper.get(f"/ecom/books/{book['id']}").status_code == 404


def test_a_withdrawn_book_stays_in_the_orders_of_it(window: Open, shelf: Shelf, people: People, admin: Shopper) -> None:
    book, shopper = shelf.book(price="6.00"), people.customer()
    order = body_of(shopper.checkout(str(uuid.uuid4()), shopper.add(book["id"], 2)["total"]))
    assert admin.send("DELETE", f"/admin/books/{book['id']}").status_code == 204
    page = window(shopper).page()
    page.goto(f"/orders/{order['id']}")
    expect(page.get_by_role("row").filter(has_text=book["title"]).get_by_role("cell")).to_have_text(["2", "$6.00", "$12.00"])
    office = window(admin).page()
    office.goto(f"/admin/orders/{order['id']}")
    expect(office.get_by_role("row").filter(has_text=book["title"])).to_contain_text("$12.00")


def test_books_are_found_by_text_and_state(office: Page, shelf: Shelf, admin: Shopper) -> None:
    rare = word()
    sold, gone = shelf.book(title=f"{rare} sold"), shelf.book(title=f"{rare} gone")
    assert admin.send("DELETE", f"/admin/books/{gone['id']}").status_code == 204
    find(office, rare)
    expect(office.get_by_test_id("admin-book")).to_have_count(2)
    expect(office.get_by_text("2 books", exact=True)).to_be_visible()
    office.get_by_label("Show").select_option("On sale")
    expect(office.get_by_test_id("admin-book")).to_have_count(1)
    expect(row(office, sold)).to_contain_text("On sale")
    office.get_by_label("Show").select_option("Inactive")
    expect(row(office, gone)).to_contain_text("Inactive")
    expect(office.get_by_test_id("admin-book")).to_have_count(1)
    office.reload()
    expect(office.get_by_test_id("admin-book")).to_have_count(1)
    find(office, word())
    expect(office.get_by_role("heading", name="No books match")).to_be_visible()
