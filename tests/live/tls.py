"""TLS settings and HTTP clients that threads cannot disturb.

An HTTP client sets ALPN on its context at each connect, and OpenSSL copies that list, without a lock, for a connection that another
thread begins: of a shared context a server may get half a list, and answers ``decode_error``. So no context is handed around here.
A :class:`Trust` is, which makes a new one each time, and the clients that it makes have one for each thread that uses them.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import Any

import httpx2


class Trust:
    """Whom to trust: the authority of this PEM and nobody else; without one, the machine's authorities."""

    def __init__(self, authority: str | None) -> None:
        self.authority = authority

    def context(self) -> ssl.SSLContext:
        """Return new settings: for one thread, or for one event loop."""
        return ssl.create_default_context(cadata=self.authority)

    def client(self, *, timeout: float = 30, **options: Any) -> httpx2.Client:
        """Return a client that threads may share, with a cookie jar of its own; it follows no redirect. ``options`` are httpx's."""
        return httpx2.Client(transport=EachThread(self.context), timeout=timeout, trust_env=False, **options)


def plain_client(*, timeout: float = 30, **options: Any) -> httpx2.Client:
    """Return a client for http:// that threads may share; it trusts nobody's certificate."""
    return httpx2.Client(transport=EachThread(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)), timeout=timeout, trust_env=False, **options)


class EachThread(httpx2.BaseTransport):
    """Gives each thread connections and TLS settings of its own. Those of the thread that makes it are made at once."""

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        self._context = context
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._all: list[httpx2.HTTPTransport] = []
        self._own()

    def _own(self) -> httpx2.HTTPTransport:
        found: httpx2.HTTPTransport | None = getattr(self._mine, "transport", None)
        if found is None:
            found = self._mine.transport = httpx2.HTTPTransport(verify=self._context(), trust_env=False)
            with self._lock:
                self._all.append(found)
        return found

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._own().handle_request(request)

    def close(self) -> None:
        with self._lock:
            closing, self._all = self._all, []
        self._mine = threading.local()
        for transport in closing:
            transport.close()
