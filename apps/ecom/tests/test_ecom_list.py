"""E-02 and E-05: the catalogue's list and its genres."""

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import httpx2
import pytest
from ecom_testing import Caller

from bookstore_common.pagination import Page
from ecom.books.schemas import Book, GenreCount

pytestmark = pytest.mark.anyio
BOOKS = "/ecom/books"


async def get(client: httpx2.AsyncClient, path: str = BOOKS, **query: Any) -> dict[str, Any]:
    response = await client.get(path, params={key: str(value) for key, value in query.items()})
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def all_pages(client: httpx2.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    first = await get(client, **query)
    items = list(first["items"])
    for page in range(2, first["pages"] + 1):
        items += (await get(client, page=page, **query))["items"]
    return items


async def test_default_page(client: httpx2.AsyncClient) -> None:
    body = await get(client)
    assert {name: body[name] for name in ("page", "size", "total", "pages")} == {
        "page": 1,
        "size": 12,
        "total": 30,
        "pages": 3,
    }
    assert len(body["items"]) == 12


async def test_answer_is_what_openapi_says(client: httpx2.AsyncClient) -> None:
    """Endpoints skip FastAPI's validation of our own output; this is where it happens."""
    for item in (await get(client, size=100))["items"]:
        Book.model_validate(item)
    Page[Book].model_validate(await get(client))
    response = await client.get("/ecom/genres")
    for genre in response.json():
        GenreCount.model_validate(genre)
    response = await client.get(f"{BOOKS}/00000000-0000-0000-0000-000000000001")
    Book.model_validate(response.json())


@pytest.mark.parametrize(
    "key", ["title", "-title", "price", "-price", "published_year", "-published_year", "created_at", "-created_at"]
)
@pytest.mark.parametrize("size", [7, 100])
async def test_sorted_pages_hold_every_book_once(client: httpx2.AsyncClient, key: str, size: int) -> None:
    items = await all_pages(client, sort=key, size=size)
    assert len({item["id"] for item in items}) == len(items) == 30
    name = key.removeprefix("-")
    # The seed books' titles begin with ASCII letters: without case they are in the order of their words.
    converters: dict[str, Callable[[Any], Any]] = {"price": Decimal, "title": lambda title: title.lower().split()}
    convert = converters.get(name, lambda value: value)
    values = [convert(item[name]) for item in items]
    assert values == sorted(values, reverse=key.startswith("-"))


SORTED = ["Art", "Éa", "Part 2", "Part 10", "Technology", "Über", "Zebra", "Ökonomie", "art", "ärger", "éclair"]
IN_ORDER = ["ärger", "art", "Art", "Éa", "éclair", "Ökonomie", "Part 2", "Part 10", "Technology", "Über", "Zebra"]


async def test_titles_and_genres_as_people_sort_them(
    shop: httpx2.AsyncClient, admin: Caller, add_book: Callable[..., str], books: Any
) -> None:
    books.execute("DELETE FROM books")
    for name in SORTED:
        add_book(name, genre=name)
    assert [item["title"] for item in await all_pages(shop, sort="title")] == IN_ORDER
    assert [item["title"] for item in await all_pages(shop, sort="-title")] == IN_ORDER[::-1]
    assert [genre["genre"] for genre in (await shop.get("/ecom/genres")).json()] == IN_ORDER
    response = await admin.get("/internal/admin/books?size=100")
    assert [item["title"] for item in response.json()["items"]] == IN_ORDER


def test_the_order_of_titles_has_an_index(books: Any) -> None:
    books.execute("SET enable_seqscan = off")
    for direction in ("ASC", "DESC"):
        plan = books.execute(f"EXPLAIN SELECT id FROM books ORDER BY title COLLATE title_order {direction} LIMIT 12")
        assert "books_title_order_idx" in str(plan.fetchall())


async def test_equal_values_keep_one_order_over_pages(shop: httpx2.AsyncClient, add_book: Callable[..., str]) -> None:
    for _ in range(25):
        add_book("Same", price="5.00")
    items = await all_pages(shop, sort="price", size=4)
    assert len({item["id"] for item in items}) == 55
    assert all(one["price"] != other["price"] or one["id"] < other["id"] for one, other in pairwise(items))


async def test_missing_years_come_last_either_way(shop: httpx2.AsyncClient, add_book: Callable[..., str]) -> None:
    add_book("Undated")
    for key in ("published_year", "-published_year"):
        assert (await all_pages(shop, sort=key))[-1]["title"] == "Undated"


async def test_past_the_end_tells_the_true_total(client: httpx2.AsyncClient) -> None:
    body = await get(client, page=4)
    assert (body["items"], body["total"], body["pages"], body["page"]) == ([], 30, 3, 4)
    body = await get(client, page=1_000_000, size=100, genre="Fantasy")
    assert (body["items"], body["total"]) == ([], 5)


async def test_filters(client: httpx2.AsyncClient) -> None:
    everything = await all_pages(client)
    fantasy = await all_pages(client, genre="Fantasy")
    assert {item["id"] for item in fantasy} == {item["id"] for item in everything if item["genre"] == "Fantasy"}
    between = await all_pages(client, min_price="10.50", max_price="16.00")
    assert {item["id"] for item in between} == {
        item["id"] for item in everything if Decimal("10.50") <= Decimal(item["price"]) <= 16
    }
    assert {"10.50", "16.00"} <= {item["price"] for item in between}  # both ends belong to it
    both = await all_pages(client, genre="Fantasy", max_price="12")
    assert both
    assert all(item["genre"] == "Fantasy" and Decimal(item["price"]) <= 12 for item in both)
    assert (await get(client, genre="fantasy"))["total"] == 0
    assert (await get(client, genre="No such genre"))["pages"] == 0


async def test_inactive_books_are_not_there(shop: httpx2.AsyncClient, add_book: Callable[..., str]) -> None:
    hidden = add_book("Hidden gem", genre="Secret", active=False)
    assert (await get(shop))["total"] == 30
    assert (await get(shop, genre="Secret"))["total"] == 0
    assert (await get(shop, f"{BOOKS}/search", q="hidden"))["total"] == 0
    assert (await shop.get(f"{BOOKS}/{hidden}")).status_code == 404
    assert "Secret" not in {genre["genre"] for genre in (await shop.get("/ecom/genres")).json()}


async def test_genres_count_books_on_sale(shop: httpx2.AsyncClient, add_book: Callable[..., str], books: Any) -> None:
    books.execute("UPDATE books SET active = false WHERE title = 'Dune'")
    add_book("No genre")
    add_book("Blank genre", genre="")
    response = await shop.get("/ecom/genres")
    genres = {genre["genre"]: genre["count"] for genre in response.json()}
    assert list(genres) == sorted(genres, key=str.lower)
    assert len(genres) >= 6
    assert genres["Science Fiction"] == 4
    assert sum(genres.values()) == 29
    assert response.headers["cache-control"] == "public, max-age=60"
    for genre, count in genres.items():
        assert (await get(shop, genre=genre))["total"] == count


async def test_price_change_in_the_database_is_seen(shop: httpx2.AsyncClient, books: Any) -> None:
    books.execute("UPDATE books SET price = 123.4 WHERE title = 'Dune'")
    (item,) = (await get(shop, min_price="100"))["items"]
    assert (item["title"], item["price"]) == ("Dune", "123.40")
    assert item["updated_at"] > item["created_at"]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("page=0", {"page"}),
        ("page=-1", {"page"}),
        ("page=1000001", {"page"}),
        ("page=x&size=y", {"page", "size"}),
        ("size=0", {"size"}),
        ("size=101", {"size"}),
        ("sort=isbn", {"sort"}),
        ("sort=--title", {"sort"}),
        ("min_price=-1", {"min_price"}),
        ("min_price=cheap", {"min_price"}),
        ("max_price=NaN", {"max_price"}),
        ("max_price=Infinity", {"max_price"}),
        ("max_price=1.999", {"max_price"}),
        ("max_price=12345678901", {"max_price"}),
        ("min_price=5&max_price=4.99", {"min_price", "max_price"}),
        ("genre=", {"genre"}),
        ("genre=a%00b", {"genre"}),
        (f"genre={'g' * 101}", {"genre"}),
    ],
)
async def test_bad_queries_name_their_fields(client: httpx2.AsyncClient, query: str, fields: set[str]) -> None:
    response = await client.get(f"{BOOKS}?{query}")
    assert response.status_code == 422
    body = response.json()
    assert body["code"] == "validation_error"
    assert {error["field"] for error in body["errors"]} == fields
    assert all(error["location"] == "query" for error in body["errors"])
