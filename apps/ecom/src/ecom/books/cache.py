"""Lists of the catalogue in Redis, for 60 s at most and never longer than the books stay as they are (SPEC 5.3, E-02).

An entry carries the generation that was read before the books were. A change of any book sets a new generation after
its commit, so an entry that was filled from the old rows, however late, never matches again. Entry and generation come
in one round trip. Without Redis every list is read from the database, and a change that could not set a new generation
is seen when the entries expire.
"""

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import structlog

from bookstore_common.redis import RedisClient, RedisUnavailableError

TTL_SECONDS = 60
_GENERATION = "ecom:books:generation"
# So many characters of an entry are its generation; the rest is the body.
_LENGTH = 16
# Redis was emptied, or no book was ever changed.
_FIRST = "0" * _LENGTH
_log = structlog.get_logger(__name__)


class BookCache:
    """Ready JSON bodies of lists."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def body(self, kind: str, query: str, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """The body for ``query`` (any text that tells queries of this ``kind`` apart), or ``read`` and keep it."""
        key = f"ecom:books:{kind}:{hashlib.blake2b(query.encode(), digest_size=16).hexdigest()}"
        try:
            async with self._redis.guarded() as redis:
                stored, entry = cast("list[str | None]", await redis.mget(_GENERATION, key))
        except RedisUnavailableError:
            return await read()
        generation = stored or _FIRST
        if entry is not None and entry.startswith(generation):
            return entry[_LENGTH:].encode()
        body = await read()
        with contextlib.suppress(RedisUnavailableError):  # the answer is there all the same
            await self._redis.set(key, generation + body.decode(), ttl_seconds=TTL_SECONDS)
        return body

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
