"""The catalogue as a shopper meets it: through the gateway, certificate verified, rows from PostgreSQL (E-01 to E-05)."""

from __future__ import annotations

import math
from collections.abc import Callable

import httpx2
import pytest

from .conftest import SHOP_ORIGIN
from .declared import GATEWAY
from .tls import Trust

SEEDS = "00000000-0000-0000-0000-"
FIRST = f"{SEEDS}000000000001"
UNKNOWN = "00000000-0000-0000-0000-00000000ffff"


def test_first_page_shows_12_of_all_books(api: httpx2.Client, ecom_sql: Callable[[str], str]) -> None:
    books = int(ecom_sql("SELECT count(*) FROM books WHERE active"))
    page = api.get("/ecom/books").raise_for_status().json()
    assert (len(page["items"]), page["page"], page["size"], page["total"]) == (12, 1, 12, books)
    assert page["pages"] == math.ceil(books / 12)


def test_pages_together_hold_every_book_once(api: httpx2.Client, ecom_sql: Callable[[str], str]) -> None:
    books = ecom_sql("SELECT id FROM books WHERE active").split()
    pages = range(1, math.ceil(len(books) / 12) + 1)
    ids = [book["id"] for page in pages for book in api.get("/ecom/books", params={"page": page}).json()["items"]]
    assert sorted(ids) == sorted(books)
    assert {f"{SEEDS}{number:012d}" for number in range(1, 31)} <= set(ids)


@pytest.mark.parametrize(("sort", "descending"), [("price", False), ("-price", True)])
def test_sorting_by_price(api: httpx2.Client, sort: str, descending: bool) -> None:
    prices = [float(book["price"]) for book in api.get("/ecom/books", params={"sort": sort, "size": 30}).json()["items"]]
    assert prices == sorted(prices, reverse=descending)


def test_filters_narrow_the_list(api: httpx2.Client) -> None:
    genre = api.get("/ecom/genres").json()[0]
    page = api.get("/ecom/books", params={"genre": genre["genre"], "size": 100}).json()
    assert page["total"] == genre["count"]
    assert {book["genre"] for book in page["items"]} == {genre["genre"]}


def test_search_finds_a_book_by_its_title(api: httpx2.Client) -> None:
    book = api.get(f"/ecom/books/{FIRST}").json()
    found = api.get("/ecom/books/search", params={"q": book["title"]}).json()["items"]
    assert found[0]["id"] == FIRST


def test_changed_price_is_seen_by_a_shopper(api: httpx2.Client, ecom_sql: Callable[[str], str]) -> None:
    before = api.get(f"/ecom/books/{FIRST}").json()["price"]
    ecom_sql(f"UPDATE books SET price = price + 1 WHERE id = '{FIRST}'")
    try:
        after = api.get(f"/ecom/books/{FIRST}").json()["price"]
    finally:
        ecom_sql(f"UPDATE books SET price = {before} WHERE id = '{FIRST}'")
    assert round(float(after) - float(before), 2) == 1
    assert api.get(f"/ecom/books/{FIRST}").json()["price"] == before


def test_unchanged_book_is_not_sent_again(api: httpx2.Client) -> None:
    etag = api.get(f"/ecom/books/{FIRST}").headers["etag"]
    again = api.get(f"/ecom/books/{FIRST}", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/ecom/books/{UNKNOWN}", 404, "not_found"),
        ("/ecom/books/not-an-id", 422, "validation_error"),
        ("/ecom/books?size=101", 422, "validation_error"),
        ("/ecom/books?sort=colour", 422, "validation_error"),
        ("/ecom/books/search?q=", 422, "validation_error"),
    ],
)
def test_errors_are_problem_json(api: httpx2.Client, path: str, status: int, code: str) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_lists_may_be_cached_for_a_minute(api: httpx2.Client) -> None:
    assert api.get("/ecom/books").headers["cache-control"] == "public, max-age=60"


def test_head_answers_like_get_without_a_body(api: httpx2.Client) -> None:
    answer = api.head("/ecom/books")
    assert (answer.status_code, answer.content) == (200, b"")


def test_shop_may_read_from_its_origin_and_others_may_not(api: httpx2.Client) -> None:
    assert api.get("/ecom/books", headers={"Origin": SHOP_ORIGIN}).headers["access-control-allow-origin"] == SHOP_ORIGIN
    assert "access-control-allow-origin" not in api.get("/ecom/books", headers={"Origin": "https://evil.test"}).headers


def test_body_over_one_mebibyte_never_reaches_a_service(api: httpx2.Client) -> None:
    answer = api.request("GET", "/ecom/books", content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413


def test_doubled_slashes_and_dots_do_not_pass_the_routes(api: httpx2.Client) -> None:
    for path in ("/ecom//books/../../metrics", "/ecom/books/%2e%2e/%2e%2e/metrics", "//metrics"):
        assert api.get(path).status_code == 404


def test_certificate_is_refused_without_our_authority() -> None:
    with Trust(None).client() as client, pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get(f"https://api.bookstore.test:{GATEWAY['https']}/ecom/books")


def test_redirect_keeps_host_and_path() -> None:
    answer = httpx2.get(f"http://api.bookstore.test:{GATEWAY['http']}/ecom/books?page=2", trust_env=False)
    assert answer.status_code == 301
    assert answer.headers["location"] == f"https://api.bookstore.test:{GATEWAY['https']}/ecom/books?page=2"
