"""kill -9 of each process of the pipeline, and a cut network, under a steady stream of orders: nothing lost, nothing doubled."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError

from ..conftest import psql
from ..goods import Goods, Sql, names
from ..people import People
from ..signin import body_of
from ..waiting import until
from ..workloads import Workloads
from .breakage import Breakage
from .stream import Stream

pytestmark = pytest.mark.timeout(900)

PROCESSES = [
    ("infra", "debezium-ecom", "debezium"),
    ("infra", "debezium-inventory", "debezium"),
    ("analytics", "flink-jobmanager", "jobmanager"),
    ("analytics", "flink-taskmanager", "taskmanager"),
    ("infra", "kafka", "kafka"),
    ("analytics", "analytics-db", "postgresql"),
    ("analytics", "mv-refresher", "mv-refresher"),
    ("inventory", "inventory-worker", "inventory-worker"),
]
# Of the orders of one test, so many are rejected while the worker dies.
REJECTED = 6
# At most; whoever holds them is told to end before.
LOCKED_S = 150


@pytest.fixture
def workloads(cluster: Cluster) -> Workloads:
    """Stops and starts a worker."""
    return Workloads(cluster)


@pytest.mark.parametrize(("namespace", "name", "container"), PROCESSES, ids=[row[1] for row in PROCESSES])
def test_killed(breakage: Breakage, stream: Stream, converges: Callable[[float], None], namespace: str, name: str, container: str) -> None:
    broken_at = time.monotonic()
    breakage.kill(namespace, name, container)
    stream.wait(6)
    until(lambda: breakage.is_ready(namespace, name), f"{namespace}/{name} to be ready", 180, pause=0.5)
    stream.wait(3)
    converges(broken_at)


def test_network_cut_between_debezium_and_kafka(breakage: Breakage, stream: Stream, converges: Callable[[float], None]) -> None:
    with breakage.cut(("infra", "debezium-ecom"), ("infra", "kafka")):
        stream.wait(20, seconds=180)
        broken_at = time.monotonic()
    converges(broken_at)


@contextmanager
def held(cluster: Cluster, sql: Sql, orders: str) -> Iterator[None]:
    """Nobody changes these orders inside of the block: their rows are locked."""
    lock = f"""SET application_name = 'fault-lock'; BEGIN;
        SELECT id FROM orders WHERE id IN ({orders}) FOR UPDATE; SELECT pg_sleep({LOCKED_S}); COMMIT"""
    who = "FROM pg_stat_activity WHERE application_name = 'fault-lock'"
    with ThreadPoolExecutor(1) as pool:
        locking = pool.submit(psql(cluster, "ecom", LOCKED_S + 30), lock)
        until(lambda: sql(f"SELECT count(*) {who} AND wait_event = 'PgSleep'") == "1", "the rows to be locked")
        try:
            yield
        finally:
            sql(f"SELECT pg_cancel_backend(pid) {who}")
        with pytest.raises(ClusterError, match="canceling statement"):
            locking.result()


def test_killed_ecom_worker_cancels_each_rejected_order_once(
    cluster: Cluster, breakage: Breakage, workloads: Workloads, people: People, goods: Goods, ecom_sql: Sql, inventory_sql: Sql,
    stream: Stream, converges: Callable[[float], None],
) -> None:  # fmt: skip
    """It has work only when Inventory rejects orders: their holds and the copies are taken away before their events are read."""
    book = goods.book(copies=2 * REJECTED)
    with ExitStack() as waiting:
        with workloads.without("Deployment", "inventory", "inventory-worker"):
            orders = [
                body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], 2)["total"]))["id"]
                for customer in people.customers(REJECTED)
            ]
            listed = names(orders)
            inventory_sql(f"""
                UPDATE reservations SET status = 'EXPIRED' WHERE book_id = '{book["id"]}';
                UPDATE inventory SET quantity = 0, reserved = 0 WHERE book_id = '{book["id"]}';
            """)
            waiting.enter_context(held(cluster, ecom_sql, listed))
        # In the middle of the first cancellation: its transaction waits for the order's row.
        at_work = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ecom-worker' AND wait_event_type = 'Lock'"
        until(lambda: ecom_sql(at_work) == "1", "the worker to be at work", 60, pause=0.1)
        broken_at = time.monotonic()
        breakage.kill("ecom", "ecom-worker", "ecom-worker")
    cancelled = f"SELECT count(*) FROM orders WHERE status = 'CANCELLED' AND cancel_reason = 'out_of_stock' AND id IN ({listed})"
    until(lambda: ecom_sql(cancelled) == str(REJECTED), "every rejected order to be cancelled", 180, pause=0.5)
    # Each once: every rejection has one event, and the worker knows each; none told of a cancellation, for nothing comes back.
    rejected = f"FROM outbox_events WHERE event_type = 'inventory.rejected' AND aggregate_id IN ({listed})"
    assert inventory_sql(f"SELECT count(*) {rejected}") == str(REJECTED)
    ids = names(inventory_sql(f"SELECT id {rejected}").split())
    assert ecom_sql(f"SELECT count(*) FROM processed_events WHERE event_id IN ({ids})") == str(REJECTED)
    told = f"SELECT count(*) FROM outbox_events WHERE event_type = 'order.cancelled' AND aggregate_id IN ({listed})"
    assert ecom_sql(told) == "0"
    stream.wait(3)
    converges(broken_at)
