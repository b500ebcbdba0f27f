"""Requests to a process on this host, over plain HTTP."""

import ssl
from typing import Any

import httpx2

# httpx2's own functions read the system's authorities for each request: 40 ms, many times in a loop that polls.
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def request(method: str, url: str, timeout: float, **options: Any) -> httpx2.Response:
    """Send one request over a connection of its own; ``options`` as of httpx2.request, errors, too."""
    with httpx2.Client(verify=_NO_AUTHORITIES, timeout=timeout, trust_env=False) as client:
        return client.request(method, url, **options)
