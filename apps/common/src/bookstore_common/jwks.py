"""The realm's signing keys, fetched and kept (SPEC 3): fresh for 10 min, usable for 1 h if Keycloak does not answer.

An unknown ``kid`` makes one more fetch, at most every 30 s, so that a new key works at once and invented ones cost
nothing. All who need keys at the same time wait for the same fetch.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import httpx2
import orjson
import structlog
from prometheus_client import Counter

from bookstore_common.trust import authorities

FRESH_SECONDS = 600
# Age, not time since fresh: the stricter reading of "stale keys usable 1 h".
USABLE_SECONDS = 3600
UNKNOWN_KID_SECONDS = 30
# After a failed fetch: with keys to go on with, and without.
RETRY_SECONDS = 30
FIRST_RETRY_SECONDS = 1
_MAX_BYTES = 256 * 1024

_log = structlog.get_logger(__name__)
KeyT = TypeVar("KeyT")


class KeysUnavailableError(Exception):
    """No usable key: none was ever fetched, or all are too old."""


class Jwks(Generic[KeyT]):
    """Keys by ``kid``. ``build`` makes one from a JWK, or returns None if it is not for us."""

    def __init__(
        self,
        url: str,
        build: Callable[[Mapping[str, Any]], KeyT | None],
        stale_uses: Counter,
        *,
        timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``stale_uses`` counts uses of keys that could not be renewed in time.

        ``timeout_seconds`` bounds the wait for each part of an answer, half of it to connect. ``clock`` gives seconds.
        """
        self._url = url
        self._build = build
        self._stale_uses = stale_uses
        self._clock = clock
        # Addresses inside of the cluster only: no proxy of the environment.
        self._client = httpx2.AsyncClient(
            verify=authorities(),
            timeout=httpx2.Timeout(timeout_seconds, connect=timeout_seconds / 2),
            trust_env=False,
            follow_redirects=False,
        )
        self._keys: dict[str, KeyT] = {}
        self._documents: dict[str, Any] = {}
        self._fetched = float("-inf")
        self._failed = float("-inf")
        self._asked_for_unknown = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self.generation = 0

    @property
    def loaded(self) -> bool:
        """Whether keys were fetched at least once."""
        return bool(self._keys)

    async def find(self, kid: str) -> KeyT | None:
        """The key, None if the realm has no such key. Raises KeysUnavailableError."""
        if self._age() > FRESH_SECONDS and self._may_retry():
            await self._fetch()
        age = self._age()
        if age > USABLE_SECONDS:
            raise KeysUnavailableError(f"no signing keys from {self._url}")
        if age > FRESH_SECONDS:
            self._stale_uses.inc()
        if kid not in self._keys and self._clock() - self._asked_for_unknown >= UNKNOWN_KID_SECONDS:
            self._asked_for_unknown = self._clock()
            await self._fetch()
        return self._keys.get(kid)

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

    def _may_retry(self) -> bool:
        return self._clock() - self._failed >= (RETRY_SECONDS if self.loaded else FIRST_RETRY_SECONDS)

    async def _fetch(self) -> None:
        """Fetch, or wait for the fetch that runs. A failure is logged and leaves the keys as they are."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_once(), name="jwks")
            self._fetching.add_done_callback(self._forget_task)
        # Shielded: one caller that goes away must not fail the others.
        await asyncio.shield(self._fetching)

    def _forget_task(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch_once(self) -> None:
        try:
            documents = await self._download()
            keys = {kid: key for kid, document in documents.items() if (key := self._build(document)) is not None}
            if not keys:
                raise ValueError("the answer holds no RSA key for signatures")
        except (httpx2.HTTPError, ValueError) as exc:
            self._failed = self._clock()
            _log.warning("jwks_unavailable", url=self._url, error=type(exc).__name__, reason=str(exc), kept=self.loaded)
            return
        self._fetched = self._clock()
        documents = {kid: documents[kid] for kid in keys}
        if documents != self._documents:
            self._keys, self._documents = keys, documents
            self.generation += 1
            _log.info("jwks_loaded", kids=sorted(keys))

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
