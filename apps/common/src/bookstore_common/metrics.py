"""Prometheus metrics of one process, in a registry of its own (SPEC 5.1)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from fastapi.routing import RouteContext, iter_route_contexts
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from starlette.routing import BaseRoute, compile_path
from starlette.types import Scope

# Around the catalogue's target (p95 under 300 ms) and up to the gateway's timeout (15 s).
_BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.5, 3.0, 5.0, 15.0)
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
UNMATCHED = "unmatched"
_SCRAPE_TIMEOUT_SECONDS = 1
_log = structlog.get_logger(__name__)


class Metrics:
    """The HTTP metrics and the registry to which a service adds its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series per label set, which nothing reads
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        labels = ["listener", "method", "route"]
        self._requests = Counter(
            "http_requests_total", "Requests answered.", [*labels, "status"], registry=self.registry
        )
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from the first byte of the request to the last of the answer.",
            labels,
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.in_progress = Gauge(
            "http_requests_in_progress", "Requests being served.", ["listener"], registry=self.registry
        )
        self._children: dict[tuple[str, str, str, int], tuple[Any, Any]] = {}
        self._scraped: list[tuple[Callable[[], Awaitable[None]], Callable[[], None]]] = []
        self._add_access_metrics()
        self._add_outbound_metrics()

    def _add_access_metrics(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=self.registry)

        self.auth_failures = counter("auth_failures_total", "Requests refused with 401 or 403, by cause.", "reason")
        self.csrf_rejections = counter("csrf_rejections_total", "Requests refused by the CSRF check.", "reason")
        self.rate_limited = counter("rate_limited_total", "Requests refused with 429.", "limit")
        self.rate_limiter_errors = counter("rate_limiter_errors_total", "Requests let in without a rate limit.")
        self.session_checks_skipped = counter(
            "session_checks_skipped_total", "Tokens accepted without asking whether their session was ended."
        )
        self.jwks_stale_uses = counter("jwks_stale_uses_total", "Tokens checked with keys that could not be renewed.")

    def _add_outbound_metrics(self) -> None:
        self.outbound_requests = Counter(
            "outbound_requests_total", "Attempts to call a peer.", ["peer", "result"], registry=self.registry
        )
        self.outbound_duration = Histogram(
            "outbound_request_duration_seconds",
            "Duration of each attempt.",
            ["peer"],
            registry=self.registry,
            buckets=_BUCKETS,
        )
        self.breaker_open = Gauge(
            "outbound_breaker_open",
            "1 while calls to the peer, or of one of its routes, are not even tried.",
            ["peer"],
            registry=self.registry,
        )

    def on_scrape(self, refresh: Callable[[], Awaitable[None]], failed: Callable[[], None]) -> None:
        """Call ``refresh`` before each exposition, and ``failed`` if it raises or takes longer than a second."""
        self._scraped.append((refresh, failed))

    async def expose(self) -> bytes:
        """All metrics in Prometheus' text format."""
        for refresh, failed in self._scraped:
            try:
                async with asyncio.timeout(_SCRAPE_TIMEOUT_SECONDS):
                    await refresh()
            except Exception as exc:  # a scrape must show the rest
                _log.warning("metric_not_refreshed", error=type(exc).__name__)
                failed()
        return generate_latest(self.registry)

    def observe(self, listener: str, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. ``route`` must be a template, never a path: each value is a series kept for ever."""
        key = (listener, method if method in _METHODS else "OTHER", route, status)
        children = self._children.get(key)
        if children is None:  # looking a child up by labels costs more than counting
            children = (self._requests.labels(*key[:3], str(status)), self._duration.labels(*key[:3]))
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)


class RouteTemplates:
    """Finds the whole template of the route that served a request.

    FastAPI >= 0.137 keeps included routers as a tree, and ``scope["route"].path`` lacks the prefixes of the routers
    around it. ``iter_route_contexts`` knows them; the answer per route object is kept.
    """

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes
        self._templates: dict[int, list[str]] = {}

    def find(self, scope: Scope) -> str:
        """Template such as ``/ecom/books/{book_id}``, or ``unmatched``."""
        route = scope.get("route")
        if route is None:
            return UNMATCHED
        templates = self._templates.get(id(route))
        if templates is None:
            self._index()
            templates = self._templates.get(id(route), [])
        if len(templates) == 1:
            return templates[0]
        # One router included under several prefixes: the path decides.
        for template in templates:
            if compile_path(template)[0].match(scope["path"]):
                return template
        return UNMATCHED

    def _index(self) -> None:
        self._templates.clear()
        contexts: Sequence[RouteContext] = list(iter_route_contexts(self._routes))
        for context in contexts:
            if context.path is not None:
                templates = self._templates.setdefault(id(context.original_route), [])
                if context.path not in templates:
                    templates.append(context.path)
