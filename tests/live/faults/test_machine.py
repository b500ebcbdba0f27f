"""The machine itself: all nodes stopped hard, and Kafka's disk as it was seconds earlier; under a steady stream of orders."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.debezium_servers import stored_by_source
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from ..goods import Sql
from ..waiting import until
from ..workloads import Workloads
from .operating import NODES, operator
from .stream import Stream

pytestmark = pytest.mark.timeout(1800)

# As bookstore_data_dir of the inventory.
DATA = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "bookstore-platform/kafka"


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """Kafka's disk as it is now, owners and times kept."""
    assert DATA.is_dir(), f"{DATA} does not exist; this test expects the default of bookstore_data_dir"
    target = tmp_path / "kafka"
    subprocess.run(["cp", "-a", str(DATA), str(target)], check=True, timeout=120)
    yield target
    shutil.rmtree(target, ignore_errors=True)


def restore(copy: Path) -> None:
    """Give Kafka its disk as it was; nothing may be using it."""
    for entry in DATA.iterdir():
        subprocess.run(["rm", "-rf", str(entry)], check=True, timeout=60)
    subprocess.run(["cp", "-a", f"{copy}/.", str(DATA)], check=True, timeout=120)


class Positions:
    """How far Flink's checkpoints are in the topics of the captured tables."""

    def __init__(self, cluster: Cluster) -> None:
        self._broker = Broker(cluster, 60)

    def ends(self) -> dict[str, int]:
        """Topic to its end."""
        topics = self._broker.describe()["topics"]
        return {table.topic: int(topics[table.topic]["end"]) for table in TABLES.values()}

    def are_beyond(self, ends: dict[str, int]) -> bool:
        """Whether the checkpoints hold everything before ``ends``; while customers order there is always something behind them."""
        found = self._broker.describe()
        for table in TABLES.values():
            lag = found["groups"].get(f"flink-{table.job}", {}).get(table.topic)
            if lag is None or int(found["topics"][table.topic]["end"]) - int(lag) < ends[table.topic]:
                return False
        return True


@pytest.fixture
def positions(cluster: Cluster) -> Positions:
    """Of the running platform."""
    return Positions(cluster)


def snapshots(cluster: Cluster) -> dict[str, str]:
    """Each source to when its guard began anew last, empty as long as rows that are gone are still looked for."""
    kept = stored_by_source(Broker(cluster, 60), sorted({table.place for table in TABLES.values()}))
    notes = {source: one.note for source, one in kept.items()}
    return {source: str(note["since"]) if note and note.get("done") and not note.get("lost") else "" for source, note in notes.items()}


def change(ecom_sql: Sql, book: str) -> None:
    """A change after the copy, and none of the same row afterwards: only the new snapshot brings it."""
    ecom_sql(f"UPDATE books SET title = title || ', second edition' WHERE id = '{book}'")


def test_kafka_loses_its_last_seconds(cluster: Cluster, stream: Stream, copy: Path, converges: Callable[[float], None]) -> None:
    """What was acknowledged to Debezium and to the workers is gone; the sources know better.

    The servers outlive so short an absence, so it is their guards who have to notice.
    """
    before = snapshots(cluster)
    stream.wait(10)
    with Workloads(cluster).without("StatefulSet", "infra", "kafka"):
        restore(copy)
        broken_at = time.monotonic()
        stream.wait(3)

    def anew() -> bool:
        return all(since and since != before[source] for source, since in snapshots(cluster).items())

    until(anew, "both guards to have begun anew", 240, pause=1)
    stream.wait(5)
    converges(broken_at)


def test_kafka_loses_what_flink_has_read_and_grows_again_before_flink_looks(
    cluster: Cluster, stream: Stream, copy: Path, positions: Positions, ecom_sql: Sql, converges: Callable[[float], None]
) -> None:
    """The positions in Flink's checkpoints then lie within the topics, behind records that it has never seen."""
    workloads = Workloads(cluster)
    change(ecom_sql, stream.ids[0])
    stream.wait(10)
    published = positions.ends()
    until(lambda: positions.are_beyond(published), "a checkpoint of everything that was published", 60, pause=1)
    with workloads.without("StatefulSet", "analytics", "flink-taskmanager"):
        read = positions.ends()
        with workloads.without("StatefulSet", "infra", "kafka"):
            restore(copy)
            broken_at = time.monotonic()

        def grown() -> bool:
            ends = positions.ends()
            return all(ends[topic] > read[topic] for topic in read if topic != "cdc.inventory.public.inventory")

        until(grown, "the topics to be longer than what Flink had read", 240, pause=2)
    operator("flink", "make", "up", "ARGS=--tags flink")
    stream.wait(5)
    converges(broken_at)


@pytest.mark.parametrize("older", [False, True], ids=["as_it_was", "with_kafkas_disk_of_seconds_earlier"])
def test_all_nodes_stop_hard(stream: Stream, copy: Path, ecom_sql: Sql, converges: Callable[[float], None], older: bool) -> None:
    """kill -9 of every node container, then what an operator does: `make up`."""
    if older:
        change(ecom_sql, stream.ids[0])
        # Flink's checkpoints, every 10 s, are to be beyond the copy.
        stream.wait(20)
    subprocess.run(["docker", "kill", *NODES], check=True, capture_output=True, timeout=60)
    broken_at = time.monotonic()
    if older:
        restore(copy)
    operator("recovery", "make", "up")
    print(f"up and verified {time.monotonic() - broken_at:.0f} s after the stop")
    stream.wait(3)
    converges(broken_at)
