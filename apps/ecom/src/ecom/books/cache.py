"""Lists of the catalogue in Redis, for 60 s at most and never longer than the books stay as they are (SPEC 5.3, E-02).

An entry carries the generation that was read before the books were. A change of any book sets a new generation after
its commit, so an entry that was filled from the old rows, however late, never matches again. Entry and generation come
in one round trip. Without Redis every list is read from the database, and a change that could not set a new generation
is seen when the entries expire.

Strangers choose the queries, and the same Redis keeps sessions and CSRF tokens: so there is a fixed number of places,
a query's digest says which one is its own, and what lies there of another query is overwritten. The cache cannot grow
beyond PLACES x MAX_BODY_BYTES (8 MiB), whatever is asked, and needs no script or counter for it.

Who asks in one process for what another request is reading already, waits for that: when an entry ends or the books
change, each process reads a list once, however many ask. No older entry is served meanwhile: it shows prices.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import structlog

from bookstore_common.redis import RedisClient, RedisUnavailableError

TTL_SECONDS = 60
PLACES = 256
# A page of 12 books has about 8 kB. A longer list than this is read anew each time.
MAX_BODY_BYTES = 32 * 1024
_GENERATION = "ecom:books:generation"
# So many characters of an entry are its generation, then so many its query's digest; the rest is the body.
_LENGTH = 16
_DIGEST_LENGTH = 32
# Redis was emptied, or no book was ever changed.
_FIRST = "0" * _LENGTH
_log = structlog.get_logger(__name__)


class BookCache:
    """Ready JSON bodies of lists."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        # By generation and query; None if whoever read has failed or was cancelled.
        self._flights: dict[str, asyncio.Future[bytes | None]] = {}
        self.waiting = 0

    async def body(self, kind: str, query: str, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """The body for ``query`` (any text that tells queries of this ``kind`` apart), or ``read`` and keep it."""
        digest = hashlib.blake2b(f"{kind}:{query}".encode(), digest_size=_DIGEST_LENGTH // 2).hexdigest()
        key = f"ecom:books:list:{int(digest, 16) % PLACES}"
        try:
            async with self._redis.guarded() as redis:
                stored, entry = cast("list[str | None]", await redis.mget(_GENERATION, key))
        except RedisUnavailableError:
            return await read()
        mark = (stored or _FIRST) + digest
        if entry is not None and entry.startswith(mark):
            return entry[len(mark) :].encode()
        while (flight := self._flights.get(mark)) is not None:
            self.waiting += 1
            try:
                shared = await asyncio.shield(flight)
            finally:
                self.waiting -= 1
            if shared is not None:
                return shared
        flight = self._flights[mark] = asyncio.get_running_loop().create_future()
        body: bytes | None = None
        try:
            body = await read()
            await self._keep(key, mark, body)
        finally:
            del self._flights[mark]
            flight.set_result(body)
        return body

    async def _keep(self, key: str, mark: str, body: bytes) -> None:
        if len(body) <= MAX_BODY_BYTES:
            with contextlib.suppress(RedisUnavailableError):  # the answer is there all the same
                await self._redis.set(key, mark + body.decode(), ttl_seconds=TTL_SECONDS)

    @contextlib.asynccontextmanager
    async def dropping(self) -> AsyncIterator[None]:
        """Around the transaction that changes a book: whatever became of it, no older entry is used afterwards."""
        try:
            yield
        finally:
            try:
                async with self._redis.guarded() as redis:
                    await redis.set(_GENERATION, secrets.token_hex(_LENGTH // 2))
            except RedisUnavailableError as error:
                _log.warning("catalogue_cache_not_dropped", reason=str(error), stale_seconds=TTL_SECONDS)
