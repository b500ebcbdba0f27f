"""What follows from the list of captured tables."""

from __future__ import annotations

from ansible_collections.bookstore.platform.plugins.plugin_utils import captured

CAPTURED = [
    {"source": "a", "database": {"name": "a-db", "namespace": "x", "database": "adb"}, "tables": ["one", "outbox_events", "cdc_heartbeat"]},
    {"source": "b", "database": {"name": "b-db", "namespace": "y", "database": "bdb"}, "tables": ["two", "cdc_heartbeat"]},
]


def test_each_source_has_a_slot_named_after_it() -> None:
    (_, slot) = captured.slots(CAPTURED)
    assert slot == {"source": "b", "namespace": "y", "instance": "b-db", "database": "bdb", "slot": "debezium_b_slot"}


def test_what_only_debezium_reads_has_no_copy() -> None:
    assert captured.copied_tables(CAPTURED) == ["one", "two"]
