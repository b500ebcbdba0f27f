# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Waits until changes of the sources are in analytics and its views (SPEC 7.3), and tells which stage holds them up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import Clock, Outcome, wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES, Object, Sql, Table, key_of, sink_row
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

STAGES = ("wal", "kafka", "flink", "table", "view")
# Each 1 s, never a fixed sleep (SPEC 7.3).
INTERVAL = 1.0
SOURCES = ("ecom", "inventory")
T = TypeVar("T")


@dataclass
class Result:
    """How far a change came: the last stage it reached (none: empty), seconds, and per stage what was last seen if it came no further."""

    converged: bool
    elapsed: float
    stage: str
    hints: dict[str, str] = field(default_factory=dict)

    def report(self) -> Object:
        """The result for people."""
        return {"converged": self.converged, "elapsed_s": round(self.elapsed, 2), "stage_reached": self.stage, "hints": self.hints}


class SilentError(Exception):
    """A database or the broker does not answer: a fact of one look, like a row that is not there yet."""


@dataclass(frozen=True)
class Change:
    """A row that analytics must show as the source had it: ``expected`` columns, None when it must be gone."""

    table: Table
    key: str
    expected: list[str] | None


class Pipeline:
    """The way from the sources to the views. What does not answer is asked again until the time is over, and then is the hint."""

    def __init__(self, sql: Sql, broker: Broker, clock: Clock = time) -> None:
        self._execute = sql
        self._broker = broker
        self._clock = clock

    def _sql(self, place: str, statement: str) -> str:
        return self._answer(place, lambda: self._execute(place, statement))

    @staticmethod
    def _answer(part: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClusterError as error:
            raise SilentError(f"{part}: not answering ({' '.join(str(error).split())[:300]})") from error

    def _wait(
        self, look: Callable[[], T], done: Callable[[T], bool], timeout: float, left: Callable[[T], float | None] = lambda _: None
    ) -> Outcome[T | SilentError]:
        """As wait_for; a look that gets no answer is not done, and tells of no work."""

        def patient() -> T | SilentError:
            try:
                return look()
            except SilentError as silence:
                return silence

        return wait_for(
            patient, lambda seen: not isinstance(seen, SilentError) and done(seen), timeout=timeout, interval=INTERVAL, clock=self._clock,
            left=lambda seen: None if isinstance(seen, SilentError) else left(seen),
        )  # fmt: skip

    def follow(self, change: Change, timeout: float) -> Result:
        """Wait until a change is in its table and in all views that read it."""
        start = self._clock.monotonic()
        position: list[str] = []
        gone_at: list[str] = []

        def look() -> tuple[bool, list[str]]:
            if not position:
                position.append(self._position(change.table.place))
            there = sink_row(self._sql, change.table, change.key) == change.expected
            return there, self._stale(change, gone_at) if there else []

        outcome = self._wait(look, lambda seen: seen[0] and not seen[1], timeout)
        if outcome.done:
            return Result(True, self._clock.monotonic() - start, "view")
        if not isinstance(outcome.value, SilentError) and outcome.value[0]:
            stage, hints = "table", {"view": f"not refreshed since: {', '.join(outcome.value[1])}; {self.views()}"}
        elif not position:
            stage, hints = "", {"wal": str(outcome.value)}
        else:
            stage, hints = self._blame(change, int(position[0]))
        return Result(False, outcome.elapsed, stage, hints)

    def _position(self, place: str) -> str:
        return self._sql(place, "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")

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
            pending = f"(dirty OR EXISTS (SELECT FROM mv_waiting() AS source WHERE source = '{change.table.sink}'))"
            text = self._sql("analytics", f"{reads} AND {pending} AND (last_refresh_at >= '{gone_at[0]}') IS NOT TRUE")
        return text.splitlines()

    def views(self) -> str:
        """Return what the refresher last did, for a hint."""
        query = "SELECT count(*) FILTER (WHERE dirty), max(last_refresh_at) FROM mv_refresh_state"
        return "dirty|last refresh of all views: " + self._told(lambda: self._sql("analytics", query))

    @staticmethod
    def _told(call: Callable[[], T]) -> str:
        """Return an answer as text, or that there is none."""
        try:
            return str(call())
        except SilentError as silence:
            return str(silence)

    def _blame(self, change: Change, position: int) -> tuple[str, dict[str, str]]:
        """Return the last stage that a change reached which is not in its table, and what the next ones showed."""
        table = change.table
        try:
            record = self._record(change)
        except SilentError as silence:
            return "wal", {"kafka": str(silence)}
        if record is None:
            slot = self._told(lambda: json.dumps(self._slot(table)))
            hint = f"{table.topic} does not have it; slot {table.slot}: {slot}, the change is at {position}"
            return "wal", {"kafka": f"{hint}; see the log of debezium-{table.place}"}
        hints = {}
        try:
            lag = self._answer("kafka", self._broker.describe)["groups"].get(f"flink-{table.job}", {}).get(table.topic)
        except SilentError as silence:
            return "kafka", {"flink": str(silence)}
        hints["flink"] = f"{table.topic} has it at offset {record}; {table.job} lags by {lag} records (counted at its checkpoints)"
        if lag is None or lag > 0:
            return "kafka", hints
        shown = self._told(lambda: sink_row(self._sql, table, change.key))
        hints["table"] = f"{table.job} has read it; {table.sink} shows {shown}, not {change.expected}"
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
        mine = self._answer("kafka", lambda: self._broker.latest(change.table.topic, key))
        if mine is None:
            return None
        value = json.loads(mine["value"]) if mine["value"] else {}
        after = value.get("after")
        if (after is None) is not (change.expected is None):
            return None
        if after is not None:
            names = [source.split("::")[0] for source, _ in change.table.columns]
            shown = [_text(after.get(name)) for name in names]
            if shown != change.expected:
                return None
        offset: int = mine["offset"]
        return offset

    def lag(self) -> Object:
        """Return how much is under way: bytes behind each slot, records before each job, dirty views. SilentError without an answer."""
        groups = self._answer("kafka", self._broker.describe)["groups"]
        behind = {}
        for place in SOURCES:
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
        """Wait until what is committed now was published, read by all jobs, and is in the views; what comes later does not count.

        ``timeout``: seconds that each of the three may take without getting on.
        """
        start = self._clock.monotonic()

        def result(converged: bool, stage: str, hints: dict[str, str]) -> tuple[Result, Object]:
            try:
                lag = self.lag()
            except SilentError as silence:
                lag = {"unknown": str(silence)}
            return Result(converged, self._clock.monotonic() - start, stage, hints), lag

        published = self._published(timeout)
        if not published.done:
            return result(False, "wal", {"kafka": f"bytes that are not published: {published.value}"})
        read = self._all_read(timeout)
        if not read.done:
            return result(False, "kafka", {"flink": f"records that are not read: {read.value}"})
        views = self.refreshed([], timeout)
        return result(views.converged, views.stage, views.hints)

    def caught_up(self, timeout: float) -> str:
        """Wait until what is committed now was published and read by all jobs; return what is not, or an empty text.

        ``timeout``: seconds that each of both may take without getting on.
        """
        published = self._published(timeout)
        if not published.done:
            return f"bytes that are not published: {published.value}"
        read = self._all_read(timeout)
        return "" if read.done else f"records that are not read: {read.value}"

    def _published(self, timeout: float) -> Outcome[dict[str, int] | SilentError]:
        """Wait for the slots to pass what the sources have committed now; the value: bytes by source."""
        goals: dict[str, int] = {}

        def look() -> dict[str, int]:
            for place in SOURCES:
                if place not in goals:
                    goals[place] = int(self._position(place))
            confirmed = {
                place: int(self._sql(place, "SELECT coalesce((confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, 0) FROM (SELECT 1) one"
                           f" LEFT JOIN pg_replication_slots ON slot_name = 'debezium_{place}_slot'"))
                for place in goals
            }  # fmt: skip
            return {place: goals[place] - done for place, done in confirmed.items() if done < goals[place]}

        return self._wait(look, lambda behind: not behind, timeout, lambda behind: sum(behind.values()))

    def _all_read(self, timeout: float) -> Outcome[dict[str, Any] | SilentError]:
        """Wait for the jobs to commit what the topics hold now; the value: records by job, None if it never committed."""
        ends: dict[str, int] = {}

        def look() -> dict[str, Any]:
            found = self._answer("kafka", self._broker.describe)
            topics = {table.topic: int(found["topics"].get(table.topic, {}).get("end", 0)) for table in TABLES.values()}
            ends.update({topic: end for topic, end in topics.items() if topic not in ends})
            behind: dict[str, Any] = {}
            for table in TABLES.values():
                lag = found["groups"].get(f"flink-{table.job}", {}).get(table.topic)
                missing = None if lag is None else ends[table.topic] - (topics[table.topic] - int(lag))
                # Of an empty topic there is nothing to commit.
                if ends[table.topic] and (missing is None or missing > 0):
                    behind[table.job] = missing
            return behind

        def left(behind: dict[str, Any]) -> float | None:
            return None if None in behind.values() else sum(behind.values())

        return self._wait(look, lambda behind: not behind, timeout, left)

    def refreshed(self, names: list[str], timeout: float) -> Result:
        """Wait until views (all without names) show everything that is in the tables now."""
        listed = "".join(f" AND mv_name = '{name}'" for name in names[:1])
        waiting = "SELECT FROM mv_waiting() AS source JOIN mv_dependencies d USING (source) WHERE d.mv_name = state.mv_name"
        pending = f"(dirty OR EXISTS ({waiting}))"
        now: list[str] = []

        def look() -> list[str]:
            if not now:
                now.append(self._sql("analytics", "SELECT clock_timestamp()"))
            query = f"SELECT mv_name FROM mv_refresh_state state WHERE {pending} AND (last_refresh_at >= '{now[0]}') IS NOT TRUE{listed}"
            return self._sql("analytics", query).splitlines()

        outcome = self._wait(look, lambda stale: not stale, timeout)
        if outcome.done:
            return Result(True, outcome.elapsed, "view")
        seen = outcome.value
        hint = str(seen) if isinstance(seen, SilentError) else f"stale: {', '.join(seen)}; {self.views()}"
        return Result(False, outcome.elapsed, "table", {"view": hint})


def complaint(mode: str, result: Result, timeout: float) -> str:
    """Return the sentence of a result that did not converge."""
    hints = "; ".join(f"{stage}: {hint}" for stage, hint in result.hints.items())
    reached = result.stage or "none"
    return f"BK-250: mode={mode} did not converge within timeout={timeout:.0f} s; the last stage reached is {reached}; {hints}"


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
