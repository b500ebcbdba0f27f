"""E-17 to E-20: the catalogue as administrators see and change it."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest
from ecom_testing import Caller, book, problem_of

from bookstore_common import events
from bookstore_common.pagination import Page
from ecom.admin_books.schemas import AdminBook

pytestmark = pytest.mark.anyio
BOOKS = "/internal/admin/books"
NEW = {
    "title": "A Book of Tests",
    "author": "Nobody",
    "isbn": "9790000000001",
    "genre": "Fantasy",
    "description": "One paragraph.\n\nAnother.",
    "cover_url": "/covers/tests.jpg",
    "price": "11.50",
    "published_year": 1968,
}
MINIMAL = {"title": "T", "author": "A", "price": "1"}


async def test_list(admin: Caller, books: Any) -> None:
    books.execute("UPDATE books SET active = false WHERE id = %s", [book(11)])
    body = (await admin.get(f"{BOOKS}?size=100")).json()
    Page[AdminBook].model_validate(body)
    assert body["total"] == 30
    assert [item["id"] for item in body["items"] if not item["active"]] == [book(11)]
    titles = [item["title"].lower() for item in body["items"]]
    assert titles == sorted(titles)
    assert (await admin.get(f"{BOOKS}?active=true")).json()["total"] == 29
    assert [item["id"] for item in (await admin.get(f"{BOOKS}?active=false")).json()["items"]] == [book(11)]
    pages = [(await admin.get(f"{BOOKS}?size=7&page={page}")).json()["items"] for page in range(1, 6)]
    assert [item for page in pages for item in page] == body["items"]


async def test_books_by_id(admin: Caller, books: Any) -> None:
    """What the Admin API asks to name the books of a page of stock."""
    books.execute("UPDATE books SET active = false WHERE id = %s", [book(11)])
    wanted = f"{book(29)},{book(11)},{book(29)},ffffffff-ffff-4fff-bfff-ffffffffffff"
    found = (await admin.get(f"{BOOKS}?size=100&ids={wanted}")).json()
    assert ({item["id"] for item in found["items"]}, found["total"]) == ({book(11), book(29)}, 2)
    assert (await admin.get(f"{BOOKS}?ids={wanted}&active=true")).json()["total"] == 1
    assert (await admin.get(f"{BOOKS}?ids={wanted}&q=dune")).json()["total"] == 1
    assert (await admin.get(f"{BOOKS}?ids=")).json()["items"] == []
    many = ",".join([book(1)] * 101)
    for ids, field in (("x", "ids.0"), (f"{book(1)},", "ids.1"), (many, "ids")):
        response = await admin.get(f"{BOOKS}?ids={ids}")
        assert problem_of(response) == (422, "validation_error")
        assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_search_finds_what_shoppers_do_not_see(admin: Caller, books: Any) -> None:
    books.execute("UPDATE books SET active = false WHERE id = %s", [book(11)])
    for q in ("dune", "herbert", "9780441172719"):
        assert (await admin.get(f"{BOOKS}?q={q}")).json()["items"][0]["title"] == "Dune"
    assert (await admin.get(f"{BOOKS}?q=dune&active=true")).json()["total"] == 0
    assert (await admin.get(f"{BOOKS}?q=!!!")).json()["items"] == []
    for query in ("q=", f"q={'x' * 101}", "q=a%00", "active=perhaps", "size=0"):
        assert problem_of(await admin.get(f"{BOOKS}?{query}")) == (422, "validation_error"), query


async def test_one(admin: Caller, books: Any) -> None:
    response = await admin.get(f"{BOOKS}/{book(11)}")
    AdminBook.model_validate(response.json())
    assert (response.json()["active"], response.json()["version"], response.headers["etag"]) == (True, 1, '"1"')
    books.execute("UPDATE books SET active = false WHERE id = %s", [book(11)])
    assert (await admin.get(f"{BOOKS}/{book(11)}")).headers["etag"] == '"2"'
    assert problem_of(await admin.get(f"{BOOKS}/{uuid.uuid4()}")) == (404, "not_found")
    assert problem_of(await admin.get(f"{BOOKS}/x")) == (422, "validation_error")


async def test_create(admin: Caller, shop: Any, books: Any) -> None:
    response = await admin.send("POST", BOOKS, NEW)
    assert response.status_code == 201
    created = response.json()
    AdminBook.model_validate(created)
    assert {name: created[name] for name in NEW} == NEW
    assert (created["active"], created["version"], response.headers["etag"]) == (True, 1, '"1"')
    assert (await admin.get(f"{BOOKS}/{created['id']}")).json() == created
    assert (await shop.get(f"/ecom/books/{created['id']}")).json()["price"] == "11.50"
    row = books.execute("SELECT aggregate_type, aggregate_id, event_type, payload FROM outbox_events").fetchone()
    assert row[:3] == ("book", created["id"], "book.created")
    events.validate(row[3])
    assert (row[3]["book_id"], row[3]["title"]) == (created["id"], NEW["title"])


async def test_least_of_a_book(admin: Caller) -> None:
    created = (await admin.send("POST", BOOKS, MINIMAL)).json()
    assert created["price"] == "1.00"
    assert all(created[name] is None for name in ("isbn", "genre", "description", "cover_url", "published_year"))


async def test_isbn(admin: Caller, books: Any) -> None:
    hyphens = await admin.send("POST", BOOKS, {**MINIMAL, "isbn": "979-0-0000-0000-1"})
    assert hyphens.json()["isbn"] == "9790000000001"
    again = await admin.send("POST", BOOKS, {**MINIMAL, "isbn": "9790000000001"})
    assert problem_of(again) == (409, "isbn_exists")
    edit = await admin.send("PUT", f"{BOOKS}/{book(1)}", {**MINIMAL, "isbn": "9790000000001"}, if_match='"1"')
    assert problem_of(edit) == (409, "isbn_exists")
    assert books.execute("SELECT count(*) FROM books").fetchone() == (31,)
    assert books.execute("SELECT count(*) FROM outbox_events").fetchone() == (1,)
    assert books.execute("SELECT version FROM books WHERE id = %s", [book(1)]).fetchone() == (1,)
    for _ in range(2):  # any number of books may have none
        assert (await admin.send("POST", BOOKS, MINIMAL)).status_code == 201


BAD: list[tuple[dict[str, Any], str]] = [
    ({"title": ""}, "title"),
    ({"title": "x" * 256}, "title"),
    ({"title": "a\u0000b"}, "title"),
    ({"title": None}, "title"),
    ({"author": "x" * 256}, "author"),
    ({"isbn": "9790000000002"}, "isbn"),
    ({"isbn": "0441478123"}, "isbn"),
    ({"isbn": "١٢٣٤٥٦٧٨٩٠١٢٣"}, "isbn"),
    ({"isbn": 9790000000001}, "isbn"),
    ({"genre": "x" * 101}, "genre"),
    ({"description": "x" * 10_001}, "description"),
    ({"cover_url": "javascript:alert(1)"}, "cover_url"),
    ({"cover_url": "http://covers.test/x.jpg"}, "cover_url"),
    ({"cover_url": 'https://covers.test/"x'}, "cover_url"),
    ({"price": 9.99}, "price"),
    ({"price": "0"}, "price"),
    ({"price": "-1"}, "price"),
    ({"price": "1.999"}, "price"),
    ({"price": "100000000"}, "price"),
    ({"price": "1e3"}, "price"),
    ({"published_year": 999}, "published_year"),
    ({"published_year": 2101}, "published_year"),
    ({"published_year": "1968"}, "published_year"),
    ({"published_year": 10**40}, "published_year"),
    ({"id": str(uuid.uuid4())}, "id"),
    ({"version": 7}, "version"),
]


@pytest.mark.parametrize(("changes", "field"), BAD)
async def test_bad_fields(admin: Caller, books: Any, changes: dict[str, Any], field: str) -> None:
    created = await admin.send("POST", BOOKS, {**NEW, **changes})
    edited = await admin.send("PUT", f"{BOOKS}/{book(1)}", {**NEW, **changes}, if_match='"1"')
    for response in (created, edited):
        assert problem_of(response) == (422, "validation_error")
        assert [error["field"] for error in response.json()["errors"]] == [field]
    assert books.execute("SELECT count(*), sum(version) FROM books").fetchone() == (30, 30)


async def test_edit(admin: Caller, shop: Any) -> None:
    response = await admin.send("PUT", f"{BOOKS}/{book(11)}", NEW, if_match='"1"')
    assert response.status_code == 200
    body = response.json()
    AdminBook.model_validate(body)
    assert {name: body[name] for name in NEW} == NEW
    assert (body["version"], response.headers["etag"]) == (2, '"2"')
    assert body["updated_at"] > body["created_at"]
    assert (await admin.get(f"{BOOKS}/{book(11)}")).json() == body
    assert (await shop.get(f"/ecom/books/{book(11)}")).json()["title"] == NEW["title"]
    # The same once more changes nothing.
    again = await admin.send("PUT", f"{BOOKS}/{book(11)}", NEW, if_match="2")
    assert (again.status_code, again.json()) == (200, body)


async def test_stale_edit(admin: Caller, books: Any) -> None:
    books.execute("UPDATE books SET price = 5 WHERE id = %s", [book(11)])
    for version in ('"1"', '"3"', "1"):
        response = await admin.send("PUT", f"{BOOKS}/{book(11)}", NEW, if_match=version)
        assert problem_of(response) == (412, "stale_version")
        assert response.json()["version"] == 2
    assert books.execute("SELECT title FROM books WHERE id = %s", [book(11)]).fetchone() == ("Dune",)


async def test_edit_without_a_version(admin: Caller) -> None:
    response = await admin.send("PUT", f"{BOOKS}/{book(11)}", NEW)
    assert problem_of(response) == (428, "precondition_required")
    for version in ("*", '"1", "2"', 'W/"1"', "", '"x"', "-1", "9" * 30):
        response = await admin.send("PUT", f"{BOOKS}/{book(11)}", NEW, if_match=version)
        assert problem_of(response) == (422, "validation_error"), version
        assert response.json()["errors"][0]["field"] == "if-match"


async def test_edit_of_no_book(admin: Caller) -> None:
    response = await admin.send("PUT", f"{BOOKS}/{uuid.uuid4()}", NEW, if_match='"1"')
    assert problem_of(response) == (404, "not_found")


async def test_concurrent_edits(admin: Caller, books: Any) -> None:
    """Of many who edited the same version one wins."""
    answers = await asyncio.gather(
        *(
            admin.send("PUT", f"{BOOKS}/{book(11)}", {**MINIMAL, "title": f"Edit {number}"}, if_match='"1"')
            for number in range(10)
        )
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: 9}
    (winner,) = [answer.json()["title"] for answer in answers if answer.status_code == 200]
    assert books.execute("SELECT title, version FROM books WHERE id = %s", [book(11)]).fetchone() == (winner, 2)


async def test_concurrent_creation_of_one_isbn(admin: Caller, books: Any) -> None:
    answers = await asyncio.gather(*(admin.send("POST", BOOKS, NEW) for _ in range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 7}
    assert books.execute("SELECT count(*) FROM outbox_events").fetchone() == (1,)


async def test_withdraw_and_bring_back(admin: Caller, shop: Any) -> None:
    for _ in range(2):  # a repeat is no error
        response = await admin.send("DELETE", f"{BOOKS}/{book(11)}")
        assert (response.status_code, response.content) == (204, b"")
    assert (await shop.get(f"/ecom/books/{book(11)}")).status_code == 404
    hidden = (await admin.get(f"{BOOKS}/{book(11)}")).json()
    assert (hidden["active"], hidden["version"]) == (False, 2)
    assert problem_of(await admin.send("DELETE", f"{BOOKS}/{uuid.uuid4()}")) == (404, "not_found")
    # An edit leaves it withdrawn unless it says otherwise.
    edited = await admin.send("PUT", f"{BOOKS}/{book(11)}", NEW, if_match='"2"')
    assert edited.json()["active"] is False
    back = await admin.send("PUT", f"{BOOKS}/{book(11)}", {**NEW, "active": True}, if_match='"3"')
    assert back.json()["active"] is True
    assert (await shop.get(f"/ecom/books/{book(11)}")).status_code == 200
