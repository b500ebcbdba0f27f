"""Calls to other services (SPEC 5.1): connect 1 s, read 3 s, two jittered retries, breakers, bounded admission.

A peer that is gone costs its callers a bounded time, and after five failed connections in a row none for 10 s.
Time-outs and failed answers (502, 503, 504, a lost connection) count for the route alone: a slow request leaves the
others open.
Of one route only so many calls are under way at a time, so that it cannot take all connections to the peer.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson
import stamina
import structlog

from bookstore_common.context import request_id_var
from bookstore_common.headers import check_sent
from bookstore_common.metrics import Metrics
from bookstore_common.problem import DependencyUnavailableError
from bookstore_common.transport import Transport
from bookstore_common.trust import authorities

CONNECT_SECONDS = 1.0
READ_SECONDS = 3.0
ATTEMPTS = 3
FAILURES_TO_OPEN = 5
OPEN_SECONDS = 10.0
# Connections to a peer are 100 (httpx2's default): one route never holds more than a third of them.
ROUTE_CALLS = 32
# More routes than any peer has here; beyond, all others share one breaker.
_MAX_ROUTES = 64
_VARIABLE = re.compile(r"[0-9]+|[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_GATEWAY_TIMEOUT = 504
_RETRIED_STATUS = frozenset({502, 503, _GATEWAY_TIMEOUT})
# Peers answer in pages; anything longer is an accident.
_MAX_BYTES = 8 * 1024 * 1024
_log = structlog.get_logger(__name__)


class UpstreamUnavailableError(DependencyUnavailableError):
    """The peer cannot be reached, answers 502 or 503, or answers nonsense; ``peer`` is its name."""

    def __init__(self, peer: str, detail: str | None = None) -> None:
        super().__init__(detail or f"The service {peer} does not answer; try again.", headers={"retry-after": "1"})
        self.peer = peer


class UpstreamTimeoutError(UpstreamUnavailableError):
    """The peer took too long, or answers 504. A change that was asked for may have happened."""


class UpstreamBusyError(UpstreamUnavailableError):
    """As many calls of the route as may be are under way; this one was not sent."""


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """An answer of the peer: any status but 502, 503 and 504."""

    peer: str
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The parsed body; raises UpstreamUnavailableError if it is not JSON."""
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            raise UpstreamUnavailableError(
                self.peer, f"The service {self.peer} answered something unreadable."
            ) from None


class Breaker:
    """Opens for ``OPEN_SECONDS`` after ``FAILURES_TO_OPEN`` failures in a row; then one call may try at a time."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[bool], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._failures = 0
        self._opened: float | None = None
        self._trying = False

    def admit(self) -> bool:
        """Whether a call may be tried now; who is told yes must report succeeded, failed or abandoned."""
        if self._opened is None:
            return True
        if self._trying or self._clock() - self._opened < OPEN_SECONDS:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        self._failures, self._trying = 0, False
        if self._opened is not None:
            self._opened = None
            self._changed(False)

    def failed(self) -> None:
        self._failures, self._trying = self._failures + 1, False
        if self._failures >= FAILURES_TO_OPEN:
            if self._opened is None:
                self._changed(True)
            self._opened = self._clock()

    def abandoned(self) -> None:
        """The caller went away; nothing is known of the peer."""
        self._trying = False


def route_of(method: str, path: str) -> str:
    """``GET /orders/{}``: the path without what differs from call to call (UUIDs and numbers)."""
    segments = path.partition("?")[0].split("/")
    return f"{method} {'/'.join('{}' if _VARIABLE.fullmatch(segment) else segment for segment in segments)}"


class _Route:
    """State of one route of a peer."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.calls = 0


class _AttemptFailedError(Exception):
    """Internal: one attempt; ``cause`` is what the caller gets if it was the last."""

    def __init__(self, cause: UpstreamUnavailableError) -> None:
        super().__init__(cause.detail)
        self.cause = cause


class OutboundClient:
    """Calls one peer over kept connections. Connects when first used."""

    def __init__(
        self,
        name: str,
        base_url: str,
        metrics: Metrics,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``name``: the peer in metrics, logs and errors. ``base_url``: scheme, host, port, without a path's end."""
        if urlsplit(base_url).scheme not in {"http", "https"}:
            raise ValueError(f"base_url: {base_url!r} has no http scheme; write for example http://inventory-api:8001")
        self.name = name
        self._metrics = metrics
        self._clock = clock
        self._open: set[str] = set()
        self._peer = Breaker(clock, lambda is_open: self._note_breaker("*", is_open))
        self._routes: dict[str, _Route] = {}
        metrics.breaker_open.labels(name).set(0)
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            # Peers are inside of the cluster: no proxy of the environment.
            transport=Transport(verify=authorities()),
            timeout=httpx2.Timeout(read_seconds, connect=connect_seconds, pool=connect_seconds),
            trust_env=False,
            # One would be a mistake.
            follow_redirects=False,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        idempotent: bool | None = None,
    ) -> OutboundResponse:
        """Send one request, retried if it is idempotent (GET, PUT, DELETE, or ``idempotent=True``).

        ``json`` may hold UUIDs and times; ``params`` that are None are left out; ``token`` is sent as Bearer;
        X-Request-ID of the request being served goes along. Raises UpstreamTimeoutError after time-outs and 504,
        UpstreamUnavailableError after connection errors, 502, 503 and while the breaker of the peer or the route is
        open, UpstreamBusyError if too many calls of the route are under way, InvalidInputError about a header that
        cannot be sent.
        """
        sent = {"x-request-id": request_id_var.get(), **(headers or {})}
        if not sent["x-request-id"]:
            del sent["x-request-id"]
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        for name, value in sent.items():
            check_sent(name, value)
        content = None
        if json is not None:
            content = orjson.dumps(json)
            sent["content-type"] = "application/json"
        request = self._client.build_request(
            method,
            path,
            content=content,
            data=dict(form) if form is not None else None,
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers=sent,
        )
        may_repeat = method in _IDEMPOTENT_METHODS if idempotent is None else idempotent
        route = self._route(route_of(method, path))
        if route.calls >= ROUTE_CALLS:
            self._metrics.outbound_requests.labels(self.name, "busy").inc()
            raise UpstreamBusyError(self.name, f"Too many requests wait for the service {self.name}; try again.")
        route.calls += 1
        try:
            async for attempt in stamina.retry_context(
                on=_AttemptFailedError,
                attempts=ATTEMPTS if may_repeat else 1,
                timeout=None,
                wait_initial=0.05,
                wait_max=0.4,
                wait_jitter=0.1,
            ):
                with attempt:
                    return await self._attempt(request, route.breaker)
        except _AttemptFailedError as error:
            raise error.cause from None
        finally:
            route.calls -= 1
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def close(self) -> None:
        await self._client.aclose()

    def _route(self, name: str) -> _Route:
        if name not in self._routes and len(self._routes) >= _MAX_ROUTES:
            name = "other"
        if name not in self._routes:
            self._routes[name] = _Route(Breaker(self._clock, lambda is_open: self._note_breaker(name, is_open)))
        return self._routes[name]

    def _admit(self, route: Breaker) -> bool:
        if not route.admit():
            return False
        if self._peer.admit():
            return True
        route.abandoned()
        return False

    async def _attempt(self, request: httpx2.Request, route: Breaker) -> OutboundResponse:
        if not self._admit(route):
            self._metrics.outbound_requests.labels(self.name, "breaker_open").inc()
            raise UpstreamUnavailableError(self.name)  # no use in repeating
        started = time.perf_counter()
        result = "abandoned"
        try:
            response = await self._send(request)
            result = str(response.status)
        except httpx2.PoolTimeout as exc:
            # Our own connections are all in use: nothing is known of the peer, and it has not got the request.
            result = "busy"
            route.abandoned()
            self._peer.abandoned()
            raise UpstreamBusyError(self.name) from exc
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as exc:
            timed_out = isinstance(exc, httpx2.ConnectTimeout)
            result = "timeout" if timed_out else "connection_error"
            route.abandoned()
            error = (UpstreamTimeoutError if timed_out else UpstreamUnavailableError)(self.name)
            raise self._failed(self._peer, error, exc) from exc
        except httpx2.TimeoutException as exc:
            result = "timeout"
            self._peer.abandoned()
            raise self._failed(route, UpstreamTimeoutError(self.name), exc) from exc
        except (httpx2.TransportError, httpx2.DecodingError) as exc:
            result = "connection_error"
            self._peer.abandoned()
            raise self._failed(route, UpstreamUnavailableError(self.name), exc) from exc
        finally:
            if result == "abandoned":  # cancelled, or a mistake of ours
                route.abandoned()
                self._peer.abandoned()
            self._metrics.outbound_duration.labels(self.name).observe(time.perf_counter() - started)
            self._metrics.outbound_requests.labels(self.name, result).inc()
        self._peer.succeeded()  # whatever it says, it is there
        if response.status in _RETRIED_STATUS:
            kind = UpstreamTimeoutError if response.status == _GATEWAY_TIMEOUT else UpstreamUnavailableError
            raise self._failed(route, kind(self.name), None)
        route.succeeded()
        return response

    async def _send(self, request: httpx2.Request) -> OutboundResponse:
        response = await self._client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise httpx2.DecodingError(f"more than {_MAX_BYTES} bytes", request=request)
        finally:
            await response.aclose()
        return OutboundResponse(self.name, response.status_code, response.headers, bytes(body))

    def _failed(
        self, breaker: Breaker, error: UpstreamUnavailableError, cause: Exception | None
    ) -> _AttemptFailedError:
        breaker.failed()
        _log.warning("outbound_failed", peer=self.name, error=type(cause or error).__name__)
        return _AttemptFailedError(error)

    def _note_breaker(self, route: str, is_open: bool) -> None:
        """``route``: ``*`` is the peer's own breaker."""
        (self._open.add if is_open else self._open.discard)(route)
        self._metrics.breaker_open.labels(self.name).set(bool(self._open))
        event = "breaker_open" if is_open else "breaker_closed"
        (_log.warning if is_open else _log.info)(event, peer=self.name, route=route)
