"""Benchmark of the book list and the search through the gateway, at fixed rates.

Run on a machine on which the platform is up: ``python -m tests.perf.catalogue --rate 20 --rate 50 --seconds 30``.
Requests go to this machine's loopback address only, bounded by rate x seconds; the certificate is verified against the
platform's own authority. It judges nothing: the figures belong to the machine that is printed with them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import kubernetes
import urllib3
import yaml

from tests.live.declared import GATEWAY
from tests.live.tls import Trust

from .load import Connections, constant_rate
from .machine import REPORTS, STATE, facts, sentence, table

VARIABLES = Path(__file__).parents[2] / "inventory/local/group_vars/all"
TARGETS = {"list": "/ecom/books", "search": "/ecom/books/search?q=the"}
RATES = [20.0, 50.0, 100.0]
COLUMNS = ("target", "rate", "requests", "errors", "p50_ms", "p95_ms", "p99_ms", "max_ms", "lag_p99_ms", "generator_cpu_ms")


def address() -> tuple[str, int]:
    """Return host name and port of the APIs, as the inventory has them."""
    platform = yaml.safe_load((VARIABLES / "platform.yml").read_text(encoding="utf-8"))
    return f"api.{platform['bookstore_domain']}", GATEWAY["https"]


def certificate() -> str:
    """Return the certificate of the platform's own authority, as PEM."""
    kubeconfig = STATE / "kubeconfig"
    if not kubeconfig.is_file():
        sys.exit(f"{kubeconfig} does not exist: run `make up` first")
    # The client carries no types.
    config: Any = kubernetes.config
    config.load_kube_config(str(kubeconfig))
    try:
        secret: Any = kubernetes.client.CoreV1Api().read_namespaced_secret("bookstore-gateway-tls", "gateway", _request_timeout=10)
    except (kubernetes.client.ApiException, OSError, urllib3.exceptions.HTTPError) as error:
        sys.exit(f"the authority's certificate cannot be read from Secret gateway/bookstore-gateway-tls: {error}; run `make up` first")
    return base64.b64decode(secret.data["ca.crt"]).decode("ascii")


def authority() -> Trust:
    """Return what makes clients that trust the platform's own authority and nothing else."""
    return Trust(certificate())


async def run(rates: list[float], seconds: float) -> list[dict[str, Any]]:
    """Measure each target at each rate, after a short warm-up that is not counted."""
    host, port = address()
    connections = Connections(host, port, authority())
    results: list[dict[str, Any]] = []
    try:
        for path in TARGETS.values():
            await constant_rate(connections, path, 20, 2)
        for name, path in TARGETS.items():
            for rate in rates:
                print(f"{name} at {rate:g}/s for {seconds:g} s ...", flush=True)
                sample = await constant_rate(connections, path, rate, seconds)
                results.append({"target": name, "path": path, "rate": rate, **sample.summary(), "errors_by_kind": dict(sample.errors)})
    finally:
        await connections.close()
    return results


def main() -> None:
    """Run the benchmark, print its table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, action="append", help=f"requests per second, may be repeated (default {RATES})")
    parser.add_argument("--seconds", type=float, default=30, help="duration of each measurement (default 30)")
    parser.add_argument("--json", type=Path, default=REPORTS / "perf-catalogue.json", help="file for the figures (default %(default)s)")
    arguments = parser.parse_args()
    machine = facts()
    print(sentence(machine))
    try:
        results = asyncio.run(run(arguments.rate or RATES, arguments.seconds))
    except ValueError as error:
        parser.error(str(error))
    print(table(COLUMNS, [[row[column] for column in COLUMNS] for row in results]))
    for row in results:
        if row["errors_by_kind"]:
            print(f"errors of {row['target']} at {row['rate']:g}/s: {row['errors_by_kind']}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1), encoding="utf-8")
    print(f"written to {arguments.json}")


if __name__ == "__main__":
    main()
