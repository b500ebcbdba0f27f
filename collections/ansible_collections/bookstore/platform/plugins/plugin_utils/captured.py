# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from bookstore_captured, the tables whose changes are published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
# Read by Debezium only: what they hold becomes events, or says that a server lives. No copy of them is in analytics.
NOT_COPIED = frozenset({"outbox_events", "cdc_heartbeat"})


def slots(captured: Sequence[Row]) -> list[Row]:
    """Return the replication slots: source, namespace, instance, database, slot."""
    return [
        {"source": row["source"], "namespace": row["database"]["namespace"], "instance": row["database"]["name"],
         "database": row["database"]["database"], "slot": f"debezium_{row['source']}_slot"}
        for row in captured
    ]  # fmt: skip


def copied_tables(captured: Sequence[Row]) -> list[str]:
    """Return the tables that analytics has a copy of."""
    return [table for row in captured for table in row["tables"] if table not in NOT_COPIED]
