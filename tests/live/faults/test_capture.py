"""Damage to what Debezium relies on: its stored offset, its slot, the tables' shape; under a steady stream of orders.

The settings under which some of these lose rows silently are named in roles/debezium/README.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from ..goods import Sql
from ..waiting import until
from ..workloads import Workloads
from .conftest import report
from .stream import Stream

pytestmark = pytest.mark.timeout(900)

SERVER = ("Deployment", "infra", "debezium-ecom")
OFFSETS = "debezium.ecom.offsets"
SLOT = "debezium_ecom_slot"
# More than the log grows during a test.
AHEAD_BYTES = 1 << 30


@pytest.fixture
def workloads(cluster: Cluster) -> Workloads:
    """Stops and starts the server."""
    return Workloads(cluster)


class Offsets:
    """The server's stored offset; only changed while the server is stopped."""

    def __init__(self, cluster: Cluster) -> None:
        self._broker = Broker(cluster, 60)

    def latest(self) -> dict[str, Any]:
        """The newest record {partition, key, value}, which is not one of the guard's."""
        records = [one for one in self._broker.newest([OFFSETS])[OFFSETS] if one["value"] and not one["key"].startswith('["guard')]
        return max(records, key=lambda one: int(one["offset"]))

    def put(self, record: dict[str, Any], value: str) -> None:
        """Store another offset."""
        self._broker.call("put", OFFSETS, json.dumps({"partition": record["partition"], "key": record["key"], "value": value}))

    def remove(self, record: dict[str, Any]) -> None:
        """Store none."""
        self._broker.call("tombstone", OFFSETS, json.dumps({"partition": record["partition"], "key": record["key"]}))


@pytest.fixture
def offsets(cluster: Cluster) -> Offsets:
    """The stored offset of debezium-ecom."""
    return Offsets(cluster)


def moved(value: str, by: int) -> str:
    """An offset with its positions in the log moved by so many bytes."""
    offset: dict[str, Any] = json.loads(value)
    return json.dumps({key: number + by if key.startswith("lsn") and isinstance(number, int) else number for key, number in offset.items()})


def test_stored_offset_deleted(workloads: Workloads, offsets: Offsets, stream: Stream, converges: Callable[[float], None]) -> None:
    with workloads.without(*SERVER):
        offsets.remove(offsets.latest())
        broken_at = time.monotonic()
        stream.wait(5)
    stream.wait(3)
    converges(broken_at)


def test_stored_offset_rolled_back_behind_the_slot(
    workloads: Workloads, offsets: Offsets, stream: Stream, ecom_sql: Sql, converges: Callable[[float], None]
) -> None:
    old = offsets.latest()
    confirmed = f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
    before = ecom_sql(confirmed)
    stream.wait(10)
    until(lambda: ecom_sql(confirmed) != before, "the slot to advance", 60, pause=1)
    with workloads.without(*SERVER):
        offsets.put(old, old["value"])
        broken_at = time.monotonic()
        stream.wait(5)
    stream.wait(3)
    converges(broken_at)


def test_stored_offset_ahead_of_the_slot(
    workloads: Workloads, offsets: Offsets, stream: Stream, converges: Callable[[float], None]
) -> None:
    with workloads.without(*SERVER):
        latest = offsets.latest()
        offsets.put(latest, moved(latest["value"], AHEAD_BYTES))
        broken_at = time.monotonic()
        stream.wait(5)
    stream.wait(3)
    converges(broken_at)


def drop(sql: Sql) -> None:
    """Drop the slot, which its reader may just be leaving."""
    until(lambda: sql(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'") == "f", "the slot to be left", 60, pause=0.5)
    sql(f"SELECT pg_drop_replication_slot('{SLOT}')")


def test_slot_dropped(workloads: Workloads, stream: Stream, ecom_sql: Sql, converges: Callable[[float], None]) -> None:
    with workloads.without(*SERVER):
        drop(ecom_sql)
        broken_at = time.monotonic()
        stream.wait(5)
    stream.wait(3)
    converges(broken_at)


def test_slot_recreated_after_changes_that_it_never_saw(
    workloads: Workloads, stream: Stream, ecom_sql: Sql, converges: Callable[[float], None]
) -> None:
    with workloads.without(*SERVER):
        drop(ecom_sql)
        broken_at = time.monotonic()
        stream.wait(5)
        ecom_sql(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    stream.wait(3)
    converges(broken_at)


def test_slot_invalidated_by_the_cap_of_retained_log(
    workloads: Workloads, stream: Stream, ecom_sql: Sql, converges: Callable[[float], None]
) -> None:
    cap = ecom_sql("SHOW max_slot_wal_keep_size")
    with workloads.without(*SERVER):
        try:
            ecom_sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
            ecom_sql("SELECT pg_reload_conf()")
            until(lambda: ecom_sql("SHOW max_slot_wal_keep_size") == "1MB", "the cap to hold", 30)

            def lost() -> bool:
                for _ in range(3):
                    ecom_sql("SELECT pg_switch_wal() FROM (SELECT txid_current()) AS written")
                ecom_sql("CHECKPOINT")
                return ecom_sql(f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{SLOT}'") == "lost"

            broken_at = time.monotonic()
            until(lost, "the slot to be given up", 90, pause=0.5)
            stream.wait(5)
        finally:
            ecom_sql("ALTER SYSTEM RESET max_slot_wal_keep_size")
            ecom_sql("SELECT pg_reload_conf()")
            until(lambda: ecom_sql("SHOW max_slot_wal_keep_size") == cap, "the cap to be what it was", 30)
    stream.wait(3)
    converges(broken_at)


def test_a_column_is_added_to_a_source_table(stream: Stream, ecom_sql: Sql, converges: Callable[[float], None]) -> None:
    broken_at = time.monotonic()
    ecom_sql("ALTER TABLE books ADD COLUMN fault_note text DEFAULT 'new'")
    try:
        ecom_sql(f"UPDATE books SET title = title || '!', fault_note = 'changed' WHERE id = '{stream.ids[0]}'")
        stream.wait(6)
        converges(broken_at)
    finally:
        ecom_sql("ALTER TABLE books DROP COLUMN fault_note")


def test_an_idle_database_gives_its_log_free(inventory_sql: Sql) -> None:
    """Nothing captured changes, the log grows all the same; the heartbeat lets the slot follow."""
    began = time.monotonic()
    try:
        inventory_sql("CREATE TABLE log_filler AS SELECT repeat('x', 1000) AS filler FROM generate_series(1, 20000)")
        written = inventory_sql("SELECT pg_current_wal_lsn()")
        kept = f"SELECT restart_lsn < '{written}'::pg_lsn FROM pg_replication_slots WHERE slot_name = 'debezium_inventory_slot'"
        until(lambda: inventory_sql(kept) == "f", "the slot to need nothing of what was written", 180, pause=1)
    finally:
        inventory_sql("DROP TABLE IF EXISTS log_filler")
    report("test_an_idle_database_gives_its_log_free", {"seconds_after_the_fault": round(time.monotonic() - began, 1)})
