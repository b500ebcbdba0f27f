"""The door on the host's loopback address: answers to its own names only, and says so with headers that protect."""

import ipaddress
import re
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Script, styles and data of this origin only; nothing inline, nothing framed, no text becomes markup (Trusted Types).
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
    "trusted-types 'none'",
))  # fmt: skip
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?", re.ASCII)
_MISDIRECTED = b'{"error":"this door answers to its own names only, such as localhost"}\n'


class OwnNamesMiddleware:
    """Refuses requests by another name: else a web page whose name is made to lead here could read the map
    (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str], pod_ip: str = "") -> None:
        self._app = app
        self._names = frozenset(names)
        self._pod_ip = pod_ip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) == 1 and self.own(hosts[0]):
            await self._app(scope, receive, send_protected)
        else:
            await Response(_MISDIRECTED, 421, media_type="application/json")(scope, receive, send_protected)

    def own(self, authority: str) -> bool:
        """Whether a Host header names this door."""
        found = _AUTHORITY.fullmatch(authority)
        if not found:
            return False
        host = found[1].strip("[]").lower()
        try:
            return ipaddress.ip_address(host).is_loopback or host == self._pod_ip
        except ValueError:
            return host in self._names
