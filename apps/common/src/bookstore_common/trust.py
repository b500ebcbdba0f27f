"""The authorities that outbound connections trust."""

import functools
import ssl

import httpx2


@functools.cache
def authorities() -> ssl.SSLContext:
    """Loaded once for the process: each load costs 30 ms of processor time, and every client would make its own."""
    return httpx2.create_ssl_context(trust_env=False)
