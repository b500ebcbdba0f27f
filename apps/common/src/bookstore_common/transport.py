"""Connections to peers, whose failures are those of httpx2 in every case."""

from typing import Any

import httpx2

# What is asked of a socket; on uvloop there is none once its connection has ended.
_OF_A_SOCKET = frozenset({"getpeername", "getsockname", "family"})


class Transport(httpx2.AsyncHTTPTransport):
    """Says that a connection failed, also where the peer ended it before it was set up on this side.

    The mesh's node proxy accepts connections that it cannot hand on, and resets them; anyio then looks for the address
    of a socket that uvloop has closed, and httpx2 passes on its AttributeError.
    """

    def __init__(self, **settings: Any) -> None:
        """``settings``: as httpx2's. No proxy, and nothing else, comes from the environment."""
        super().__init__(trust_env=False, **settings)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            if error.name not in _OF_A_SOCKET:
                raise
            raise httpx2.ConnectError("the peer ended the connection while it was made", request=request) from error
