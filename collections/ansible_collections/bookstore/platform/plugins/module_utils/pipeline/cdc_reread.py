# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Brings rows of analytics back to what their sources hold, and resolves what was quarantined of them.

A row that differs is written again in its source, unchanged, so that Debezium publishes it again; one that the source has no more
is removed. What is on its way is left alone.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import Clock, wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_convergence import Pipeline
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import (
    BATCH,
    Sql,
    Table,
    groups,
    key_of,
    literal,
    remove,
    share_of,
)

# Table and key to the digest of the source's row, None where it has none.
Differing = dict[tuple[str, str], str | None]
# How long a change usually is on its way, and how long the jobs may take to read what is there.
PATIENCE = 5.0
CATCH_UP = 60.0
# Of 256: so many shares of a table differ only where thousands of rows do, or a shop is very busy.
MANY_SHARES = 64
SHOWN = 10


@dataclass(frozen=True)
class Entry:
    """An open entry of the quarantine; ``key`` is None when the record is about no row."""

    table: str
    partition: int
    offset: int
    key: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.table} {self.key or 'without a row'}, offset {self.offset}: {self.reason}"


@dataclass
class Outcome:
    """What was read again, removed and resolved, by table; ``remaining``: what still differs, and why, one line each."""

    reread: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    resolved: dict[str, int] = field(default_factory=dict)
    remaining: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether anything was written anywhere."""
        return any((*self.reread.values(), *self.removed.values(), *self.resolved.values()))


class Reread:
    """One call for some tables, or one row of one table."""

    def __init__(self, sql: Sql, pipeline: Pipeline, tables: list[Table], key: str | None = None, clock: Clock = time) -> None:
        self._sql = sql
        self._pipeline = pipeline
        self._tables = {table.name: table for table in tables}
        self._key = key_of(key) if key is not None else None
        self._clock = clock

    def run(self, timeout: float, *, apply: bool) -> Outcome:
        """Do it within about ``timeout`` seconds; without ``apply`` only say what would be read again and removed.

        A backlog is waited for as long as it is worked off; the time counts from its end.
        """
        start = self._clock.monotonic()
        outcome = Outcome()
        entries = self.entries()
        differing, hint = self._settled(min(timeout, CATCH_UP))
        settled = self._clock.monotonic()

        def left() -> float:
            return max(0.0, timeout - (self._clock.monotonic() - settled))

        if hint:
            # Whether these rows differ nobody can tell yet.
            outcome.remaining = [f"{hint}; {len(differing)} rows differ meanwhile"]
        else:
            gone = {name: {key for (table, key), row in differing.items() if table == name and row is None} for name in self._tables}
            there = {name: {key for (table, key), row in differing.items() if table == name and row is not None} for name in self._tables}
            if not apply:
                outcome.reread, outcome.removed = ({name: len(keys) for name, keys in part.items()} for part in (there, gone))
                return outcome
            refused = self._write(there, outcome)
            for name, keys in gone.items():
                outcome.removed[name] = remove(self._sql, self._tables[name], keys, lambda: left() > 0)
            if differing:
                differing = self._wait(differing, entries, left())
            outcome.remaining = self._told(differing, refused)
        if apply:
            outcome.resolved = self._resolve(entries, differing, known=not hint)
        outcome.elapsed = self._clock.monotonic() - start
        return outcome

    def entries(self) -> list[Entry]:
        """Return the open entries of these tables, the newest of each row last."""
        topics = {table.topic: table.name for table in self._tables.values()}
        listed = ", ".join(f"'{topic}'" for topic in topics)
        chosen = f" AND row_key = '{self._key}'" if self._key else ""
        text = self._sql(
            "analytics",
            "SELECT json_build_array(topic, kafka_partition, kafka_offset, row_key, left(reason, 300)) FROM quarantined_records"
            f" WHERE resolved_at IS NULL AND topic IN ({listed}){chosen} ORDER BY kafka_offset",
        )
        return [Entry(topics[topic], *others) for topic, *others in map(json.loads, text.splitlines())]

    def look(self) -> Differing:
        """Return the rows that differ, by digests of 256 shares first: rows travel only of shares that differ."""
        return self._rows_of(self._differing_shares())

    def _differing_shares(self) -> dict[str, set[str]]:
        shares: dict[str, set[str]] = {}
        for name, share, _ in (line.split("|") for line in self._shares("analytics") ^ self._shares("")):
            shares.setdefault(name, set()).add(share)
        return shares

    def _rows_of(self, shares: dict[str, set[str]]) -> Differing:
        found: Differing = {}
        for name, wanted in shares.items():
            table = self._tables[name]
            for some in groups(wanted):
                copies = self._rows("analytics", table, some)
                originals = self._rows(table.place, table, some)
                for key in copies.keys() | originals.keys():
                    if copies.get(key) != originals.get(key) and self._key in (None, key):
                        found[name, key] = originals.get(key)
        return found

    def _shares(self, place: str) -> set[str]:
        """Return table|share|digest in analytics, or in all sources without a place."""
        places = [place] if place else sorted({table.place for table in self._tables.values()})
        found: set[str] = set()
        for one in places:
            parts = []
            for table in self._tables.values():
                if one in ("analytics", table.place):
                    name, key, row = _sides(one, table)
                    parts.append(
                        f"SELECT '{table.name}', {share_of(key)}, md5(string_agg({row}, ',' ORDER BY {key}::text COLLATE \"C\"))"
                        f" FROM {name} GROUP BY 2"
                    )
            found |= set(self._sql(one, " UNION ALL ".join(parts)).splitlines())
        return found

    def _rows(self, place: str, table: Table, shares: set[str]) -> dict[str, str]:
        name, key, row = _sides(place, table)
        listed = ", ".join(f"'{share}'" for share in sorted(shares))
        text = self._sql(place, f"SELECT json_build_array({key}::text, {row}) FROM {name} WHERE {share_of(key)} IN ({listed})")
        return dict(map(json.loads, text.splitlines()))

    def _settled(self, patience: float) -> tuple[Differing, str]:
        """Return the rows that differ although their changes had time to arrive; or why that cannot be told."""
        shares = self._differing_shares()
        if len(shares) and max(map(len, shares.values())) > MANY_SHARES:
            # A backlog: its rows are not compared one by one before they are there.
            if hint := self._pipeline.caught_up(patience):
                return {}, hint
            shares = self._differing_shares()
        seen = self._rows_of(shares)

        def again() -> Differing:
            nonlocal seen
            now = self.look()
            # A row that was written meanwhile is on its way once more.
            seen = {place: row for place, row in seen.items() if place in now and now[place] == row}
            return seen

        if seen:
            wait_for(again, lambda rows: not rows, timeout=min(PATIENCE, patience), interval=1.0, clock=self._clock)
        if not seen:
            return {}, ""
        hint = self._pipeline.caught_up(patience)
        return again(), hint

    def _write(self, keys: dict[str, set[str]], outcome: Outcome) -> dict[tuple[str, str], str]:
        """Write rows of the sources again, unchanged; return those whose database refused that, and why."""
        refused: dict[tuple[str, str], str] = {}
        for name, wanted in keys.items():
            ordered = sorted(wanted)
            for start in range(0, len(ordered), BATCH):
                batch = ordered[start : start + BATCH]
                try:
                    self._update(name, batch)
                except ClusterError:
                    # One row that its table would not accept today holds up no other.
                    for key in batch:
                        try:
                            self._update(name, [key])
                        except ClusterError as error:
                            refused[name, key] = f"the source refuses to write it again: {' '.join(str(error).split())[-300:]}"
            outcome.reread[name] = len(wanted) - sum(1 for table, _ in refused if table == name)
        return refused

    def _update(self, name: str, keys: list[str]) -> None:
        table = self._tables[name]
        listed = ", ".join(map(literal, keys))
        # Who holds a row's lock for long writes it, too.
        statement = f"UPDATE public.{table.name} SET {table.key} = {table.key} WHERE {table.key} IN ({listed})"
        self._sql(table.place, f"SET lock_timeout = '5s'; {statement}")

    def _wait(self, differing: Differing, before: list[Entry], timeout: float) -> Differing:
        """Wait until rows are equal, or are known not to become so: their record was quarantined again."""
        known = {(entry.table, entry.partition, entry.offset) for entry in before}

        def look() -> tuple[Differing, set[tuple[str, str | None]]]:
            now = self.look()
            again = {(entry.table, entry.key) for entry in self.entries() if (entry.table, entry.partition, entry.offset) not in known}
            return {place: row for place, row in now.items() if place in differing}, again

        end = wait_for(look, lambda seen: not set(seen[0]) - seen[1], timeout=timeout, interval=1.0, clock=self._clock)
        return end.value[0]

    def _told(self, differing: Differing, refused: dict[tuple[str, str], str]) -> list[str]:
        """Return a line for each row that still differs."""
        if not differing:
            return []
        reasons = {(entry.table, entry.key): str(entry) for entry in self.entries()}
        lines = [
            f"{place[0]} {place[1]}: {refused[place]}" if place in refused
            else reasons.get(place) or f"{place[0]} {place[1]}: did not arrive in time"
            for place in sorted(differing)
        ]  # fmt: skip
        return [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else lines

    def _resolve(self, entries: list[Entry], differing: Differing, *, known: bool) -> dict[str, int]:
        """Mark the entries whose rows were seen equal after they were listed; those about no row when their whole table was."""
        unequal = {name for name, _ in differing}
        found: dict[str, int] = {}
        for name, table in self._tables.items():
            equal = [
                entry for entry in entries
                if entry.table == name and (name, entry.key or "") not in differing
                and (entry.key is not None or (known and name not in unequal and self._key is None))
            ]  # fmt: skip
            for start in range(0, len(equal), BATCH):
                listed = ", ".join(f"({entry.partition}, {entry.offset})" for entry in equal[start : start + BATCH])
                count = self._sql(
                    "analytics",
                    "WITH done AS (UPDATE quarantined_records SET resolved_at = clock_timestamp(), resolution = 'compared'"
                    f" WHERE topic = '{table.topic}' AND (kafka_partition, kafka_offset) IN ({listed}) AND resolved_at IS NULL"
                    " RETURNING 1) SELECT count(*) FROM done",
                )
                found[name] = found.get(name, 0) + int(count)
        return found


def _sides(place: str, table: Table) -> tuple[str, str, str]:
    """Return a table's name at a place, its key, and SQL of a row's digest."""
    if place == "analytics":
        return table.sink, table.sink_key, f"md5(ROW({table.sink_record})::text)"
    return f"public.{table.name}", table.key, f"md5(ROW({table.record})::text)"


def report(outcome: Outcome) -> dict[str, Any]:
    """Return what the module returns."""
    return {
        "changed": outcome.changed, "reread": outcome.reread, "removed": outcome.removed, "resolved": outcome.resolved,
        "remaining": outcome.remaining,
    }  # fmt: skip
