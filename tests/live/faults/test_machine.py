"""The machine itself: all nodes stopped hard, and Kafka's disk as it was seconds earlier; under a steady stream of orders."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.cluster import Cluster

from ..conftest import STATE
from ..workloads import Workloads
from .stream import Stream

pytestmark = pytest.mark.timeout(1800)

CHECKOUT = Path(__file__).parents[3]
# As bookstore_data_dir of the inventory.
DATA = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "bookstore-platform/kafka"
NODES = ("bookstore-control-plane", "bookstore-worker", "bookstore-worker2")


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """Kafka's disk as it is now, owners and times kept."""
    assert DATA.is_dir(), f"{DATA} does not exist; this test expects the default of bookstore_data_dir"
    target = tmp_path / "kafka"
    subprocess.run(["cp", "-a", str(DATA), str(target)], check=True, timeout=120)
    yield target
    shutil.rmtree(target, ignore_errors=True)


def test_kafka_loses_its_last_seconds(
    cluster: Cluster, stream: Stream, copy: Path, converges: Callable[[float], None]
) -> None:
    """What was acknowledged to Debezium and to the workers is gone; the sources know better."""
    stream.wait(10)
    with Workloads(cluster).without("StatefulSet", "infra", "kafka"):
        for entry in DATA.iterdir():
            subprocess.run(["rm", "-rf", str(entry)], check=True, timeout=60)
        subprocess.run(["cp", "-a", f"{copy}/.", str(DATA)], check=True, timeout=120)
        broken_at = time.monotonic()
        stream.wait(3)
    stream.wait(5)
    converges(broken_at)


def test_all_nodes_stop_hard(stream: Stream, converges: Callable[[float], None], tmp_path: Path) -> None:
    """kill -9 of every node container, then what an operator does: `make up`."""
    subprocess.run(["docker", "kill", *NODES], check=True, capture_output=True, timeout=60)
    broken_at = time.monotonic()
    log = STATE / "logs/faults-recovery.log"
    with log.open("w", encoding="utf-8") as output:
        code = subprocess.run(["make", "up"], cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, timeout=900, check=False).returncode
    assert code == 0, f"make up failed after the stop of all nodes, see {log}"
    print(f"up and verified {time.monotonic() - broken_at:.0f} s after the stop")
    stream.wait(3)
    converges(broken_at)
