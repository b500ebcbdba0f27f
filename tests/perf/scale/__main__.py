"""Benchmark of scale: seeds books and orders, measures at each size, removes what it wrote, and prints what grows with history.

Run on a machine on which the platform is up, with raised rate limits: ``make up ARGS="-e apps_rate_limit_factor=100"``,
``PYTHONPATH=collections python -m tests.perf.scale --orders 10000 --orders 100000 --orders 1000000``, ``make up``. ``--remove-only``
removes what an interrupted run left. It judges nothing: the figures belong to the machine that is printed with them, and what
counts is how they grow from one size to the next.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker
from tests.live.conftest import PLACES, secret_of
from tests.live.signin import Shopper
from tests.perf import cdc
from tests.perf.catalogue import address, authority
from tests.perf.curve import svg
from tests.perf.load import Connections
from tests.perf.machine import REPORTS, STATE, facts, sentence, table
from tests.perf.psql_session import PsqlError, Session

from . import measuring, seeding

ROOT = Path(__file__).parents[3]
SIZES = [10_000, 100_000, 1_000_000]
STATEMENT_SECONDS = 600


def say(text: str) -> None:
    """A line of progress with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Bench:
    """Everything that a measurement needs, for one run."""

    def __init__(self, cluster: Cluster, books: int) -> None:
        self.cluster, self.trust = cluster, authority()
        self.sql = {place: Session(cluster, place, STATEMENT_SECONDS) for place in ("ecom", "inventory", "analytics")}
        self.shop = seeding.Shop(self.sql["ecom"], self.sql["inventory"], books)
        self.password = secret_of(cluster)("demo-users", "admin1")

    def single(self, probes: int) -> dict[str, dict[str, float]]:
        """p50 and p95 in seconds of a single change by stage, over all tables and kinds."""
        bench = cdc.Bench(self.cluster)
        try:
            rows = cdc.summary(cdc.single(bench, Broker(self.cluster, 60), probes))
        finally:
            bench.close()
        return {row["stage"]: {"p50_s": row["p50_s"], "p95_s": row["p95_s"]} for row in rows if row["table"] == "all"}

    async def reads(self, rate: float, seconds: float) -> dict[str, dict[str, Any]]:
        """Latencies of each read endpoint."""
        host, port = address()
        connections = Connections(host, port, self.trust)
        try:
            with Shopper(self.trust, PLACES, "admin1", self.password) as admin:
                return await measuring.reads(connections, self.shop, admin, rate, seconds)
        finally:
            await connections.close()

    def measure(self, orders: int, arguments: argparse.Namespace) -> dict[str, Any]:
        """All figures at one size."""
        say(f"== {orders} orders")
        taken = measuring.intake(self.shop, self.sql["analytics"], orders, say)
        found: dict[str, Any] = {
            "orders": orders,
            "rows": taken.rows, "written_s": taken.written_s, "there_s": taken.there_s, "rows_per_s": taken.rows_per_s,
        }  # fmt: skip
        say(f"{taken.rows} rows in {taken.there_s} s (written in {taken.written_s} s): {taken.rows_per_s} rows/s")
        found["single"] = self.single(arguments.probes)
        say(f"single change: {found['single']}")
        found["views_ms"] = measuring.views(self.sql["analytics"])
        say(f"views: {found['views_ms']}")
        found["reads"] = asyncio.run(self.reads(arguments.rate, arguments.seconds))
        for name, sample in found["reads"].items():
            say(f"{name}: p50 {sample['p50_ms']} p95 {sample['p95_ms']} ms, errors {sample['errors_by_kind']}")
        found["disk_mib"] = measuring.disk(self.sql)
        found["memory_mib"] = measuring.memory(self.cluster)
        say(f"disk {found['disk_mib']}, memory {found['memory_mib']['all']} MiB")
        return found

    def close(self, *, remove: bool) -> None:
        """Remove the rows, wait until analytics has lost them, too, and end the sessions."""
        try:
            if remove:
                say("removing what was written ...")
                self.shop.remove(lambda name, gone: None)
                self._wait_gone()
        finally:
            for session in self.sql.values():
                session.close()

    def _wait_gone(self) -> None:
        low, high = seeding.ORDER, f"{seeding.BOOK}~"
        deadline = time.monotonic() + measuring.PATIENCE_SECONDS
        for name, column in (("fact_order_items", "order_item_id"), ("fact_orders", "order_id"), ("dim_books", "book_id")):
            query = f"SELECT EXISTS (SELECT FROM {name} WHERE {column} >= '{low}' AND {column} < '{high}');"
            while self.sql["analytics"].run(query)[-1] == "t":
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{name}: rows of the benchmark are still there after {measuring.PATIENCE_SECONDS:.0f} s")
                time.sleep(1)


def lines(sizes: list[dict[str, Any]]) -> list[list[object]]:
    """A row for each figure: its name, its value at each size, and its growth from the first size to the last."""
    found: list[tuple[str, list[float]]] = [("intake rows/s", [size["rows_per_s"] for size in sizes])]
    for stage in ("table", "view"):
        found.append((f"single change to {stage}, p95 s", [size["single"][stage]["p95_s"] for size in sizes]))
    for view in sizes[0]["views_ms"]:
        found.append((f"refresh of {view}, ms", [size["views_ms"][view] for size in sizes]))
    for name in sizes[0]["reads"]:
        found.append((f"{name}, p95 ms", [size["reads"][name]["p95_ms"] for size in sizes]))
    for place in measuring.DATABASES:
        found.append((f"disk of {place}-db, MiB", [size["disk_mib"][place] for size in sizes]))
    found.append(("memory of all pods, MiB", [size["memory_mib"]["all"] for size in sizes]))
    return [[name, *values, f"{values[-1] / values[0]:.1f}x" if values[0] else "-"] for name, values in found]


def main() -> None:
    """Run the benchmark, print its table, write it as JSON and Markdown, and plot intake and slowest read against size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, action="append", help=f"sizes, ascending, may be repeated (default {SIZES})")
    parser.add_argument("--books", type=int, default=20_000, help="books of the shop (default 20000)")
    parser.add_argument("--probes", type=int, default=20, help="single changes of each kind in each table (default 20)")
    parser.add_argument("--rate", type=float, default=20, help="requests per second to each read endpoint (default 20)")
    parser.add_argument("--seconds", type=float, default=10, help="duration for each read endpoint (default 10)")
    parser.add_argument("--json", type=Path, default=REPORTS / "perf-scale.json", help="file for the figures (default %(default)s)")
    parser.add_argument("--curve", type=Path, help="folder for the plots, such as docs")
    parser.add_argument("--keep", action="store_true", help="leave the rows; --remove-only removes them")
    parser.add_argument("--remove-only", action="store_true", help="remove what an interrupted run left, and measure nothing")
    arguments = parser.parse_args()
    sizes = arguments.orders or SIZES
    if sizes != sorted(set(sizes)) or sizes[0] < 1000 or sizes[-1] > seeding.MOST_ORDERS:
        parser.error(f"--orders must ascend from 1000 to {seeding.MOST_ORDERS}")
    if not 100 <= arguments.books <= 200_000 or not 1 <= arguments.probes <= 500:
        parser.error("--books must be 100 to 200000, --probes 1 to 500")
    machine = facts()
    print(sentence(machine))
    found: list[dict[str, Any]] = []
    try:
        bench = Bench(Cluster(str(STATE / "kubeconfig"), request_timeout=15), arguments.books)
        try:
            if not arguments.remove_only:
                bench.shop.open()
                for orders in sizes:
                    found.append(bench.measure(orders, arguments))
                    arguments.json.parent.mkdir(parents=True, exist_ok=True)
                    arguments.json.write_text(json.dumps({"machine": machine, "sizes": found}, indent=1), encoding="utf-8")
        finally:
            bench.close(remove=not arguments.keep)
    except (ClusterError, PsqlError, TimeoutError) as error:
        sys.exit(str(error))
    if found:
        print(table(["figure", *(f"{size['orders']:,} orders" for size in found), "growth"], lines(found)))
        print(f"written to {arguments.json}")
    if len(found) > 1 and arguments.curve:
        slowest = [(size["orders"], max(sample["p95_ms"] for sample in size["reads"].values())) for size in found]
        refresh = [(size["orders"], sum(size["views_ms"].values())) for size in found]
        for name, points, up in (("reads", slowest, "p95 of the slowest read, ms"), ("views", refresh, "refresh of all views, ms")):
            (arguments.curve / f"scale-{name}.svg").write_text(svg(points, f"{up} by orders", "orders", up), encoding="utf-8")


if __name__ == "__main__":
    main()
