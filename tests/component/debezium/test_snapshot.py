"""New snapshots of tables with many rows: how far they are is told, and afterwards Kafka has what the source has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .pipeline import Debezium, Kafka, until, values

# The first test of a run also renders, compiles and starts a broker, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900)
TOPIC = "cdc.ecom.public.orders"
# More than twice as many keys as the guard compares at a time, and a snapshot of some seconds.
ORDERS = 50_000


@pytest.fixture
def filled(debezium: Debezium) -> Debezium:
    """The server, not started, of a shop with many orders."""
    debezium.postgres.execute(
        "INSERT INTO orders (id, user_id, status, total, shipping)"
        f" SELECT gen_random_uuid(), 'someone', 'CONFIRMED', 10, '{{}}' FROM generate_series(1, {ORDERS})",
        debezium.database,
    )
    return debezium


def told(kafka: Kafka) -> list[dict[str, Any]]:
    """What was told of the progress, oldest first."""
    records = kafka.read("debezium.ecom.offsets")
    return [json.loads(one.value) for one in records if one.key and b'"guard-progress"' in one.key]


def alive(kafka: Kafka) -> set[str]:
    """Orders that the topic leads to."""
    found: set[str] = set()
    for one in values(kafka.read(TOPIC)):
        if one["after"]:
            found.add(one["after"]["id"])
        else:
            found.discard(one["before"]["id"])
    return found


def test_how_far_a_snapshot_is_is_told(filled: Debezium, kafka: Kafka) -> None:
    filled.first_snapshot()
    progress = [one for one in told(kafka) if one["stage"] == "snapshot"]
    assert progress
    rows = [one["rows"] for one in progress]
    assert rows == sorted(rows)
    assert rows[-1] == progress[-1]["of"] == sum(of for _, of in progress[-1]["tables"].values())
    assert progress[-1]["tables"]["orders"] == [ORDERS, ORDERS]


def test_rows_that_are_gone_are_found_among_many(filled: Debezium, kafka: Kafka) -> None:
    filled.first_snapshot()
    filled.container.kill()
    with filled.postgres.connect(filled.database) as connection:
        until(lambda: slot_is_free(connection), "the slot to be free")
        connection.execute("SELECT pg_drop_replication_slot('debezium_ecom_slot')")
        connection.execute("DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders LIMIT %s)", (ORDERS * 3 // 5,))
        connection.commit()
        filled.container.restart()
        until(filled.compared, "the comparison", 300)
        filled.catch_up()
        left = {str(key) for (key,) in connection.execute("SELECT id FROM orders")}
    assert len(left) == ORDERS * 2 // 5
    assert alive(kafka) == left
    assert any(one["stage"] == "comparison" and 0 < one["rows"] <= one["of"] for one in told(kafka))


def slot_is_free(connection: Any) -> bool:
    """Whether the killed server's session has ended."""
    row = connection.execute("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'debezium_ecom_slot'").fetchone()
    return bool(row and row[0])
