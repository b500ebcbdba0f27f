"""A WSGI middleware that answers to the server's own names only."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from typing import Any


class OwnNames:
    """Answers to this server's own names only, whatever is asked for.

    Else a web page whose name is made to lead here (DNS rebinding) could read what a signed-in browser may. Its own addresses
    count: the kubelet's probes and the mesh's proxy use the pod's.
    """

    AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?", re.ASCII)

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.names = frozenset(os.environ["DOOR_NAMES"].split(","))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Hand the request on, or refuse it."""
        if self.own(environ.get("HTTP_HOST", "")):
            return self.application(environ, start_response)
        start_response("421 Misdirected Request", [
            ("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
            ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ])  # fmt: skip
        return [b'{"error":"this door answers to its own names only, such as localhost"}\n']

    def own(self, authority: str) -> bool:
        """Return whether a Host header names this server."""
        found = self.AUTHORITY.fullmatch(authority)
        if not found:
            return False
        host = found[1].strip("[]").lower()
        try:
            return ipaddress.ip_address(host).is_loopback or host == os.environ.get("POD_IP")
        except ValueError:
            return host in self.names
