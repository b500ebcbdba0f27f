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
# So many times a limit may all together use who cannot be told apart.
SHARED_TIMES = 10
# KEYS: the own bucket, perhaps a shared one. ARGV: now, length of the window, the buckets' sizes. Returns {which
# bucket, whether it lets in, its window}: of the first that refuses, else of the own one. What one refuses the next
# does not count.
_COUNT = """
local function acquire(KEYS, ARGV)
ACQUIRE
end
local function read(KEYS, ARGV)
READ
end
for place, key in ipairs(KEYS) do
    if not acquire({key}, {ARGV[1], ARGV[2 + place], ARGV[2], 1}) then
        return {place, 0, read({key}, {ARGV[1] - ARGV[2], ARGV[2 + place]})}
    end
end
return {1, 1, read({KEYS[1]}, {ARGV[1] - ARGV[2], ARGV[3]})}
"""


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
        acquire, read = bridge.lua_acquire_moving_window.script.decode(), bridge.lua_moving_window.script.decode()
        self._count = Script(_COUNT.replace("ACQUIRE", acquire).replace("READ", read))
        self._factor = factor

    def amount(self, limit: Limit, times: int = 1) -> int:
        """How many requests a minute ``times`` the limit are."""
        return max(1, round(limit.per_minute * times * self._factor))

    def counting(self, limit: Limit, key: str, shared: str | None = None) -> "Hit":
        """What :meth:`hit` asks, to be asked along with something else."""
        item = RateLimitItemPerMinute(self.amount(limit), namespace=limit.label)
        names, seconds, now = [self._prefixed(item.key_for(key))], item.get_expiry(), time.time()
        amounts = [item.amount]
        if shared is not None:
            names.append(self._prefixed(item.key_for(shared)))
            amounts.append(self.amount(limit, SHARED_TIMES))
        return Hit(self._count.call(names, now, seconds, *amounts), amounts, seconds, now)

    async def hit(self, limit: Limit, key: str, shared: str | None = None) -> Window:
        """Count one request of ``key``, if it is allowed. Raises RedisUnavailableError.

        ``shared``: a bucket of ``SHARED_TIMES`` the size, in which only what the own one let in is counted.
        """
        hit = self.counting(limit, key, shared)
        return hit.window(await self._redis.run_one(hit.call))


@dataclass(frozen=True, slots=True)
class Hit:
    """One request to count, by ``call``."""

    call: Call
    amounts: Sequence[int]
    seconds: int
    now: float

    def window(self, result: Any) -> Window:
        """Where the key stands by the result of ``call``, which is raised if it is an error.

        It is the shared bucket's window if that one refuses.
        """
        if isinstance(result, RedisUnavailableError):
            raise result
        place, allowed, window = result
        amount = self.amounts[place - 1]
        oldest, count = (float(window[0]), int(window[1])) if window else (self.now, 0)
        reset = min(self.seconds, max(1, math.ceil(oldest + self.seconds - self.now)))
        return Window(bool(allowed), amount, max(0, amount - count), reset)
