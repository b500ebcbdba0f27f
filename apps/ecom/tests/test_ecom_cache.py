"""Lists of the catalogue in Redis: used while no book changes, dropped by every change, dispensable."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from ecom_testing import Caller, book, http, running, settings_of

from bookstore_common.testing.processes import PATIENCE_SECONDS
from bookstore_common.testing.redis import RedisServer
from ecom.app import Service
from ecom.books import cache as cache_module
from ecom.books.cache import MAX_BODY_BYTES, TTL_SECONDS, BookCache
from ecom.books.repository import BookRepository

pytestmark = pytest.mark.anyio
ADMIN = "/internal/admin/books"
LISTS = (
    "/ecom/books",
    "/ecom/books?genre=Fantasy&sort=-price&page=2&size=2",
    "/ecom/books/search?q=dune",
    "/ecom/genres",
)
NEW = {"title": "Dune, again", "author": "A", "price": "1.00", "genre": "Fantasy"}


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the repository's methods that were called."""
    called: list[str] = []
    for name in ("find", "search", "genres", "get"):
        whole = getattr(BookRepository, name)

        def noting(self: Any, *args: Any, _name: str = name, _whole: Any = whole) -> Any:
            called.append(_name)
            return _whole(self, *args)

        monkeypatch.setattr(BookRepository, name, noting)
    return called


@pytest.mark.parametrize("path", LISTS)
async def test_second_reader_costs_no_query(
    shop: httpx2.AsyncClient, redis_server: RedisServer, queries: list[str], path: str
) -> None:
    first, second = await shop.get(path), await shop.get(path)
    assert len(queries) == 1
    assert second.content == first.content
    assert second.headers["etag"] == first.headers["etag"]
    with redis_server.connect() as redis:
        (key,) = redis.keys("ecom:books:*")
        assert 0 < redis.ttl(key) <= TTL_SECONDS


async def test_different_questions_have_different_answers(shop: httpx2.AsyncClient, queries: list[str]) -> None:
    paths = [
        "/ecom/books", "/ecom/books?page=2", "/ecom/books?size=5", "/ecom/books?sort=price",
        "/ecom/books?genre=Fantasy", "/ecom/books?min_price=10", "/ecom/books?max_price=10",
        "/ecom/books/search?q=dune", "/ecom/books/search?q=dune&page=2", "/ecom/books/search?q=ring", "/ecom/genres",
    ]  # fmt: skip
    for path in paths * 2:
        assert (await shop.get(path)).status_code == 200
    assert len(queries) == len(paths)
    # The same question asked in other words.
    await shop.get("/ecom/books/search?q=%20DUNE%20&size=12&page=1")
    await shop.get("/ecom/books?size=12&sort=title")
    await shop.get("/ecom/books?min_price=10.0")
    await shop.get("/ecom/books?min_price=1E1&page=1")
    assert len(queries) == len(paths)


async def test_strangers_cannot_fill_redis(
    shop: httpx2.AsyncClient, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CSRF tokens and marks of ended sessions need room in the same Redis, which evicts nothing."""
    monkeypatch.setattr(cache_module, "PLACES", 8)
    for number in range(60):
        assert (await shop.get(f"/ecom/books?min_price={number}&size=1")).status_code == 200
        assert (await shop.get(f"/ecom/books/search?q=word{number}&size=1")).status_code == 200
    with redis_server.connect() as redis:
        keys = redis.keys("ecom:*")
        assert len(keys) <= 8
        assert all(0 < redis.ttl(key) <= TTL_SECONDS for key in keys)


async def test_queries_that_share_a_place_keep_their_answers(
    shop: httpx2.AsyncClient, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "PLACES", 1)
    for size in (3, 4, 3, 3):
        assert len((await shop.get(f"/ecom/books?size={size}")).json()["items"]) == size
    assert len(queries) == 3


async def test_long_lists_are_not_kept(service: Service, redis_server: RedisServer) -> None:
    for length in (MAX_BODY_BYTES, MAX_BODY_BYTES + 1):

        async def read(length: int = length) -> bytes:
            return b"x" * length

        assert len(await BookCache(service.redis).body("list", str(length), read)) == length
    with redis_server.connect() as redis:
        (key,) = redis.keys("ecom:*")
        assert redis.strlen(key) < MAX_BODY_BYTES + 100


async def test_one_book_is_never_cached(shop: httpx2.AsyncClient, queries: list[str]) -> None:
    for _ in range(2):
        await shop.get(f"/ecom/books/{book(11)}")
    assert queries == ["get", "get"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("change", ["create", "edit", "withdraw"])
async def test_every_change_is_seen_at_once(
    shop: httpx2.AsyncClient, admin: Caller, redis_server: RedisServer, path: str, change: str
) -> None:
    """Each list changes by each of these, and is what a service with an empty cache reads from the database."""
    fantasy = (await shop.get("/ecom/books?genre=Fantasy")).json()["items"][0]["id"]
    before = (await shop.get(path)).content
    if change == "create":
        response = await admin.send("POST", ADMIN, NEW)
    elif change == "edit":
        response = await admin.send("PUT", f"{ADMIN}/{book(11)}", NEW, if_match='"1"')
    else:
        response = await admin.send("DELETE", f"{ADMIN}/{fantasy if 'Fantasy' in path else book(11)}")
    assert response.is_success
    after = (await shop.get(path)).content
    assert after != before
    with redis_server.connect() as redis:
        redis.delete(*redis.keys("ecom:books:*"))
    assert after == (await shop.get(path)).content


async def test_change_during_a_fill_leaves_nothing_stale(
    shop: httpx2.AsyncClient, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader has the old rows in hand, a book changes, the reader fills the cache: that entry must not count."""
    read, go_on = asyncio.Event(), asyncio.Event()
    whole = BookRepository.find

    async def slow(self: BookRepository, *args: Any) -> Any:
        rows = await whole(self, *args)
        read.set()
        await go_on.wait()
        return rows

    monkeypatch.setattr(BookRepository, "find", slow)
    reader = asyncio.create_task(shop.get("/ecom/books?size=100"))
    await read.wait()
    assert (await admin.send("DELETE", f"{ADMIN}/{book(11)}")).status_code == 204
    go_on.set()
    assert (await reader).json()["total"] == 30
    assert (await shop.get("/ecom/books?size=100")).json()["total"] == 29


async def test_drop_comes_after_the_commit(
    service: Service, admin: Caller, shop: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropped before it, a reader in between would fill the cache with the old rows for good."""
    seen: list[int] = []
    whole = service.redis.raw.set

    async def noting(name: str, *args: Any, **options: Any) -> Any:
        if name == "ecom:books:generation":
            async with service.database.reading() as session:
                _rows, total = await BookRepository(session).genres(), 0
                total = sum(row["count"] for row in _rows)
            seen.append(total)
        return await whole(name, *args, **options)

    monkeypatch.setattr(service.redis.raw, "set", noting)
    await admin.send("DELETE", f"{ADMIN}/{book(11)}")
    assert seen == [29]


async def test_refused_changes_do_no_harm(shop: httpx2.AsyncClient, admin: Caller) -> None:
    before = (await shop.get("/ecom/books")).content
    assert (await admin.send("PUT", f"{ADMIN}/{book(11)}", NEW, if_match='"9"')).status_code == 412
    assert (await shop.get("/ecom/books")).content == before


async def test_catalogue_without_redis(
    shop: httpx2.AsyncClient, admin: Caller, redis_server: RedisServer, queries: list[str]
) -> None:
    await shop.get("/ecom/books?size=100")
    redis_server.stop()
    for path in (*LISTS, f"/ecom/books/{book(11)}"):
        assert (await shop.get(path)).status_code == 200
    # Administrators go on working, too, and what they change is seen.
    assert (await admin.send("DELETE", f"{ADMIN}/{book(11)}")).status_code == 204
    assert (await shop.get("/ecom/books?size=100")).json()["total"] == 29


async def test_frozen_redis_costs_bounded_time(
    environment: Any, fresh: str, redis_server: RedisServer, queries: list[str]
) -> None:
    settings = settings_of({**environment(fresh), "REDIS_TIMEOUT_SECONDS": "0.2"})
    async with running(settings) as service, http(service.public) as client:
        await client.get("/ecom/books")
        with redis_server.frozen():
            started = asyncio.get_running_loop().time()
            for _ in range(20):
                assert (await client.get("/ecom/books")).status_code == 200
            # Three time-outs, then nothing is asked for a second: far below 20 requests with two calls each.
            assert asyncio.get_running_loop().time() - started < 20 * 2 * 0.2


async def test_cached_lists_survive_the_database(
    service: Service, shop: httpx2.AsyncClient, roles: Any, fresh: str
) -> None:
    before = (await shop.get("/ecom/books")).content
    await service.database.close()
    roles.execute(f"ALTER DATABASE {fresh} ALLOW_CONNECTIONS false")
    try:
        assert (await shop.get("/ecom/books")).content == before
        assert (await shop.get("/ecom/books?page=2")).status_code == 503
    finally:
        roles.execute(f"ALTER DATABASE {fresh} ALLOW_CONNECTIONS true")


async def test_failed_read_is_not_kept(service: Service) -> None:
    cache = BookCache(service.redis)

    async def fails() -> bytes:
        raise RuntimeError("no rows")

    async def works() -> bytes:
        return '["é"]'.encode()

    with pytest.raises(RuntimeError):
        await cache.body("list", "q", fails)
    assert await cache.body("list", "q", works) == '["é"]'.encode()
    assert await cache.body("list", "q", fails) == '["é"]'.encode()


async def holds(done: Callable[[], bool]) -> None:
    while True:
        if done():
            return
        await asyncio.sleep(0.01)


async def test_one_read_for_all_who_ask_at_once(service: Service) -> None:
    """Also if the one who reads goes away: another takes over."""
    cache, release, reads = BookCache(service.redis), asyncio.Event(), 0

    async def read() -> bytes:
        nonlocal reads
        reads += 1
        await release.wait()
        return b"[]"

    first = asyncio.create_task(cache.body("list", "frequent", read))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await holds(lambda: reads == 1)
        others = [asyncio.create_task(cache.body("list", "frequent", read)) for _ in range(10)]
        await holds(lambda: cache.waiting == len(others))
        first.cancel()
        await holds(lambda: reads == 2 and cache.waiting == len(others) - 1)
        release.set()
        assert await asyncio.gather(*others) == [b"[]"] * len(others)
    assert reads == 2
    assert first.cancelled()


async def test_who_asks_after_a_change_does_not_wait_for_older_rows(service: Service) -> None:
    cache, release, begun = BookCache(service.redis), asyncio.Event(), asyncio.Event()

    async def old() -> bytes:
        begun.set()
        await release.wait()
        return b"old"

    async def new() -> bytes:
        return b"new"

    first = asyncio.create_task(cache.body("list", "changing", old))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await begun.wait()
        async with cache.dropping():
            pass
        assert await cache.body("list", "changing", new) == b"new"
        release.set()
        assert await first == b"old"
        assert await cache.body("list", "changing", new) == b"new"
