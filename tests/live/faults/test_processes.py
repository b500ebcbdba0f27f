"""kill -9 of each process of the pipeline, and a cut network, under a steady stream of orders: nothing lost, nothing doubled."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ..waiting import until
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
    ("ecom", "ecom-worker", "ecom-worker"),
    ("inventory", "inventory-worker", "inventory-worker"),
]


@pytest.mark.parametrize(("namespace", "name", "container"), PROCESSES, ids=[row[1] for row in PROCESSES])
def test_killed(
    breakage: Breakage, stream: Stream, converges: Callable[[float], None], namespace: str, name: str, container: str
) -> None:
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
