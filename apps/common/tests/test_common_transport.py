"""Peers that accept a connection and end it at once, as the mesh's node proxy does when it reaches nobody."""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

import httpx2
import pytest
import uvloop

from bookstore_common.metrics import Metrics
from bookstore_common.outbound import OutboundClient, UpstreamUnavailableError
from bookstore_common.transport import Transport

ATTEMPTS = 400


@pytest.fixture
def resetting() -> Iterator[str]:
    """The address of a server that resets every connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_its_reset_is_a_failure_of_the_connection_whenever_it_comes(resetting: str) -> None:
    """On the event loop of the services; each attempt may meet another moment."""
    failures: Counter[type[BaseException]] = Counter()

    async def attempt() -> None:
        async with httpx2.AsyncClient(base_url=resetting, transport=Transport()) as client:
            for _ in range(ATTEMPTS):
                try:
                    await client.get("/")
                except Exception as error:
                    failures[type(error)] += 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(attempt())
    assert failures.total() == ATTEMPTS
    assert all(issubclass(kind, httpx2.TransportError) for kind in failures), failures


def test_a_caller_is_told_that_the_peer_does_not_answer(resetting: str, metrics: Metrics) -> None:
    async def calls() -> None:
        client = OutboundClient("inventory", resetting, metrics)
        for _ in range(20):
            with pytest.raises(UpstreamUnavailableError):
                await client.request("GET", "/things")
        await client.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(calls())
