"""What surrounds every request: id, log line, metrics, HEAD, and an answer to the unforeseen."""

import asyncio
import time
from collections.abc import Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bookstore_common import problem
from bookstore_common.context import accept_request_id, request_id_var
from bookstore_common.metrics import Metrics, RouteTemplates

_log = structlog.get_logger("bookstore_common.access")
_HEADERS = "bookstore.response_headers"


def add_response_headers(scope: Scope, headers: Mapping[str, str]) -> None:
    """Send ``headers`` with the answer to this request, whatever the endpoint returns or raises."""
    pending: dict[str, str] | None = scope.get(_HEADERS)
    if pending is not None:
        pending.update(headers)


class RequestContextMiddleware:
    """Outermost layer: sets the request id, answers HEAD as GET without a body, counts and logs the request.

    The log names the route's template and never the query or headers, which may hold what a person typed.
    """

    def __init__(self, app: ASGIApp, *, listener: str, metrics: Metrics, templates: RouteTemplates) -> None:
        self._app = app
        self._listener = listener
        self._metrics = metrics
        self._templates = templates
        self._in_progress = metrics.in_progress.labels(listener)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method: str = scope["method"]
        request_id = accept_request_id(Headers(scope=scope).get("x-request-id"))
        token = request_id_var.set(request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 500
        pending: dict[str, str] = {}
        scope[_HEADERS] = pending
        if method == "HEAD":
            scope = {**scope, "method": "GET"}

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({**pending, "x-request-id": request_id})
            elif method == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        self._in_progress.inc()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._in_progress.dec()
            seconds = time.perf_counter() - started
            route = self._templates.find(scope)
            self._metrics.observe(self._listener, method, route, status, seconds)
            _log.info(
                "request",
                listener=self._listener,
                method=method,
                route=route,
                status=status,
                duration_ms=round(seconds * 1000, 2),
            )
            structlog.contextvars.unbind_contextvars("request_id", "sub")
            request_id_var.reset(token)


class UnforeseenErrorMiddleware:
    """Innermost layer: turns an unhandled exception into a 500 problem, and being cut off into a 503.

    Starlette would do so outside of the CORS layer, and a browser could not read the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except asyncio.CancelledError:
            # Shutdown cancels what is still running when the drain time is over; a client deserves to know.
            if begun:
                raise
            error = problem.ShuttingDownError("The service was stopped before it could answer; try again.")
            await error.response()(scope, receive, send)
        except Exception:
            _log.exception("unhandled_error")
            if begun:  # half an answer is out: only breaking the connection tells the client
                raise
            await problem.internal_error()(scope, receive, send)
