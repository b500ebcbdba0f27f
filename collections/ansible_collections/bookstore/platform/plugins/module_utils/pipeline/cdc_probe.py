# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Writes probe rows into the captured tables and follows them into analytics (SPEC 7.3, 11)."""

from __future__ import annotations

import time
import uuid

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_convergence import Change, Pipeline, Result
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES, Sql, Table, source_row

USER = "cdc-probe"
PREFIX = "ffffffff"
# Longer than any probe lives: what is older was left by one that was killed.
STALE = "interval '10 minutes'"


class Probe:
    """Rows of the probe in all four captured tables; ids start with ffffffff, the user is cdc-probe, so no view counts them.

    The book is not active: nobody is to see it in the shop, or to put it into a cart.
    """

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self.ids = {name: PREFIX + str(uuid.uuid4())[8:] for name in TABLES}
        # Stock has the book's id.
        self.ids["inventory"] = self.ids["books"]

    def sweep(self) -> None:
        """Remove what probes that were killed have left."""
        orders = f"user_id = '{USER}' AND created_at < now() - {STALE}"
        books = f"SELECT id FROM books WHERE id::text LIKE '{PREFIX}%' AND created_at < now() - {STALE}"
        self._sql("ecom", (
            f"BEGIN; DELETE FROM order_items WHERE order_id IN (SELECT id FROM orders WHERE {orders}) OR book_id IN ({books});"
            f" DELETE FROM orders WHERE {orders}; DELETE FROM cart_items WHERE book_id IN ({books});"
            f" DELETE FROM books WHERE id IN ({books}); COMMIT"
        ))  # fmt: skip
        self._sql("inventory", f"DELETE FROM inventory WHERE book_id::text LIKE '{PREFIX}%' AND updated_at < now() - {STALE}")

    def insert(self) -> None:
        """One row in each table."""
        ids = self.ids
        self._sql("ecom", (
            "BEGIN; INSERT INTO books (id, title, author, genre, price, active)"
            f" VALUES ('{ids['books']}', 'Probe', 'Probe', 'Probe', 1.00, false);"
            " INSERT INTO orders (id, user_id, status, total, shipping)"
            f" VALUES ('{ids['orders']}', '{USER}', 'CONFIRMED', 1.00, '{{}}');"
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

    ``timeout`` bounds each operation. The rows are removed in every case in which their databases answer; else the next probe
    does it.
    """
    rows = Probe(sql)
    took: dict[str, dict[str, float]] = {}
    slowest = Result(True, 0.0, "view")
    done = "sweep"
    start = time.monotonic()
    try:
        rows.sweep()
        for operation in ("insert", "update", "delete"):
            start, done = time.monotonic(), operation
            getattr(rows, operation)()
            for name in names:
                table, key = TABLES[name], rows.ids[name]
                expected = None if operation == "delete" else source_row(sql, table, key)
                left = max(timeout - (time.monotonic() - start), 0.0)
                result = pipeline.follow(Change(table, key, expected), left)
                result.elapsed = time.monotonic() - start
                took.setdefault(operation, {})[name] = round(result.elapsed, 2)
                if not result.converged:
                    result.hints = {f"{operation} of {name}, {stage}": hint for stage, hint in result.hints.items()}
                    slowest = result
                    break
                slowest = max(slowest, result, key=lambda one: one.elapsed)
            if not slowest.converged:
                break
    except (ClusterError, ValueError, LookupError) as error:
        # A source that does not answer, or what is no answer, is asked again by nobody: half of an operation may have been done.
        slowest = Result(False, time.monotonic() - start, "", {f"{done}, wal": " ".join(str(error).split())[:400]})
    if done != "delete" or not slowest.converged:
        try:
            rows.delete()
        except ClusterError as error:
            slowest.hints["left"] = f"rows of the probe stay until the next one: {' '.join(str(error).split())[:200]}"
    return slowest, took


def row(pipeline: Pipeline, sql: Sql, table: Table, key: str, timeout: float) -> Result:
    """Wait until analytics shows a row as its source has it now; gone if the source has none."""
    start = time.monotonic()
    try:
        expected = source_row(sql, table, key)
    except ClusterError as error:
        return Result(False, time.monotonic() - start, "", {"wal": " ".join(str(error).split())[:400]})
    return pipeline.follow(Change(table, key, expected), timeout)
