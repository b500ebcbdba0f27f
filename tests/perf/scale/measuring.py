"""What is measured at each size: intake, a single change, views, reads, memory and disk."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from tests.live.signin import Shopper
from tests.perf.load import Connections, at_rate, constant_rate
from tests.perf.psql_session import Session

from . import seeding

PATIENCE_SECONDS = 7200.0
DATABASES = {"ecom": "ecomdb", "inventory": "inventorydb", "analytics": "analyticsdb"}


@dataclass(frozen=True)
class Intake:
    """How analytics took in a load: rows of orders and lines, seconds to write them, seconds until the last one was there."""

    rows: int
    written_s: float
    there_s: float

    @property
    def rows_per_s(self) -> int:
        """Rows a second from the first transaction's start to the last row in analytics."""
        return round(self.rows / self.there_s) if self.there_s else 0


def present(analytics: Session, table: str, column: str, identity: str) -> bool:
    """Whether a row is in analytics."""
    return analytics.run(f"SELECT EXISTS (SELECT FROM {table} WHERE {column} = '{identity}');")[-1] == "t"


def wait_for_orders(analytics: Session, orders: int, say: Callable[[str], None]) -> None:
    """Wait until the last order and its lines are in analytics (each topic keeps its order); TimeoutError says what is missing."""
    last = orders - 1
    wanted = [("fact_orders", "order_id", seeding.uuid_of(seeding.ORDER, last))]
    wanted += [("fact_order_items", "order_item_id", seeding.uuid_of(prefix, last)) for prefix in seeding.LINES]
    deadline, told = time.monotonic() + PATIENCE_SECONDS, time.monotonic()
    while wanted := [row for row in wanted if not present(analytics, *row)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{wanted[0][0]}: row {wanted[0][2]} is not there after {PATIENCE_SECONDS:.0f} s")
        if time.monotonic() - told > 30:
            told = time.monotonic()
            say(f"waiting for {', '.join(sorted({row[0] for row in wanted}))}")
        time.sleep(0.2)


def intake(shop: seeding.Shop, analytics: Session, orders: int, say: Callable[[str], None]) -> Intake:
    """Grow the shop to ``orders`` and wait until analytics has them."""
    rows = 3 * (orders - shop.orders)
    began = time.monotonic()
    shop.grow(orders, lambda done: say(f"{done} of {orders} orders written") if done % 100_000 == 0 else None)
    written = time.monotonic() - began
    wait_for_orders(analytics, orders, say)
    return Intake(rows, round(written, 1), round(time.monotonic() - began, 1))


def views(analytics: Session) -> dict[str, int]:
    """What the last refresh of each view took, in milliseconds."""
    lines = analytics.run("SELECT mv_name || ' ' || coalesce(duration_ms, 0) FROM mv_refresh_state ORDER BY 1;")
    return {name: int(took) for name, took in (line.split() for line in lines)}


def disk(sessions: dict[str, Session]) -> dict[str, int]:
    """MiB of each database."""
    return {place: int(session.run(f"SELECT pg_database_size('{DATABASES[place]}') / 1048576;")[-1]) for place, session in sessions.items()}


def memory(cluster: Cluster) -> dict[str, float]:
    """MiB of the working set of each pod, by namespace and workload, and of all."""
    found: dict[str, float] = {}
    for node in cluster.objects("Node"):
        for pod in cluster.node_summary(node["metadata"]["name"])["pods"]:
            used = sum(container["memory"].get("workingSetBytes", 0) for container in pod.get("containers", [])) / 2**20
            name = f"{pod['podRef']['namespace']}/{pod['podRef']['name']}"
            found[name] = round(used, 1)
            found["all"] = round(found.get("all", 0.0) + used, 1)
    return found


def paths(shop: seeding.Shop) -> dict[str, tuple[str, bool]]:
    """Read endpoints of shop and admin: name to path and whether it needs an administrator."""
    book, order = seeding.uuid_of(seeding.BOOK, shop.books // 2), seeding.uuid_of(seeding.ORDER, max(shop.orders // 2 - 1, 0))
    deep = max(shop.orders // 20 // 2, 1)
    return {
        "books": ("/ecom/books", False),
        "books by genre": ("/ecom/books?genre=Genre%203", False),
        "books, page 100": ("/ecom/books?page=100&size=12", False),
        "search, frequent word": (f"/ecom/books/search?q={seeding.FREQUENT}", False),
        "search, word of all": (f"/ecom/books/search?q={seeding.EVERYWHERE}", False),
        "book": (f"/ecom/books/{book}", False),
        "genres": ("/ecom/genres", False),
        "cart": ("/ecom/cart", True),
        "own orders": ("/ecom/orders", True),
        "admin orders": ("/admin/orders", True),
        "admin orders, middle": (f"/admin/orders?page={deep}&size=20", True),
        "admin orders, one": (f"/admin/orders/{order}", True),
        "admin orders, cancelled": ("/admin/orders?status=CANCELLED", True),
        "admin books": ("/admin/books", True),
        "admin books, found": (f"/admin/books?q={seeding.FREQUENT}", True),
        "admin stock": ("/admin/stock", True),
        "admin stock, low": ("/admin/stock?status=low", True),
        "admin movements": (f"/admin/stock/{book}/movements", True),
        "admin summary": ("/admin/summary", True),
    }


def _request(connections: Connections, path: str, headers: dict[str, str]) -> Callable[[int], Awaitable[int]]:
    async def send(_number: int) -> int:
        return await connections.send("GET", path, headers)

    return send


async def reads(connections: Connections, shop: seeding.Shop, admin: Shopper, rate: float, seconds: float) -> dict[str, dict[str, Any]]:
    """Latencies of each read endpoint at ``rate``, in milliseconds; answers other than 200 are errors."""
    found = {}
    for name, (path, signed_in) in paths(shop).items():
        if signed_in:
            sample = await at_rate(_request(connections, path, admin.bearer()), rate, seconds, 200)
        else:
            sample = await constant_rate(connections, path, rate, seconds)
        found[name] = {**sample.summary(), "errors_by_kind": dict(sample.errors)}
    return found
