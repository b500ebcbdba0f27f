"""Fixtures of the fault tests: laws, stream and breakage; what was measured goes into a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from ..conftest import STATE
from ..goods import Goods, Sql
from ..laws import Laws, set_aside
from ..people import People
from ..waiting import until
from .breakage import Breakage
from .stream import Stream

REPORT = STATE / "reports/faults.json"
# SPEC's bound for one row is 30 s; after a fault everything that was held up comes at once, on two cores.
CONVERGENCE_S = 240.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder: it breaks the running platform and runs alone (`make faults`)."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def dead_letters(cluster: Cluster) -> Callable[[], list[str]]:
    """Names the events that were set aside."""
    return lambda: set_aside(Broker(cluster, 60).describe()["topics"])


@pytest.fixture
def laws(ecom_sql: Sql, inventory_sql: Sql, analytics_sql: Sql, dead_letters: Callable[[], list[str]]) -> Laws:
    """The laws; they hold before a fault, or nothing could be said of it."""
    assert not dead_letters(), f"left from before: {dead_letters()}"
    found = Laws(ecom_sql, inventory_sql, analytics_sql)
    until(lambda: not found.broken(), "the laws to hold before the fault", CONVERGENCE_S, pause=1)
    return found


@pytest.fixture
def breakage(cluster: Cluster) -> Breakage:
    """Breaks things."""
    return Breakage(cluster)


@pytest.fixture
def stream(laws: Laws, people: People, goods: Goods) -> Iterator[Stream]:
    """Customers who order until the test ends."""
    with Stream(people, goods) as running:
        running.wait(3)
        yield running


@pytest.fixture
def converges(laws: Laws, stream: Stream, dead_letters: Callable[[], list[str]], request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Called with the moment of the fault: ends the stream, waits for all laws, and reports how long that took."""

    def check(broken_at: float) -> None:
        stream.__exit__()
        ended = time.monotonic()
        try:
            until(lambda: not laws.broken(), "all laws", CONVERGENCE_S, pause=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {laws.broken()}") from error
        try:
            until(lambda: not laws.broken_stock(stream.ids), "copies, movements and orders to agree", CONVERGENCE_S, pause=1)
        except AssertionError as error:
            raise AssertionError(f"{error}: {laws.broken_stock(stream.ids)}") from error
        assert not dead_letters(), f"{dead_letters()}"
        known = set(laws.ecom("SELECT id FROM orders").split())
        lost = stream.placed - known
        assert not lost, f"{len(lost)} orders that were answered are gone: {sorted(lost)[:3]}"
        report(request.node.name, {
            "orders": len(stream.placed), "cancelled": len(stream.cancelled),
            "seconds_after_the_fault": round(time.monotonic() - broken_at, 1),
            "seconds_after_the_last_order": round(time.monotonic() - ended, 1),
            "answers": dict(stream.told),
        })  # fmt: skip

    return check


def report(name: str, values: dict[str, object]) -> None:
    """Keep what a test measured."""
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(REPORT.read_text("utf-8")) if REPORT.is_file() else {}
    REPORT.write_text(json.dumps({**known, name: values}, indent=1), "utf-8")
    print(f"{name}: {values}")
