"""The realm's signing keys (SPEC 3): renewed beside the requests, usable for long if Keycloak does not answer.

A request waits for a fetch in two cases only: there are no usable keys, or it names a ``kid`` that is not among them;
the latter makes at most one fetch in 30 s, so that a new key works at once and invented ones cost nothing. All who wait
at the same time wait for the same fetch. What cannot be told without Keycloak is said so, and never called refused.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx2
import orjson
import structlog
from prometheus_client import Counter

from bookstore_common.sealed import SealedStore
from bookstore_common.transport import Transport
from bookstore_common.trust import authorities

# Keys of this age are fetched again, beside the requests; so soon a withdrawn key ends.
REFRESH_SECONDS = 30
# Whoever has no copy of its own is given keys that are no older than this, as long as Keycloak answers.
PUBLISHED_SECONDS = 10
# Uses of keys that are older are counted: several fetches in a row failed.
FRESH_SECONDS = 600
UNKNOWN_KID_SECONDS = 30
# After a failed fetch: with keys to go on with, and without.
RETRY_SECONDS = 5
FIRST_RETRY_SECONDS = 1
_MAX_BYTES = 256 * 1024
_STORED = "jwks"

_log = structlog.get_logger(__name__)
KeyT = TypeVar("KeyT")


class KeysUnavailableError(Exception):
    """Whether the realm has the key cannot be told: no keys, only too old ones, or Keycloak does not answer."""


class Jwks(Generic[KeyT]):
    """Keys by ``kid``. ``build`` makes one from a JWK, or returns None if it is not for us."""

    def __init__(
        self,
        url: str,
        build: Callable[[Mapping[str, Any]], KeyT | None],
        stale_uses: Counter,
        *,
        timeout_seconds: float,
        usable_seconds: float,
        store: SealedStore | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``stale_uses`` counts uses of keys that could not be renewed in time.

        ``timeout_seconds`` bounds a fetch, half of it to connect; ``usable_seconds`` the age of keys. ``store`` keeps
        them for a start while Keycloak is away. ``clock`` gives seconds, ``now`` Unix seconds.
        """
        self._url = url
        self._build = build
        self._stale_uses = stale_uses
        self._timeout = timeout_seconds
        self._usable = usable_seconds
        self._store = store
        self._clock = clock
        self._now = now
        # Addresses inside of the cluster only: no proxy of the environment.
        self._client = httpx2.AsyncClient(
            transport=Transport(verify=authorities()),
            timeout=httpx2.Timeout(timeout_seconds, connect=timeout_seconds / 2),
            trust_env=False,
            follow_redirects=False,
        )
        self._keys: dict[str, KeyT] = {}
        self._documents: dict[str, Any] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._asked_for_unknown = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._away = False
        self.generation = 0

    @property
    def loaded(self) -> bool:
        """Whether there are keys, of whatever age."""
        return bool(self._keys)

    @property
    def last_seen(self) -> float:
        """When Keycloak last gave its keys, in Unix seconds; ``-inf``: never."""
        return self._now() - self._age()

    async def find(self, kid: str) -> KeyT | None:
        """The key, None if the realm has no such key. Raises KeysUnavailableError."""
        self.refresh_beside()
        if not self._is_usable() and self._may_try():
            await self._fetch()
        if not self._is_usable():
            raise KeysUnavailableError(f"no signing keys from {self._url}")
        if self._age() > FRESH_SECONDS:
            self._stale_uses.inc()
        if kid not in self._keys:
            await self._look_for_unknown()
        key = self._keys.get(kid)
        if key is None and self._away:  # it may be new
            raise KeysUnavailableError(f"{self._url} does not answer, and the key is not known yet")
        return key

    async def published(self) -> list[Any]:
        """The JWKs for somebody who keeps none: Keycloak's own, or while it is away, the last ones.

        Raises KeysUnavailableError.
        """
        if self._age() >= PUBLISHED_SECONDS and self._may_try():
            await self._fetch()
        if not self._is_usable():
            raise KeysUnavailableError(f"no signing keys from {self._url}")
        return list(self._documents.values())

    async def is_away(self) -> bool:
        """Whether Keycloak does not answer. Asks anew, all together, if the last answer is some seconds old."""
        if self._clock() - self._tried >= RETRY_SECONDS:
            await self._fetch()
        return self._away

    def refresh_beside(self) -> None:
        """Start a fetch if one is due, and do not wait for it. Readiness calls it, too: keys age without requests."""
        if self.loaded and self._age() >= REFRESH_SECONDS and self._may_try():
            self._start()

    async def load(self) -> None:
        """Fetch now; raises KeysUnavailableError if that fails and there were no keys before."""
        await self._fetch()
        if not self.loaded:
            raise KeysUnavailableError(f"no signing keys from {self._url}")

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        await self._client.aclose()

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _is_usable(self) -> bool:
        return self.loaded and self._age() <= self._usable

    def _may_try(self) -> bool:
        if not self._away:
            return True
        return self._clock() - self._tried >= (RETRY_SECONDS if self._is_usable() else FIRST_RETRY_SECONDS)

    async def _look_for_unknown(self) -> None:
        if self._clock() - self._asked_for_unknown >= UNKNOWN_KID_SECONDS:
            self._asked_for_unknown = self._clock()
            await self._fetch()

    def _start(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_once(), name="jwks")
            self._fetching.add_done_callback(self._forget_task)
        return self._fetching

    async def _fetch(self) -> None:
        """Fetch, or wait for the fetch that runs. A failure is logged and leaves the keys as they are."""
        # Shielded: one caller that goes away must not fail the others.
        await asyncio.shield(self._start())

    def _forget_task(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch_once(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                documents = await self._download()
            keys = self._built(documents)
            if not keys:
                raise ValueError("the answer holds no RSA key for signatures")
        except (httpx2.HTTPError, TimeoutError, ValueError) as exc:
            await self._note_failure(exc)
        else:
            self._tried = self._clock()
            self._away = False
            self._take(keys, documents, self._clock())
        await self._keep()

    async def _note_failure(self, exc: Exception) -> None:
        if not self._is_usable():
            await self._restore()
        if not self._away:  # the change, not each attempt
            _log.warning("jwks_unavailable", url=self._url, error=type(exc).__name__, reason=str(exc), kept=self.loaded)
        self._tried = self._clock()
        self._away = True

    def _built(self, documents: Mapping[str, Any]) -> dict[str, KeyT]:
        return {kid: key for kid, document in documents.items() if (key := self._build(document)) is not None}

    def _take(self, keys: dict[str, KeyT], documents: Mapping[str, Any], fetched: float) -> None:
        self._fetched = fetched
        documents = {kid: documents[kid] for kid in keys}
        if documents != self._documents:
            self._keys, self._documents = keys, documents
            self.generation += 1
            _log.info("jwks_loaded", kids=sorted(keys))

    async def _keep(self) -> None:
        """Once more after each failure, too: Redis may have lost it."""
        remaining = self._usable - self._age()
        if self._store is not None and self.loaded and remaining > 0:
            document = {"fetched": self.last_seen, "keys": self._documents}
            await self._store.put(_STORED, document, ttl_seconds=remaining)

    async def _restore(self) -> None:
        """Take the keys that this service kept, at the age that they have."""
        stored = await self._store.get(_STORED) if self._store is not None else None
        if not isinstance(stored, dict) or not isinstance(stored.get("keys"), dict):
            return
        age = max(0.0, self._now() - float(stored["fetched"]))
        keys = self._built(stored["keys"])
        if keys and age <= min(self._usable, self._age()):
            self._take(keys, stored["keys"], self._clock() - age)
            _log.warning("jwks_restored", age_seconds=round(age), kids=sorted(keys))

    async def _download(self) -> dict[str, Mapping[str, Any]]:
        """The JWKs by ``kid``; raises httpx2.HTTPError or ValueError."""
        body = bytearray()
        async with self._client.stream("GET", self._url, headers={"accept": "application/json"}) as response:
            if response.status_code != httpx2.codes.OK:
                raise ValueError(f"status {response.status_code}")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"the answer is longer than {_MAX_BYTES} bytes")
        content = orjson.loads(bytes(body))
        entries = content.get("keys") if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError('the answer is not a key set: no list "keys"')
        return {
            entry["kid"]: entry
            for entry in entries
            if isinstance(entry, dict) and isinstance(entry.get("kid"), str) and entry["kid"]
        }
