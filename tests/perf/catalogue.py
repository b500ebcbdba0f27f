"""Benchmark of the book list and search through the gateway, at fixed rates.

Run: ``python -m tests.perf.catalogue --rate 20 --rate 50 --seconds 30``. Load is open-loop: requests are sent at their
planned times whether or not earlier ones were answered, and latency counts from the planned time, so a stall is not
hidden. Only this machine's loopback address is loaded; requests are bounded by rate x seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import statistics
import subprocess
import time
from dataclasses import dataclass, field

import httpx2

from .machine import facts

API = "https://api.bookstore.test:30000"
TARGETS = {"list": "/ecom/books", "search": "/ecom/books/search?q=the"}


@dataclass
class Sample:
    """Latencies in seconds, and what went wrong."""

    latencies: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    errors: int = 0

    def summary(self) -> dict[str, float | int]:
        """Return percentiles in milliseconds, the error count and how late the generator itself was."""
        cuts = statistics.quantiles(self.latencies, n=100) if len(self.latencies) > 1 else [0.0] * 99
        return {
            "requests": len(self.latencies) + self.errors, "errors": self.errors,
            "p50_ms": round(cuts[49] * 1000, 1), "p95_ms": round(cuts[94] * 1000, 1), "p99_ms": round(cuts[98] * 1000, 1),
            "generator_lag_p99_ms": round(statistics.quantiles(self.lags, n=100)[98] * 1000, 1),
        }


def authority() -> str:
    """Return the certificate of the platform's own authority."""
    command = ["docker", "exec", "bookstore-control-plane", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "get", "secret",
               "--namespace=gateway", "bookstore-gateway-tls", "--output=go-template={{index .data \"ca.crt\" | base64decode}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def measure(client: httpx2.AsyncClient, path: str, rate: float, seconds: float) -> Sample:
    """Send ``rate`` requests per second for ``seconds`` and collect what comes back."""
    sample = Sample()

    async def one(planned: float) -> None:
        sample.lags.append(time.perf_counter() - planned)
        try:
            answer = await client.get(path)
        except httpx2.HTTPError:
            sample.errors += 1
            return
        if answer.status_code == 200:
            sample.latencies.append(time.perf_counter() - planned)
        else:
            sample.errors += 1

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            planned = begin + number / rate
            await asyncio.sleep(max(0.0, planned - time.perf_counter()))
            group.create_task(one(planned))
    return sample


async def run(rates: list[float], seconds: float) -> list[dict[str, object]]:
    """Measure each target at each rate, after a short warm-up."""
    results: list[dict[str, object]] = []
    trust = ssl.create_default_context(cadata=authority())
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx2.AsyncClient(base_url=API, verify=trust, timeout=15, limits=limits, trust_env=False) as client:
        await measure(client, TARGETS["list"], 20, 3)
        for name, path in TARGETS.items():
            for rate in rates:
                summary = (await measure(client, path, rate, seconds)).summary()
                results.append({"target": name, "rate": rate, **summary})
                print(f"{name:7} {rate:6.0f}/s  " + "  ".join(f"{key} {value}" for key, value in summary.items()), flush=True)
    return results


def main() -> None:
    """Run the benchmark and print its figures, with ``--json`` as a document, too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, action="append", help="requests per second; may be given several times")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--json", help="file for the results")
    arguments = parser.parse_args()
    results = asyncio.run(run(arguments.rate or [20, 50, 100], arguments.seconds))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": facts(), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
