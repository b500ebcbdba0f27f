"""What follows from the list of captured tables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.bookstore.platform.plugins.filter.captured import FilterModule
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


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"source": "a"}, "write a list of sources"),
        (None, "write a list of sources"),
        ([CAPTURED[0], {"database": {}}], "entry 2: write source: <name>"),
        (["a"], "entry 1: write source: <name>"),
        ([{**CAPTURED[0], "database": "a-db"}], "a: database: write {name"),
        ([{**CAPTURED[0], "database": {"name": "a-db", "namespace": "x"}}], "a: database: write {name"),
        ([{**CAPTURED[0], "tables": "one"}], "a: tables: write a list of tables"),
        ([{**CAPTURED[0], "tables": None}], "a: tables: write a list of tables"),
    ],
)
def test_a_wrong_entry_is_named_by_every_filter(rows: Any, message: str) -> None:
    for derive in FilterModule().filters().values():
        with pytest.raises(AnsibleFilterError, match=f"^BK-261: bookstore_captured: {message}"):
            derive(rows)
