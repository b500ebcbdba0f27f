"""E-01, E-04, headers, conditional requests and errors of the public API."""

import re
from typing import Any

import httpx2
import pytest
from ecom_testing import SHOP, http, running, settings_of

from bookstore_common.testing.postgres import free_port
from ecom.books.endpoints import BOOK_CACHE, LIST_CACHE

pytestmark = pytest.mark.anyio
DUNE = "/ecom/books/00000000-0000-0000-0000-000000000011"
CACHED = {
    "/ecom/books": LIST_CACHE,
    "/ecom/books?genre=Fantasy&page=2": LIST_CACHE,
    "/ecom/books/search?q=ring": LIST_CACHE,
    "/ecom/genres": LIST_CACHE,
    DUNE: BOOK_CACHE,
}


async def test_health(client: httpx2.AsyncClient) -> None:
    response = await client.get("/ecom/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["cache-control"] == "no-store"


async def test_book(client: httpx2.AsyncClient) -> None:
    response = await client.get(DUNE)
    body = response.json()
    assert body.pop("description")
    assert body == {
        "id": DUNE.rsplit("/", 1)[1],
        "title": "Dune",
        "author": "Frank Herbert",
        "isbn": "9780441172719",
        "genre": "Science Fiction",
        "cover_url": None,
        "price": "10.99",
        "currency": "USD",
        "published_year": 1965,
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["created_at"])


@pytest.mark.parametrize(
    "path", ["/ecom/books/00000000-0000-0000-0000-000000000031", "/ecom/books/ffffffff-ffff-4fff-bfff-ffffffffffff"]
)
async def test_unknown_book(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"
    assert path.rsplit("/", 1)[1] in response.json()["detail"]


@pytest.mark.parametrize("book_id", ["1", "x", "00000000-0000-0000-0000-00000000000", "search2", "%00"])
async def test_malformed_id(client: httpx2.AsyncClient, book_id: str) -> None:
    response = await client.get(f"/ecom/books/{book_id}")
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["book_id"]


@pytest.mark.parametrize("path", CACHED)
async def test_conditional_get(client: httpx2.AsyncClient, path: str) -> None:
    first = await client.get(path, headers={"origin": SHOP})
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[^"]+"', etag)
    assert first.headers["cache-control"] == CACHED[path]
    assert "ETag" in first.headers["access-control-expose-headers"]
    for condition in (etag, f'"other", W/{etag}', "*"):
        again = await client.get(path, headers={"if-none-match": condition, "origin": SHOP})
        assert (again.status_code, again.content) == (304, b"")
        for name in ("etag", "cache-control", "vary", "access-control-allow-origin"):
            assert again.headers[name] == first.headers[name]
    changed = await client.get(path, headers={"if-none-match": '"other"'})
    assert changed.status_code == 200
    assert changed.content == first.content


async def test_tag_changes_with_the_book_and_only_with_it(shop: httpx2.AsyncClient, books: Any) -> None:
    before = [(await shop.get(path)).headers["etag"] for path in CACHED]
    assert before == [(await shop.get(path)).headers["etag"] for path in CACHED]
    books.execute("UPDATE books SET title = 'Dune!' WHERE title = 'Dune'")
    response = await shop.get(DUNE, headers={"if-none-match": before[list(CACHED).index(DUNE)]})
    assert (response.status_code, response.json()["title"]) == (200, "Dune!")


@pytest.mark.parametrize("path", [*CACHED, "/ecom/health"])
async def test_head_everywhere(client: httpx2.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for headers in (got.headers, head.headers):
        for name in ("x-request-id", "ratelimit-remaining", "ratelimit-reset"):  # another request, counted later
            headers.pop(name, None)
    assert head.headers == got.headers


@pytest.mark.parametrize("path", [*CACHED, "/ecom/health"])
async def test_cors(client: httpx2.AsyncClient, path: str) -> None:
    preflight = await client.options(path, headers={"origin": SHOP, "access-control-request-method": "GET"})
    assert preflight.status_code == 200
    for response in (preflight, await client.get(path, headers={"origin": SHOP})):
        assert response.headers["access-control-allow-origin"] == SHOP
    foreign = await client.get(path, headers={"origin": "https://evil.test"})
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [*CACHED, "/ecom/health"])
async def test_reading_paths_refuse_writing(client: httpx2.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    assert response.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    ["/", "/ecom", "/ecom/", "/ecom/books/", "/ecom/book", "/internal", "/metrics", "/health/ready", "/ecom/docs",
     "/openapi.json", "/ecom/health/ready"],
)  # fmt: skip
async def test_nothing_else_is_served(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_unknown_parameters_are_tolerated(client: httpx2.AsyncClient) -> None:
    plain, extra = await client.get("/ecom/books"), await client.get("/ecom/books?utm_source=letter")
    assert plain.content == extra.content


@pytest.mark.parametrize("path", CACHED)
async def test_database_down(environment: Any, seeded: str, path: str) -> None:
    settings = settings_of({**environment(seeded), "DATABASE_PORT": str(free_port())})
    async with running(settings) as down, http(down.public) as client:
        response = await client.get(path, headers={"origin": SHOP})
        assert response.status_code == 503
        assert response.json()["code"] == "dependency_unavailable"
        assert response.headers["retry-after"] == "1"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["access-control-allow-origin"] == SHOP
        assert (await client.get("/ecom/health")).status_code == 200
        assert (await client.get("/ecom/books?size=0")).status_code == 422
