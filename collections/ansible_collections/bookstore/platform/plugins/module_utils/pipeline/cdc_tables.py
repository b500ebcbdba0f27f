# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The four captured tables and their copies in analytics (SPEC 7.2), and the removal of rows that the source has no more."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import Clock, wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, whole

Object = dict[str, Any]
# Runs SQL in one of PLACES and returns its rows as text, columns apart by |.
Sql = Callable[[str, str], str]
# Namespace, instance, database.
PLACES = {
    "ecom": ("ecom", "ecom-db", "ecomdb"),
    "inventory": ("inventory", "inventory-db", "inventorydb"),
    "analytics": ("analytics", "analytics-db", "analyticsdb"),
}
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BATCH = 200
# A statement is one argument of a command, of 128 KiB at most.
REMOVED_AT_ONCE = 2000
# Of 256.
SHARES_AT_ONCE = 16
# The last line of every answer.
END = "end of the answer"
# How long a deletion may be on its way; usual ones take one.
SETTLE_SECONDS = 10.0


class ConvergenceError(Exception):
    """An input that cannot be, or rows that cannot be compared."""


@dataclass(frozen=True)
class Table:
    """A captured table. ``columns``: SQL of the source to the column in analytics that must equal it, both as text.

    ``record``: all that analytics holds of a row but its key, as SQL of the source, and ``sink_record``, as SQL of analytics.
    """

    place: str
    name: str
    key: str
    sink: str
    sink_key: str
    columns: tuple[tuple[str, str], ...]
    record: str
    sink_record: str

    @property
    def topic(self) -> str:
        """Where its changes are."""
        return f"cdc.{self.place}.public.{self.name}"

    @property
    def job(self) -> str:
        """The streaming job that reads them; its consumer group is flink-<job>."""
        return "cdc-" + self.sink.replace("_", "-")

    @property
    def slot(self) -> str:
        """The replication slot that its changes come from."""
        return f"debezium_{self.place}_slot"


# No cast may fail, whatever a row holds.
_DIGITS = {"year": 10000, "month": 100, "day": 1}
_DAY = " + ".join(f"extract({part} FROM created_at AT TIME ZONE 'UTC') * {factor}" for part, factor in _DIGITS.items())
_TIMES = "extract(epoch FROM created_at), extract(epoch FROM updated_at)"
TABLES = {
    table.name: table
    for table in (
        Table("ecom", "books", "id", "dim_books", "book_id",
              (("title", "title"), ("author", "author"), ("price::text", "price::text"), ("active::text", "active::text")),
              "title, author, isbn, coalesce(nullif(trim(genre), ''), 'Unknown'), price, published_year, active, " + _TIMES,
              "title, author, isbn, genre, price, published_year, active, " + _TIMES),
        Table("ecom", "orders", "id", "fact_orders", "order_id",
              (("user_id", "user_id"), ("status", "status"), ("total::text", "total::text")),
              f"user_id, status, total, currency, {_DAY}, {_TIMES}",
              "user_id, status, total, currency, order_date_key, " + _TIMES),
        Table("ecom", "order_items", "id", "fact_order_items", "order_item_id",
              (("order_id::text", "order_id"), ("book_id::text", "book_id"), ("quantity::text", "quantity::text"),
               ("price_at_purchase::text", "price_at_purchase::text")),
              "order_id, book_id, quantity, price_at_purchase, quantity * price_at_purchase",
              "order_id, book_id, quantity, price_at_purchase, line_total"),
        Table("inventory", "inventory", "book_id", "fact_inventory", "book_id",
              (("quantity::text", "quantity::text"), ("reserved::text", "reserved::text"),
               ("low_stock_threshold::text", "low_stock_threshold::text")),
              "quantity, reserved, quantity::bigint - reserved, low_stock_threshold, extract(epoch FROM updated_at)",
              "quantity, reserved, available, low_stock_threshold, extract(epoch FROM updated_at)"),
    )
}  # fmt: skip


def psql(cluster: Cluster, timeout: float) -> Sql:
    """Return how to run SQL in the databases' pods, as their superuser over the local socket; ClusterError when it fails."""

    def run(place: str, statement: str) -> str:
        namespace, instance, database = PLACES[place]
        command = ["psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={database}", "--no-psqlrc", "-tAq",
                   "--set=ON_ERROR_STOP=1", f"--command={statement}"]  # fmt: skip
        if statement.startswith("SELECT"):
            # No row may mean that there is none: what is not in its source is removed from analytics.
            return whole(cluster, namespace, f"{instance}-0", "postgresql", [*command, f"--command=SELECT '{END}'"], timeout, END)
        return cluster.execute(namespace, f"{instance}-0", "postgresql", command, timeout).strip()

    return run


def table_of(name: str | None) -> Table:
    """Return a captured table; ConvergenceError for another name."""
    if name not in TABLES:
        raise ConvergenceError(f"BK-251: source={name} is not captured; write one of {', '.join(TABLES)}")
    return TABLES[name]


def key_of(key: str | None) -> str:
    """Return a key that may stand in SQL; ConvergenceError for anything but a lower-case uuid."""
    if not key or not ID.fullmatch(key):
        raise ConvergenceError(f"BK-251: key={key} is no id; write a uuid in lower case")
    return key


def literal(key: str) -> str:
    """Return a key of analytics as SQL: a record that somebody put into a topic may have brought any text there."""
    return "'" + key.replace("'", "''") + "'"


def source_row(sql: Sql, table: Table, key: str) -> list[str] | None:
    """Return the compared columns of a source row, None if there is none."""
    return _row(sql, table.place, f"public.{table.name}", table.key, key, [source for source, _ in table.columns])


def sink_row(sql: Sql, table: Table, key: str) -> list[str] | None:
    """Return the compared columns of a row in analytics, None if there is none."""
    return _row(sql, "analytics", table.sink, table.sink_key, key, [sink for _, sink in table.columns])


def _row(sql: Sql, place: str, name: str, column: str, key: str, columns: list[str]) -> list[str] | None:
    text = sql(place, f"SELECT json_build_array({', '.join(columns)}) FROM {name} WHERE {column} = '{key_of(key)}'")
    row: list[str] | None = json.loads(text) if text else None
    return row


def surplus(sql: Sql, tables: list[Table]) -> dict[str, set[str]]:
    """Return, by table, the keys that analytics has and the source has not.

    Keys are compared by digests of 256 shares first, so that rows travel only of shares that differ. Analytics is read
    before the source in both steps: a row that is missing in the source then was deleted, not just inserted.
    """
    copies = _digests(sql, "analytics", {table.name: (table.sink, table.sink_key) for table in tables})
    places = sorted({table.place for table in tables})
    originals: set[str] = set()
    for place in places:
        originals |= _digests(sql, place, {table.name: (f"public.{table.name}", table.key) for table in tables if table.place == place})
    differing: dict[str, set[str]] = {}
    for name, share, _ in (line.split("|") for line in copies - originals):
        differing.setdefault(name, set()).add(share)
    found = {table.name: set[str]() for table in tables}
    for table in tables:
        for some in groups(differing.get(table.name, set())):
            there = _keys(sql, "analytics", table.sink, table.sink_key, some)
            found[table.name] |= there - _keys(sql, table.place, f"public.{table.name}", table.key, some)
    return found


def groups(shares: set[str]) -> Iterator[set[str]]:
    """Yield shares, some at a time: of a million rows that differ everywhere, those of so many travel together."""
    ordered = sorted(shares)
    for start in range(0, len(ordered), SHARES_AT_ONCE):
        yield set(ordered[start : start + SHARES_AT_ONCE])


def remove(sql: Sql, table: Table, keys: set[str], going_on: Callable[[], bool]) -> int:
    """Delete rows of analytics in batches while ``going_on`` says so; return how many there were."""
    removed, ordered = 0, sorted(keys)
    for start in range(0, len(ordered), REMOVED_AT_ONCE):
        if not going_on():
            break
        listed = ", ".join(map(literal, ordered[start : start + REMOVED_AT_ONCE]))
        removed += int(
            sql(
                "analytics",
                f"WITH gone AS (DELETE FROM {table.sink} WHERE {table.sink_key} IN ({listed}) RETURNING 1) SELECT count(*) FROM gone",
            )
        )
    return removed


def reconcile(
    sql: Sql, tables: list[Table], timeout: float, *, apply: bool, clock: Clock = time
) -> tuple[dict[str, int], dict[str, int], float]:
    """Remove the rows of analytics whose source row is gone; without ``apply`` only count them.

    A deletion that is on its way gets some seconds to arrive: it is nobody's fault, and no change of ours. Returns numbers by
    table, of rows that were removed and of rows that are left when ``timeout`` seconds are over, and the seconds that it took.
    """
    start = clock.monotonic()
    found = surplus(sql, tables)

    def look() -> dict[str, set[str]]:
        again = surplus(sql, [table for table in tables if found[table.name]])
        return {name: keys & again.get(name, set()) for name, keys in found.items()}

    if any(found.values()):
        patience = min(SETTLE_SECONDS, timeout / 2)
        found = wait_for(look, lambda seen: not any(seen.values()), timeout=patience, interval=1.0, clock=clock).value
    if not apply:
        return {name: len(keys) for name, keys in found.items()}, {}, clock.monotonic() - start
    removed = {
        table.name: remove(sql, table, found[table.name], lambda: clock.monotonic() - start < timeout) for table in tables
    }  # fmt: skip
    # What went by itself meanwhile is not left either; the next call will tell.
    over = clock.monotonic() - start >= timeout
    left = {name: len(keys) - removed[name] for name, keys in found.items() if over and len(keys) > removed[name]}
    return removed, left, clock.monotonic() - start


def share_of(column: str) -> str:
    """Return SQL of the share, 00 to ff, that a key belongs to."""
    return f"left(md5({column}::text), 2)"


def _digests(sql: Sql, place: str, columns: dict[str, tuple[str, str]]) -> set[str]:
    """Return name|share|digest of all keys; ``columns``: name to table and its column of keys."""
    parts = [
        f"SELECT '{name}', {share_of(column)}, md5(string_agg({column}::text, ',' ORDER BY {column}::text COLLATE \"C\"))"
        f" FROM {table} GROUP BY 2"
        for name, (table, column) in columns.items()
    ]
    return set(sql(place, " UNION ALL ".join(parts)).splitlines()) if parts else set()


def _keys(sql: Sql, place: str, name: str, column: str, shares: set[str]) -> set[str]:
    listed = ", ".join(f"'{share}'" for share in sorted(shares))
    # As JSON, for a key may hold anything, a line break, too.
    text = sql(place, f"SELECT to_json({column}::text) FROM {name} WHERE {share_of(column)} IN ({listed})")
    return set(map(json.loads, text.splitlines()))
