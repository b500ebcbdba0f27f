"""Redis with short, bounded waits: a service must answer, not hang, while Redis is away (SPEC 3, 5.1).

Key table: see the README. Nothing here needs a restart after an outage: each call tries again.
"""

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as driver
import structlog
from pydantic import Field, SecretStr
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionFailure
from redis.exceptions import NoScriptError, RedisError, ResponseError

from bookstore_common.health import CheckFailedError
from bookstore_common.problem import DependencyUnavailableError
from bookstore_common.settings import BaseServiceSettings, Port

_log = structlog.get_logger(__name__)
# After so many failures in a row nothing is asked for so long, lest every request pays the time-out.
_FAILURES_BEFORE_PAUSE = 3
_PAUSE_SECONDS = 1.0
# A store that refuses does so for as long as it is full: one line a minute says so.
_SILENCE_SECONDS = 60.0


class RedisSettings(BaseServiceSettings):
    """One Redis server; mix into a service's settings."""

    redis_host: str = Field(description="Redis' host name, for example redis.infra.svc.cluster.local")
    redis_port: Port = Field(default=6379, description="a TCP port 1-65535, for example 6379")
    redis_username: str = Field(default="default", description="the user to sign in as, for example default")
    redis_password: SecretStr = Field(description="the user's password, from the Secret redis-auth")
    redis_timeout_seconds: float = Field(
        # Long enough for a machine whose processors are all busy; if Redis hangs, the pause below bounds the waiting.
        default=2.0,
        gt=0,
        le=5,
        description="seconds to connect, and per answer, for example 2.0",
    )
    redis_pool_size: int = Field(default=32, ge=1, le=500, description="connections at most, for example 32")


@dataclass(frozen=True, slots=True)
class Script:
    """Lua for Redis, which knows it by its digest."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[str], *arguments: str | float) -> "Call":
        return Call(self, keys, arguments)


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script; see :meth:`RedisClient.run`."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[str | float]


class RedisUnavailableError(DependencyUnavailableError):
    """Redis does not answer in time, or refuses."""

    def __init__(self, detail: str = "The session store does not answer; try again.") -> None:
        super().__init__(detail, headers={"retry-after": "1"})


class RedisClient:
    """Thin over ``redis.asyncio``: text in and out, one connection pool, errors as RedisUnavailableError.

    ``raw`` is the driver's client; use it inside :meth:`guarded`, which translates errors.
    """

    def __init__(self, settings: RedisSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Connects when first used. ``clock`` gives seconds."""
        self.pool = driver.BlockingConnectionPool(
            host=settings.redis_host,
            port=settings.redis_port,
            username=settings.redis_username,
            password=settings.redis_password.get_secret_value(),
            socket_connect_timeout=settings.redis_timeout_seconds,
            socket_timeout=settings.redis_timeout_seconds,
            # Seconds to wait for a free connection.
            timeout=settings.redis_timeout_seconds,
            max_connections=settings.redis_pool_size,
            decode_responses=True,
            # Once more on a new connection when one turns out to be dead: Redis was replaced while it was idle, and
            # behind a proxy nobody noticed. Carried out twice, a command counts a request twice or writes what is
            # there. What takes too long is not asked again.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionFailure,)),
        )
        self.raw: driver.Redis = driver.Redis(connection_pool=self.pool)
        self._clock = clock
        self._failures = 0
        self._paused_until = 0.0
        self._silent_until = 0.0

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[driver.Redis]:
        """``async with client.guarded() as redis: await redis.get(...)``: errors become RedisUnavailableError."""
        if self._failures >= _FAILURES_BEFORE_PAUSE:
            if self._clock() < self._paused_until:
                raise RedisUnavailableError
            self._paused_until = self._clock() + _PAUSE_SECONDS  # this caller tries; the others do not wait for it
        try:
            yield self.raw
        except ResponseError as exc:
            # Refused, because memory is full for example: it answers, so what it does not refuse is still asked, above
            # all whether a session was ended.
            self._answered()
            self._note_refusal(exc)
            raise RedisUnavailableError from exc
        except (TimeoutError, RedisError, OSError) as exc:
            self._failed(exc)
            raise RedisUnavailableError from exc
        self._answered()

    def _answered(self) -> None:
        if self._failures:
            _log.info("redis_recovered")
            self._failures = 0

    def _note_refusal(self, exc: ResponseError) -> None:
        if self._clock() >= self._silent_until:  # not each request
            self._silent_until = self._clock() + _SILENCE_SECONDS
            _log.warning("redis_refused", error=type(exc).__name__, reason=str(exc).partition("\n")[0])

    def _failed(self, exc: BaseException) -> None:
        self._failures += 1
        if self._failures == 1:  # the change, not each request
            _log.warning("redis_unavailable", error=type(exc).__name__, reason=str(exc).partition("\n")[0])
        if self._failures >= _FAILURES_BEFORE_PAUSE:
            self._paused_until = self._clock() + _PAUSE_SECONDS

    async def run(self, *calls: Call) -> list[Any]:
        """Results of ``calls`` in one round trip; in a refused one's place is a RedisUnavailableError.

        Raises RedisUnavailableError if Redis does not answer.
        """
        async with self.guarded() as connection:
            results = await self._send(connection, calls)
            unknown = [place for place, result in enumerate(results) if isinstance(result, NoScriptError)]
            if unknown:  # Redis restarted, or sees us for the first time
                for place in unknown:
                    await connection.script_load(calls[place].script.source)
                again = await self._send(connection, [calls[place] for place in unknown])
                for place, result in zip(unknown, again, strict=True):
                    results[place] = result
        for place, result in enumerate(results):
            if isinstance(result, ResponseError):
                self._note_refusal(result)
                results[place] = RedisUnavailableError()
        return results

    async def run_one(self, call: Call) -> Any:
        """Result of ``call``. Raises RedisUnavailableError, also if it is refused."""
        (result,) = await self.run(call)
        if isinstance(result, RedisUnavailableError):
            raise result
        return result

    @staticmethod
    async def _send(connection: driver.Redis, calls: Sequence[Call]) -> list[Any]:
        async with connection.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
            results: list[Any] = await pipe.execute(raise_on_error=False)
        return results

    async def get(self, key: str) -> str | None:
        """The text under ``key``, None if there is none."""
        async with self.guarded() as connection:
            value = await connection.get(key)
        return None if value is None else str(value)  # decode_responses

    async def set(self, key: str, value: str, *, ttl_seconds: float) -> None:
        """Store ``value`` for ``ttl_seconds``: nothing is kept for ever."""
        async with self.guarded() as connection:
            await connection.set(key, value, px=max(1, round(ttl_seconds * 1000)))

    async def check(self) -> None:
        """Readiness check; raises CheckFailedError. Asks in any case, so it also ends a pause."""
        try:
            await self.raw.ping()
        except (TimeoutError, RedisError, OSError) as exc:
            raise CheckFailedError(
                f"Redis does not answer ({type(exc).__name__}: {str(exc).partition(chr(10))[0]})"
            ) from exc
        self._paused_until = 0.0

    async def close(self) -> None:
        """Close all connections; the process is about to end, so one that does not close in time is only logged."""
        try:
            await self.raw.aclose()
            await self.pool.disconnect()
        except RedisError as exc:
            _log.warning("redis_not_closed", error=type(exc).__name__)
