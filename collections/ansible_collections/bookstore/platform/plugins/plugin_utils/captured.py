# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from bookstore_captured, the tables whose changes are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]
# Read by Debezium only: what they hold becomes events, or says that a server lives. No copy of them is in analytics.
NOT_COPIED = frozenset({"outbox_events", "cdc_heartbeat"})


def check(captured: Sequence[Row]) -> None:
    """Refuse a list that its readers cannot use; ValueError names the entry, the key and what to write."""
    if not isinstance(captured, (list, tuple)):
        raise ValueError("bookstore_captured: write a list of sources")
    for number, row in enumerate(captured, 1):
        source = row.get("source") if isinstance(row, Mapping) else None
        if not isinstance(source, str) or not source:
            raise ValueError(f"bookstore_captured: entry {number}: write source: <name>, database and tables")
        what = f"bookstore_captured: {source}"
        database = row.get("database")
        if not isinstance(database, Mapping) or not all(database.get(key) for key in ("name", "namespace", "database")):
            raise ValueError(f"{what}: database: write {{name: <instance>, namespace: <namespace>, database: <database>}}")
        tables = row.get("tables")
        if not isinstance(tables, (list, tuple)) or not tables or not all(isinstance(table, str) for table in tables):
            raise ValueError(f"{what}: tables: write a list of tables")


def slots(captured: Sequence[Row]) -> list[Row]:
    """Return the replication slots: source, namespace, instance, database, slot."""
    check(captured)
    return [
        {"source": row["source"], "namespace": row["database"]["namespace"], "instance": row["database"]["name"],
         "database": row["database"]["database"], "slot": f"debezium_{row['source']}_slot"}
        for row in captured
    ]  # fmt: skip


def copied_tables(captured: Sequence[Row]) -> list[str]:
    """Return the tables that analytics has a copy of."""
    check(captured)
    return [table for row in captured for table in row["tables"] if table not in NOT_COPIED]
