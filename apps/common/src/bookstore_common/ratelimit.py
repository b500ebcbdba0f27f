"""Rate limits (SPEC 5.1): the library ``limits`` with a moving window in Redis, in one round trip."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage

from bookstore_common.problem import ProblemError
from bookstore_common.redis import Call, RedisClient, RedisUnavailableError, Script

KEY_PREFIX = "limits"


class Limit(Enum):
    """What is limited, and to how many requests per minute and key (``sub``, else by ``addresses``)."""

    ANONYMOUS = ("anonymous", 1200)
    READ = ("read", 300)
    SEARCH = ("search", 120)
    CSRF_TOKEN = ("csrf_token", 30)
    MUTATION = ("mutation", 60)
    CHECKOUT = ("checkout", 10)
    ADMIN_MUTATION = ("admin_mutation", 120)

    @property
    def label(self) -> str:
        return self.value[0]

    @property
    def per_minute(self) -> int:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Window:
    """Where a key stands: ``reset`` in seconds until the oldest request counted leaves the window."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """RateLimit-* for every answer."""
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.reset),
        }


class RateLimitedError(ProblemError):
    """Too many requests; Retry-After says when one is free again."""

    status = 429
    code = "rate_limited"

    def __init__(self, window: Window) -> None:
        super().__init__(
            f"More than {window.limit} requests per minute; try again in {window.reset} s.",
            headers={**window.headers(), "retry-after": str(window.reset)},
        )


class RateLimiter:
    """Counts hits. ``factor`` multiplies every limit, for load tests."""

    def __init__(self, redis: RedisClient, *, factor: float = 1.0) -> None:
        self._redis = redis
        storage = RedisStorage(
            "async+redis://unused:1",  # the pool below knows the address
            implementation="redispy",
            key_prefix=KEY_PREFIX,
            connection_pool=cast(Any, redis.pool),
        )
        # The library's own scripts: its strategy would run them one after the other, in two round trips.
        bridge: Any = storage.bridge
        self._prefixed = bridge.prefixed_key
        self._acquire = Script(bridge.lua_acquire_moving_window.script.decode())
        self._read = Script(bridge.lua_moving_window.script.decode())
        self._factor = factor

    def amount(self, limit: Limit, times: int = 1) -> int:
        """How many requests a minute ``times`` the limit are."""
        return max(1, round(limit.per_minute * times * self._factor))

    def counting(self, limit: Limit, key: str, *, times: int = 1) -> "Hit":
        """What :meth:`hit` asks, to be asked along with something else."""
        item = RateLimitItemPerMinute(self.amount(limit, times), namespace=limit.label)
        name, seconds, now = self._prefixed(item.key_for(key)), item.get_expiry(), time.time()
        calls = (
            self._acquire.call([name], now, item.amount, seconds, 1),
            self._read.call([name], now - seconds, item.amount),
        )
        return Hit(calls, item.amount, seconds, now)

    async def hit(self, limit: Limit, key: str, *, times: int = 1) -> Window:
        """Count one request of ``key``, if it is allowed: ``times`` the limit. Raises RedisUnavailableError."""
        hit = self.counting(limit, key, times=times)
        return hit.window(await self._redis.run(*hit.calls))


@dataclass(frozen=True, slots=True)
class Hit:
    """One request to count, by both ``calls``."""

    calls: tuple[Call, Call]
    amount: int
    seconds: int
    now: float

    def window(self, results: Sequence[Any]) -> Window:
        """Where the key stands by the results of ``calls``; raises RedisUnavailableError if one was refused."""
        for result in results:
            if isinstance(result, RedisUnavailableError):
                raise result
        acquired, window = results
        oldest, count = (float(window[0]), int(window[1])) if window else (self.now, 0)
        reset = min(self.seconds, max(1, math.ceil(oldest + self.seconds - self.now)))
        return Window(bool(acquired), self.amount, max(0, self.amount - count), reset)
