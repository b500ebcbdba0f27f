# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Waits until changes of the sources are in analytics and its views (SPEC 7.3), and tells which stage holds them up."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.cdc_tables import (
    TABLES,
    ConvergenceError,
    Object,
    Sql,
    Table,
    key_of,
    sink_row,
    source_row,
)
from ansible_collections.bookstore.platform.plugins.module_utils.kafka_topics import Broker
from ansible_collections.bookstore.platform.plugins.module_utils.waiter import Clock, wait_for

STAGES = ("wal", "kafka", "flink", "table", "view")
# Each 1 s, never a fixed sleep (SPEC 7.3).
INTERVAL = 1.0
PROBE_USER = "cdc-probe"
PROBE_PREFIX = "ffffffff"


@dataclass
class Result:
    """How far a change came: the last stage it reached, seconds, and per stage what was last seen if it came no further."""

    converged: bool
    elapsed: float
    stage: str
    hints: dict[str, str] = field(default_factory=dict)

    def report(self) -> Object:
        """The result for people."""
        return {"converged": self.converged, "elapsed_s": round(self.elapsed, 2), "stage_reached": self.stage, "hints": self.hints}


@dataclass(frozen=True)
class Change:
    """A row that analytics must show as the source had it: ``expected`` columns, None when it must be gone."""

    table: Table
    key: str
    expected: list[str] | None


class Pipeline:
    """The way from the sources to the views. ClusterError when something cannot be asked."""

    def __init__(self, sql: Sql, broker: Broker, clock: Clock = time) -> None:
        self._sql = sql
        self._broker = broker
        self._clock = clock

    def follow(self, change: Change, timeout: float) -> Result:
        """Wait until a change is in its table and in all views that read it."""
        start = self._clock.monotonic()
        position = self._sql(change.table.place, "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")
        gone_at: list[str] = []

        def look() -> tuple[bool, list[str]]:
            there = sink_row(self._sql, change.table, change.key) == change.expected
            return there, self._stale(change, gone_at) if there else []

        outcome = wait_for(look, lambda seen: seen[0] and not seen[1], timeout=timeout, interval=INTERVAL, clock=self._clock)
        if outcome.done:
            return Result(True, self._clock.monotonic() - start, "view")
        in_table, stale = outcome.value
        stage, hints = ("table", {"view": f"not refreshed since: {', '.join(stale)}; {self.views()}"}) if in_table else self._blame(
            change, int(position))  # fmt: skip
        return Result(False, outcome.elapsed, stage, hints)

    def _stale(self, change: Change, gone_at: list[str]) -> list[str]:
        """Names of the views that do not show the change yet.

        A row tells when it was written (synced_at). A deleted one does not; views show its absence when nothing that they
        read has changed since their last refresh, or when that was after it was first seen gone.
        """
        reads = (
            f"SELECT state.mv_name FROM mv_refresh_state state JOIN mv_dependencies USING (mv_name) WHERE source = '{change.table.sink}'"
        )
        if change.expected is not None:
            since = f"(SELECT synced_at FROM {change.table.sink} WHERE {change.table.sink_key} = '{key_of(change.key)}')"
            text = self._sql("analytics", f"{reads} AND (last_refresh_at >= {since}) IS NOT TRUE")
        else:
            if not gone_at:
                gone_at.append(self._sql("analytics", "SELECT clock_timestamp()"))
            pending = f"(dirty OR EXISTS (SELECT FROM mv_changes WHERE source = '{change.table.sink}'))"
            text = self._sql("analytics", f"{reads} AND {pending} AND (last_refresh_at >= '{gone_at[0]}') IS NOT TRUE")
        return text.splitlines()

    def views(self) -> str:
        """Return what the refresher last did, for a hint."""
        return "dirty|last refresh of all views: " + self._sql(
            "analytics", "SELECT count(*) FILTER (WHERE dirty), max(last_refresh_at) FROM mv_refresh_state"
        )

    def _blame(self, change: Change, position: int) -> tuple[str, dict[str, str]]:
        """Return the last stage that a change reached which is not in its table, and what the next ones showed."""
        table = change.table
        hints = {}
        slot = self._slot(table)
        record = self._record(change)
        if record is None:
            hints["kafka"] = (
                f"{table.topic} does not have it; slot {table.slot}: {json.dumps(slot)}, the change is at {position}; "
                f"see the log of debezium-{table.place}"
            )
            return "wal", hints
        lag = self._broker.describe()["groups"].get(f"flink-{table.job}", {}).get(table.topic)
        hints["flink"] = f"{table.topic} has it at offset {record}; {table.job} lags by {lag} records (counted at its checkpoints)"
        if lag is None or lag > 0:
            return "kafka", hints
        hints["table"] = f"{table.job} has read it; {table.sink} shows {sink_row(self._sql, table, change.key)}, not {change.expected}"
        return "flink", hints

    def _slot(self, table: Table) -> Object | None:
        text = self._sql(
            table.place,
            "SELECT json_build_object('active', active, 'wal_status', wal_status,"
            " 'confirmed', (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint)"
            f" FROM pg_replication_slots WHERE slot_name = '{table.slot}'",
        )
        found: Object | None = json.loads(text) if text else None
        return found

    def _record(self, change: Change) -> int | None:
        """Offset of the newest record of a key that shows the change, None if the newest shows something else."""
        key = json.dumps({change.table.key: change.key}, separators=(",", ":"))
        mine = [record for record in self._broker.call("records", change.table.topic) if record["key"] == key]
        if not mine:
            return None
        value = json.loads(mine[-1]["value"]) if mine[-1]["value"] else {}
        after = value.get("after")
        if (after is None) is not (change.expected is None):
            return None
        if after is not None:
            names = [source.split("::")[0] for source, _ in change.table.columns]
            shown = [_text(after.get(name)) for name in names]
            if shown != change.expected:
                return None
        offset: int = mine[-1]["offset"]
        return offset

    def lag(self) -> Object:
        """Return how much is under way: bytes behind each slot, records before each job, dirty views."""
        groups = self._broker.describe()["groups"]
        behind = {}
        for place in ("ecom", "inventory"):
            text = self._sql(
                place,
                "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint FROM pg_replication_slots"
                f" WHERE slot_name = 'debezium_{place}_slot'",
            )
            behind[place] = int(text) if text else None
        records = {table.job: groups.get(f"flink-{table.job}", {}).get(table.topic) for table in TABLES.values()}
        dirty = self._sql("analytics", "SELECT mv_name FROM mv_refresh_state WHERE dirty ORDER BY 1").splitlines()
        return {"wal_bytes": behind, "records": records, "dirty_views": dirty}

    def settle(self, timeout: float) -> tuple[Result, Object]:
        """Wait until what is committed now was published, read by all jobs, and no view is dirty."""
        goals = {place: int(self._sql(place, "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")) for place in ("ecom", "inventory")}

        def look() -> tuple[dict[str, int], Object]:
            confirmed = {
                place: int(self._sql(place, "SELECT coalesce((confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, 0) FROM (SELECT 1) one"
                           f" LEFT JOIN pg_replication_slots ON slot_name = 'debezium_{place}_slot'"))
                for place in goals
            }  # fmt: skip
            return {place: goals[place] - done for place, done in confirmed.items() if done < goals[place]}, self.lag()

        def settled(seen: tuple[dict[str, int], Object]) -> bool:
            return not seen[0] and all(count == 0 for count in seen[1]["records"].values()) and not seen[1]["dirty_views"]

        outcome = wait_for(look, settled, timeout=timeout, interval=INTERVAL, clock=self._clock)
        behind, lag = outcome.value
        if outcome.done:
            return Result(True, outcome.elapsed, "view"), lag
        if behind:
            return Result(False, outcome.elapsed, "wal", {"kafka": f"bytes that are not published: {behind}"}), lag
        waiting = {job: count for job, count in lag["records"].items() if count != 0}
        if waiting:
            return Result(False, outcome.elapsed, "kafka", {"flink": f"records that are not read: {waiting}"}), lag
        return Result(False, outcome.elapsed, "table", {"view": f"dirty: {', '.join(lag['dirty_views'])}; {self.views()}"}), lag

    def refreshed(self, names: list[str], timeout: float) -> Result:
        """Wait until views (all without names) show everything that is in the tables now."""
        now = self._sql("analytics", "SELECT clock_timestamp()")
        listed = "".join(f" AND mv_name = '{name}'" for name in names[:1])
        pending = "(dirty OR EXISTS (SELECT FROM mv_changes JOIN mv_dependencies d USING (source) WHERE d.mv_name = state.mv_name))"
        query = f"SELECT mv_name FROM mv_refresh_state state WHERE {pending} AND (last_refresh_at >= '{now}') IS NOT TRUE{listed}"
        outcome = wait_for(
            lambda: self._sql("analytics", query).splitlines(),
            lambda stale: not stale,
            timeout=timeout,
            interval=INTERVAL,
            clock=self._clock,
        )
        if outcome.done:
            return Result(True, outcome.elapsed, "view")
        return Result(False, outcome.elapsed, "table", {"view": f"stale: {', '.join(outcome.value)}; {self.views()}"})


class Probe:
    """Rows of the probe in all four captured tables; ids start with ffffffff, the user is cdc-probe, so no view counts them."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self.ids = {name: PROBE_PREFIX + str(uuid.uuid4())[8:] for name in TABLES}
        # Stock has the book's id.
        self.ids["inventory"] = self.ids["books"]

    def insert(self) -> None:
        """One row in each table."""
        ids = self.ids
        self._sql("ecom", (
            f"BEGIN; INSERT INTO books (id, title, author, genre, price) VALUES ('{ids['books']}', 'Probe', 'Probe', 'Probe', 1.00);"
            " INSERT INTO orders (id, user_id, status, total, shipping)"
            f" VALUES ('{ids['orders']}', '{PROBE_USER}', 'CONFIRMED', 1.00, '{{}}');"
            " INSERT INTO order_items (id, order_id, book_id, title_at_purchase, quantity, price_at_purchase)"
            f" VALUES ('{ids['order_items']}', '{ids['orders']}', '{ids['books']}', 'Probe', 1, 1.00); COMMIT"
        ))  # fmt: skip
        self._sql("inventory", f"INSERT INTO inventory (book_id, quantity) VALUES ('{ids['books']}', 1)")

    def update(self) -> None:
        """Change each row."""
        ids = self.ids
        self._sql("ecom", (
            f"BEGIN; UPDATE books SET price = 2.00 WHERE id = '{ids['books']}';"
            f" UPDATE orders SET total = 2.00, updated_at = now() WHERE id = '{ids['orders']}';"
            f" UPDATE order_items SET quantity = 2 WHERE id = '{ids['order_items']}'; COMMIT"
        ))  # fmt: skip
        self._sql("inventory", f"UPDATE inventory SET quantity = 2 WHERE book_id = '{ids['books']}'")

    def delete(self) -> None:
        """Remove each row; none may be there."""
        ids = self.ids
        self._sql("ecom", (
            f"BEGIN; DELETE FROM order_items WHERE id = '{ids['order_items']}'; DELETE FROM orders WHERE id = '{ids['orders']}';"
            f" DELETE FROM books WHERE id = '{ids['books']}'; COMMIT"
        ))  # fmt: skip
        self._sql("inventory", f"DELETE FROM inventory WHERE book_id = '{ids['books']}'")


def probe(pipeline: Pipeline, sql: Sql, timeout: float, names: list[str]) -> tuple[Result, dict[str, dict[str, float]]]:
    """Follow an insert, an update and a deletion of probe rows through ``names``; the worst result, and seconds by operation and table.

    ``timeout`` bounds each operation. The rows are removed in every case.
    """
    rows = Probe(sql)
    took: dict[str, dict[str, float]] = {}
    slowest = Result(True, 0.0, "view")
    removed = False
    try:
        for operation in ("insert", "update", "delete"):
            getattr(rows, operation)()
            removed = operation == "delete"
            start = time.monotonic()
            for name in names:
                table, key = TABLES[name], rows.ids[name]
                expected = None if removed else source_row(sql, table, key)
                left = max(timeout - (time.monotonic() - start), 0.0)
                result = pipeline.follow(Change(table, key, expected), left)
                result.elapsed = time.monotonic() - start
                took.setdefault(operation, {})[name] = round(result.elapsed, 2)
                if not result.converged:
                    result.hints = {f"{operation} of {name}, {stage}": hint for stage, hint in result.hints.items()}
                    return result, took
                slowest = max(slowest, result, key=lambda one: one.elapsed)
    finally:
        if not removed:
            rows.delete()
    return slowest, took


def row(pipeline: Pipeline, sql: Sql, table: Table, key: str, timeout: float) -> Result:
    """Wait until analytics shows a row as its source has it now; gone if the source has none."""
    return pipeline.follow(Change(table, key, source_row(sql, table, key)), timeout)


def complaint(mode: str, result: Result, timeout: float) -> str:
    """Return the sentence of a result that did not converge."""
    hints = "; ".join(f"{stage}: {hint}" for stage, hint in result.hints.items())
    return f"BK-250: mode={mode} did not converge within timeout={timeout:.0f} s; the last stage reached is {result.stage}; {hints}"


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


__all__ = ["STAGES", "Change", "ConvergenceError", "Pipeline", "Probe", "Result", "complaint", "probe", "row"]
