"""Benchmark of checkout through the gateway at a constant rate, and the memory of the services afterwards.

Run on a machine on which the platform is up: ``PYTHONPATH=collections python -m tests.perf.checkout --rate 10 --seconds 30``.
It makes customers and one book of its own and removes them, with all their orders, at the end. Each customer is below the
limit of 10 checkouts a minute. Carts are filled beforehand; a customer's next one while others check out, so the services
also do one request to the cart for each order, as they do for people. It judges nothing: the figures belong to the machine
that is printed with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from tests.live.conftest import CONSOLE, PLACES, psql, secret_of
from tests.live.goods import Goods
from tests.live.people import People
from tests.live.signin import SHIPPING, Shopper

from .catalogue import address, authority
from .load import Connections, Sample, at_rate
from .machine import REPORTS, STATE, facts, sentence, table

PRICE = "10.00"
# Of the limit of 10 a minute.
CHECKOUTS_PER_MINUTE = 8
MOST_CUSTOMERS = 150
COLUMNS = ("rate", "requests", "errors", "p50_ms", "p95_ms", "p99_ms", "max_ms", "lag_p99_ms", "generator_cpu_ms")
# Whose memory is told: namespace and container.
WORKLOADS = (
    ("ecom", "ecom-api"), ("inventory", "inventory-api"), ("admin", "admin-api"), ("identity", "keycloak"), ("infra", "redis"),
)  # fmt: skip


class Till:
    """Checks out one customer after the other, and fills each cart again as soon as it is empty."""

    def __init__(self, connections: Connections, customers: list[Shopper], book_id: str) -> None:
        self._connections = connections
        self._headers = [{**one.bearer(), **one.csrf(), "Origin": PLACES.shop, "Content-Type": "application/json"} for one in customers]
        self._order = json.dumps({"shipping": SHIPPING, "expected_total": PRICE}).encode()
        self._line = json.dumps({"book_id": book_id, "quantity": 1}).encode()
        self._filled = [asyncio.Event() for _ in customers]
        self._filling: set[asyncio.Task[None]] = set()
        self.fills: Counter[str] = Counter()

    async def fill(self, place: int) -> None:
        """Put the book into a customer's cart."""
        try:
            status = await self._connections.send("POST", "/ecom/cart/items", self._headers[place], self._line)
            self.fills[str(status)] += 1
        except (OSError, ValueError) as error:
            self.fills[type(error).__name__] += 1
        self._filled[place].set()

    async def checkout(self, number: int) -> int:
        """One order; returns the status."""
        place = number % len(self._headers)
        await self._filled[place].wait()
        self._filled[place].clear()
        status = await self._connections.send(
            "POST", "/ecom/checkout", {**self._headers[place], "Idempotency-Key": str(uuid.uuid4())}, self._order
        )
        task = asyncio.create_task(self.fill(place))
        self._filling.add(task)
        task.add_done_callback(self._filling.discard)
        return status

    async def finish(self) -> None:
        """Wait for the last carts."""
        await asyncio.gather(*self._filling)


async def measure(customers: list[Shopper], book_id: str, rate: float, seconds: float) -> tuple[Sample, Counter[str]]:
    """Warm up with one order of each customer of the first two seconds, then measure."""
    host, port = address()
    connections = Connections(host, port, authority())
    till = Till(connections, customers, book_id)
    try:
        for place in range(len(customers)):
            await till.fill(place)
        await at_rate(till.checkout, min(rate, 5), 2, 201)
        await till.finish()
        till.fills.clear()
        sample = await at_rate(till.checkout, rate, seconds, 201)
        await till.finish()
    finally:
        await connections.close()
    return sample, till.fills


def memory(cluster: Cluster) -> dict[str, tuple[float, float]]:
    """MiB of the main container of each workload's pods, as the kubelet tells: resident, and working set. Sidecars are not counted."""
    found = {}
    for node in cluster.objects("Node"):
        for pod in cluster.node_summary(node["metadata"]["name"])["pods"]:
            for container in pod["containers"]:
                if (pod["podRef"]["namespace"], container["name"]) in WORKLOADS:
                    used = container["memory"]
                    figures = (round(used["rssBytes"] / 2**20, 1), round(used["workingSetBytes"] / 2**20, 1))
                    found[f"{pod['podRef']['namespace']}/{pod['podRef']['name']}"] = figures
    return found


def run(rate: float, seconds: float, cluster: Cluster) -> dict[str, Any]:
    """Prepare, measure, clean up; the figures as a dictionary."""
    count = math.ceil(rate * (min(seconds, 60) + 2) / CHECKOUTS_PER_MINUTE)
    if not 0 < count <= MOST_CUSTOMERS:
        raise ValueError(f"rate={rate} seconds={seconds} needs {count} customers, {MOST_CUSTOMERS} at most: choose less")
    trust, secret = authority(), secret_of(cluster)
    people = People(trust, PLACES, CONSOLE, secret("keycloak-clients", "e2e-provisioner"))
    undo: list[Callable[[], None]] = [people.close]
    try:
        with Shopper(trust, PLACES, "admin1", secret("demo-users", "admin1")) as admin:
            goods = Goods(admin, psql(cluster, "ecom"), psql(cluster, "inventory"))
            undo.append(goods.close)
            print(f"making {count} customers ...", flush=True)
            customers = people.customers(count)
            book = goods.book(copies=int(rate * (seconds + 4)) + count, price=PRICE)
            # All sign-ins are over: what follows is checkout alone.
            for customer in customers:
                customer.csrf()
            print(f"checkout at {rate:g}/s for {seconds:g} s ...", flush=True)
            sample, fills = asyncio.run(measure(customers, book["id"], rate, seconds))
            placed, held = goods.orders(book["id"]), goods.held(book["id"])
            figures = {"rate": rate, "customers": count, **sample.summary(), "errors_by_kind": dict(sample.errors), "fills": dict(fills)}
            return {**figures, "orders": len(placed), "orders_without_hold": len(placed - held), "holds_without_order": len(held - placed)}
    finally:
        for step in reversed(undo):
            step()


def main() -> None:
    """Run the benchmark, print its tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10, help="orders per second (default 10)")
    parser.add_argument("--seconds", type=float, default=30, help="duration of the measurement (default 30)")
    parser.add_argument("--json", type=Path, default=REPORTS / "perf-checkout.json", help="file for the figures (default %(default)s)")
    arguments = parser.parse_args()
    machine = facts()
    print(sentence(machine))
    try:
        cluster = Cluster(str(STATE / "kubeconfig"), request_timeout=15)
        result = run(arguments.rate, arguments.seconds, cluster)
        used = memory(cluster)
    except ClusterError as error:
        sys.exit(str(error))
    except ValueError as error:
        parser.error(str(error))
    print(table(COLUMNS, [[result[column] for column in COLUMNS]]))
    for name in ("errors_by_kind", "fills", "orders", "orders_without_hold", "holds_without_order"):
        print(f"{name}: {result[name]}")
    print(f"\n{table(('pod', 'resident MiB', 'working set MiB'), [(pod, *figures) for pod, figures in sorted(used.items())])}")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps({"machine": machine, "result": result, "memory_mib": used}, indent=1), encoding="utf-8")
    print(f"written to {arguments.json}")


if __name__ == "__main__":
    main()
