"""An open-loop load generator that costs little: HTTP/1.1 over kept-alive TLS connections, by asyncio alone.

Each request has a planned time and is sent then, whether or not earlier ones were answered; its latency counts from the
planned time. So a stall of the server makes all requests planned during it slow, as it does for users, instead of being
hidden by a generator that waits ("coordinated omission"). The generator's own lateness is measured apart.
"""

from __future__ import annotations

import asyncio
import math
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.live.tls import Trust

LOOPBACK = "127.0.0.1"
TIMEOUT_SECONDS = 10.0
MOST_CONNECTIONS = 200
MOST_REQUESTS = 100_000


@dataclass
class Sample:
    """Latencies and lags in seconds; errors by kind; CPU seconds that the generator itself used."""

    latencies: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    cpu_seconds: float = 0.0

    def summary(self) -> dict[str, float | int]:
        """Return counts, percentiles in milliseconds (latency of good answers), and how late the generator was."""
        return {
            "requests": len(self.latencies) + self.errors.total(), "errors": self.errors.total(),
            **{f"p{share}_ms": round(percentile(self.latencies, share) * 1000, 1) for share in (50, 95, 99)},
            "max_ms": round(max(self.latencies, default=0.0) * 1000, 1),
            "lag_p99_ms": round(percentile(self.lags, 99) * 1000, 1),
            "generator_cpu_ms": round(self.cpu_seconds * 1000 / max(1, len(self.lags)), 2),
        }  # fmt: skip


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that at least ``share`` percent do not exceed (nearest rank); 0.0 without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)] if ordered else 0.0


class Connections:
    """Kept-alive connections to one host on this machine's loopback; idle ones are reused, broken ones dropped."""

    def __init__(self, host: str, port: int, trust: Trust) -> None:
        self.host, self.port, self._tls = host, port, trust.context()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._slots = asyncio.Semaphore(MOST_CONNECTIONS)

    async def get(self, path: str) -> int:
        """Send one GET and read its whole answer; return the status. OSError or ValueError when there is none."""
        return await self.send("GET", path)

    async def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> int:
        """Send one request and read its whole answer; return the status. OSError or ValueError when there is none."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Accept: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        request = "\r\n".join([*lines, "", ""]).encode("ascii") + body
        async with self._slots:
            reader, writer = self._idle.pop() if self._idle else await self._open()
            try:
                writer.write(request)
                status, keep = await _answer(reader)
            except BaseException:
                writer.close()
                raise
            if keep:
                self._idle.append((reader, writer))
            else:
                writer.close()
            return status

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(LOOPBACK, self.port, ssl=self._tls, server_hostname=self.host)

    async def close(self) -> None:
        """Close all idle connections."""
        for _, writer in self._idle:
            writer.close()
        for _, writer in self._idle:
            await writer.wait_closed()
        self._idle.clear()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Read an answer with Content-Length; return its status and whether the connection may be used again."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await reader.readexactly(int(headers["content-length"]))
    except asyncio.IncompleteReadError as error:
        raise ConnectionError("the connection ended before the answer did") from error
    except KeyError as error:
        raise ValueError("an answer without Content-Length") from error
    return int(head[0].split()[1]), headers.get("connection", "").lower() != "close"


async def constant_rate(connections: Connections, path: str, rate: float, seconds: float) -> Sample:
    """GET ``path`` ``rate`` times a second for ``seconds`` and return what came back. ValueError for bounds that are exceeded."""
    return await at_rate(lambda _number: connections.get(path), rate, seconds, 200)


async def at_rate(send: Callable[[int], Awaitable[int]], rate: float, seconds: float, good: int) -> Sample:
    """Call ``send`` with the number of each request at its planned time; ``good`` is the status of a success.

    ValueError for bounds that are exceeded.
    """
    count = int(rate * seconds)
    if rate <= 0 or not 0 < count <= MOST_REQUESTS:
        raise ValueError(f"rate={rate} seconds={seconds}: give positive ones, {MOST_REQUESTS} requests at most")
    sample = Sample()

    async def one(number: int, planned: float) -> None:
        sample.lags.append(time.perf_counter() - planned)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status = await send(number)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            sample.errors[type(error).__name__] += 1
            return
        if status == good:
            sample.latencies.append(time.perf_counter() - planned)
        else:
            sample.errors[f"status {status}"] += 1

    cpu = _cpu_seconds()
    begin = time.perf_counter() + 0.01
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            planned = begin + number / rate
            await asyncio.sleep(max(0.0, planned - time.perf_counter()))
            group.create_task(one(number, planned))
    sample.cpu_seconds = _cpu_seconds() - cpu
    return sample


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
