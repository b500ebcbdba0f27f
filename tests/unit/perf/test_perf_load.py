"""The load generator tells the truth: open loop, verified TLS, errors counted; and the tables read docker's figures."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest
from tls_server import certified

from tests.live.tls import Trust
from tests.perf.bringup import mebibytes
from tests.perf.load import Connections, Sample, constant_rate, percentile
from tests.perf.machine import table

HOST = "api.test"
Handler = Callable[[int], Awaitable[bytes]]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Trust]:
    """A server's TLS settings with a certificate for HOST, and clients that trust it."""
    server, pem = certified(HOST, tmp_path_factory.mktemp("tls"))
    return server, Trust(pem)


def measured(
    tls: tuple[ssl.SSLContext, Trust], handler: Handler, rate: float, seconds: float, host: str = HOST
) -> tuple[Sample, int]:
    """Load a server that answers by ``handler(number of the request)``; return the sample and the connections it took."""
    counts = {"requests": 0, "connections": 0}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts["connections"] += 1
        while True:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            counts["requests"] += 1
            writer.write(await handler(counts["requests"]))
        writer.close()

    async def run() -> Sample:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls[0])
        connections = Connections(host, server.sockets[0].getsockname()[1], tls[1])
        try:
            return await constant_rate(connections, "/", rate, seconds)
        finally:
            await connections.close()
            server.close()

    return asyncio.run(run()), counts["connections"]


def answer(status: int = 200, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n%s\r\nok" % (status, extra)


async def at_once(_number: int) -> bytes:
    return answer()


def test_all_planned_requests_are_sent_over_kept_connections(tls: tuple[ssl.SSLContext, Trust]) -> None:
    sample, connections = measured(tls, at_once, 100, 0.5)
    assert len(sample.latencies) == len(sample.lags) == 50
    assert not sample.errors
    assert connections < 50
    assert sample.summary()["requests"] == 50


def test_a_stall_makes_the_requests_planned_meanwhile_slow(tls: tuple[ssl.SSLContext, Trust]) -> None:
    gate: dict[str, asyncio.Event] = {}

    async def stall(number: int) -> bytes:
        # From the 5th request on nothing is answered until the 40th has come: an open loop sends it all the same.
        event = gate.setdefault("open", asyncio.Event())
        if number >= 40:
            event.set()
        if number >= 5:
            await event.wait()
        return answer()

    sample, _ = measured(tls, stall, 100, 0.5)
    assert len(sample.latencies) == 50
    assert sum(latency > 0.15 for latency in sample.latencies) > 10


def test_errors_are_counted_by_kind(tls: tuple[ssl.SSLContext, Trust]) -> None:
    async def mixed(number: int) -> bytes:
        return {0: answer(503), 1: answer(extra=b"connection: close\r\n"), 2: b"HTTP/1.1 200 X\r\n\r\n"}.get(number % 4, answer())

    sample, _ = measured(tls, mixed, 100, 0.2)
    assert sample.errors == {"status 503": 5, "ValueError": 5}
    assert len(sample.latencies) == 10


def test_a_certificate_for_another_name_is_refused(tls: tuple[ssl.SSLContext, Trust]) -> None:
    sample, _ = measured(tls, at_once, 50, 0.1, host="other.test")
    assert dict(sample.errors) == {"SSLCertVerificationError": 5}


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (10, 0), (10_000, 60)])
def test_unbounded_or_empty_load_is_refused(tls: tuple[ssl.SSLContext, Trust], rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="give positive ones"):
        measured(tls, at_once, rate, seconds)


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 95), percentile(values, 99)) == (50.0, 95.0, 99.0)
    assert percentile([3.0], 99) == 3.0
    assert percentile([], 50) == 0.0


@pytest.mark.parametrize(("text", "mib"), [("983.1MiB", 983.1), ("1.5GiB", 1536.0), ("0B", 0.0), ("1.048576MB", 1.0)])
def test_amounts_as_docker_writes_them(text: str, mib: float) -> None:
    assert mebibytes(text) == mib


def test_an_unknown_amount_is_an_error() -> None:
    with pytest.raises(ValueError, match="no amount"):
        mebibytes("much")


def test_table_is_aligned() -> None:
    assert table(("a", "count"), [("x", 1), ("yy", 20)]).splitlines() == [
        "| a  | count |",
        "|----|------:|",
        "| x  |     1 |",
        "| yy |    20 |",
    ]
