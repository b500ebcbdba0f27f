"""Bringing rows back, in the real schemas. Debezium, Kafka and Flink are a copy that is made when a source row was written."""

from __future__ import annotations

import json
import uuid

import pytest
import refresher_testing

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_reread import Outcome, Reread
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES, reconcile

from .conftest import Databases

STRANGE = "a'|\"\n b"


class Clock:
    """Time that passes only by sleeping."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Platform:
    """Sources, analytics, and what is between them: ``behind`` tells why it does not arrive; ``wrong`` keys are quarantined again."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        at = databases.connections
        self.sources = refresher_testing.Sources(at["ecom"], at["inventory"], at["analytics"])
        self.sources.fill(orders=20)
        self.sources.copy()
        self.behind = ""
        self.wrong: set[str] = set()
        self.offset = 100
        self.written: list[str] = []
        self.clock = Clock()
        databases.after = self.publish

    def publish(self, place: str, statement: str) -> None:
        if place == "analytics" or "UPDATE public." not in statement:
            return
        self.written.append(statement)
        wrong = {key for key in self.wrong if key in statement}
        for key in wrong:
            self.quarantine("books", key)
        if not wrong:
            sink = next(table.sink for table in TABLES.values() if f"UPDATE public.{table.name} " in statement)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(refresher_testing, "_FLINK", {sink: refresher_testing._FLINK[sink]})
                self.sources.copy()

    def caught_up(self, _timeout: float) -> str:
        return self.behind

    def quarantine(self, table: str, key: str | None) -> int:
        self.offset += 1
        name = json.dumps({TABLES[table].key: key}, separators=(",", ":")).encode() if key else None
        self.sources.analytics.execute(
            "INSERT INTO quarantined_records (topic, kafka_partition, kafka_offset, record_key, reason) VALUES (%s, 0, %s, %s, 'wrong')",
            (TABLES[table].topic, self.offset, name),
        )
        return self.offset

    def reread(self, source: str | None = None, key: str | None = None, *, apply: bool = True) -> Outcome:
        tables = [TABLES[source]] if source else list(TABLES.values())
        return Reread(self.databases.sql, self, tables, key, self.clock).run(60, apply=apply)  # type: ignore[arg-type]

    def book(self) -> str:
        return str(self.sources.ecom.execute("SELECT id FROM books WHERE title = 'NULL'").fetchone()[0])

    def open(self) -> list[int]:
        found = self.sources.analytics.execute("SELECT kafka_offset FROM quarantined_records WHERE resolved_at IS NULL ORDER BY 1")
        return [offset for (offset,) in found.fetchall()]


@pytest.fixture
def platform(databases: Databases) -> Platform:
    return Platform(databases)


def test_equal_tables_are_left_alone(platform: Platform) -> None:
    outcome = platform.reread()
    assert (outcome.changed, outcome.remaining, platform.written, platform.clock.now) == (False, [], [], 0)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("dim_books", "genre = 'Other'"), ("dim_books", "isbn = NULL"), ("dim_books", "updated_at = updated_at - interval '1 us'"),
        ("dim_books", "published_year = 1"), ("fact_orders", "currency = 'EUR'"), ("fact_orders", "order_date_key = 1"),
        ("fact_order_items", "line_total = 0"), ("fact_inventory", "available = 0"),
    ],
)  # fmt: skip
def test_a_row_that_differs_in_any_column_is_written_again_and_arrives(platform: Platform, table: str, change: str) -> None:
    column = {"dim_books": "isbn"}.get(table)
    where = f"{column} IS NOT NULL" if column else "true"
    key = next(one.sink_key for one in TABLES.values() if one.sink == table)
    platform.sources.analytics.execute(f"UPDATE {table} SET {change} WHERE {key} = (SELECT min({key}) FROM {table} WHERE {where})".encode())
    name = next(one.name for one in TABLES.values() if one.sink == table)
    versions = "SELECT md5(string_agg(b::text, ',' ORDER BY id)) FROM books b"
    before = platform.sources.ecom.execute(versions).fetchone()
    assert platform.reread(apply=False).reread[name] == 1
    assert platform.written == []
    outcome = platform.reread()
    assert (outcome.reread[name], sum(outcome.reread.values()), outcome.remaining, outcome.changed) == (1, 1, [], True)
    # Written again, and no different: neither version nor time moves.
    assert platform.sources.ecom.execute(versions).fetchone() == before
    assert not platform.reread().changed


def test_missing_rows_come_and_surplus_ones_go_whatever_their_key_is(platform: Platform) -> None:
    analytics = platform.sources.analytics
    analytics.execute("DELETE FROM fact_orders WHERE order_id = (SELECT min(order_id) FROM fact_orders)")
    analytics.execute("INSERT INTO fact_inventory SELECT %s, 1, 0, 1, 5, now(), now()", (STRANGE,))
    outcome = platform.reread()
    assert (outcome.reread["orders"], outcome.removed["inventory"], outcome.remaining) == (1, 1, [])
    assert not platform.reread().changed


def test_reconcile_bears_any_key_too(platform: Platform) -> None:
    platform.sources.analytics.execute("INSERT INTO fact_inventory SELECT %s, 1, 0, 1, 5, now(), now()", (STRANGE,))
    removed, left, _ = reconcile(platform.databases.sql, [TABLES["inventory"]], 30, apply=True, clock=platform.clock)
    assert (removed, left) == ({"inventory": 1}, {})


def test_entries_are_resolved_when_their_rows_are_equal(platform: Platform) -> None:
    book = platform.book()
    platform.sources.analytics.execute("UPDATE dim_books SET price = 1 WHERE book_id = %s", (book,))
    platform.quarantine("books", book)
    platform.quarantine("books", None)
    gone = str(uuid.uuid4())
    platform.quarantine("inventory", gone)
    outcome = platform.reread()
    assert (outcome.resolved["books"], outcome.resolved["inventory"], outcome.remaining) == (2, 1, [])
    assert platform.open() == []
    assert not platform.reread().changed


def test_a_row_whose_source_is_still_wrong_remains_with_its_reason_and_no_other(platform: Platform) -> None:
    book = platform.book()
    platform.sources.analytics.execute("UPDATE dim_books SET price = 1 WHERE book_id = %s", (book,))
    platform.sources.analytics.execute("DELETE FROM fact_inventory")
    platform.quarantine("books", book)
    nowhere = platform.quarantine("books", None)
    platform.wrong = {book}
    outcome = platform.reread()
    assert outcome.remaining == [f"books {book}, offset {platform.offset}: wrong"]
    assert outcome.reread["inventory"] > 0
    # The old entry, and the new one; and who is about no row waits for the whole table.
    assert platform.open() == [platform.offset - 2, nowhere, platform.offset]
    assert platform.clock.now < 30
    platform.wrong = set()
    assert platform.reread().remaining == []
    assert platform.open() == []


def test_nothing_is_written_while_changes_are_still_on_their_way(platform: Platform) -> None:
    platform.sources.analytics.execute("DELETE FROM fact_inventory")
    platform.behind = "records that are not read: {'cdc-fact-inventory': 7}"
    outcome = platform.reread()
    assert (platform.written, outcome.changed) == ([], False)
    assert outcome.remaining[0].startswith(platform.behind)


def test_one_row_alone(platform: Platform) -> None:
    book = platform.book()
    analytics = platform.sources.analytics
    analytics.execute("UPDATE dim_books SET price = 1")
    entries = [platform.quarantine("books", key) for key in (book, None)]
    platform.databases.after = lambda place, statement: (
        analytics.execute("UPDATE dim_books SET price = 10 WHERE book_id = %s", (book,)) if "UPDATE public." in statement else None
    )
    outcome = platform.reread("books", book)
    assert (outcome.reread, outcome.remaining, platform.open()) == ({"books": 1}, [], entries[1:])


def test_a_row_that_its_source_would_not_accept_today_holds_up_no_other(platform: Platform) -> None:
    ecom, book = platform.sources.ecom, platform.book()
    ecom.execute("ALTER TABLE books ADD CONSTRAINT later CHECK (title <> 'NULL') NOT VALID")
    platform.sources.analytics.execute("UPDATE dim_books SET author = 'x'")
    outcome = platform.reread()
    assert outcome.reread["books"] >= 2
    assert outcome.remaining == []
    platform.databases.after = lambda _place, _statement: None
    platform.sources.analytics.execute("UPDATE dim_books SET author = 'x' WHERE book_id = %s", (book,))
    (line,) = platform.reread().remaining
    assert line.startswith(f"books {book}: the source refuses to write it again")
    assert "later" in line


def test_a_wrong_source_row_breaks_no_comparison(platform: Platform) -> None:
    """NaN, infinite times and absurd products are rows like others."""
    ecom = platform.sources.ecom
    for table, constraint in ecom.execute(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    ).fetchall():
        ecom.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}".encode())
    ecom.execute("UPDATE books SET price = 'NaN', created_at = '-infinity'")
    ecom.execute("UPDATE orders SET total = 'NaN', created_at = 'infinity', updated_at = '290000-01-01'")
    ecom.execute("UPDATE order_items SET quantity = 2147483647, price_at_purchase = 99999999.99")
    platform.databases.after = lambda _place, _statement: None
    outcome = platform.reread()
    assert len(outcome.remaining) == 11
    assert outcome.remaining[-1].startswith("and ")


def test_a_backlog_is_waited_for_before_rows_are_compared(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what is on its way is written again, however many rows it is."""
    monkeypatch.setattr("ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_reread.MANY_SHARES", 3)
    platform.sources.analytics.execute("DELETE FROM fact_orders")
    platform.behind = "records that are not read: 20"
    stuck = platform.reread()
    assert (stuck.changed, stuck.remaining) == (False, ["records that are not read: 20; 0 rows differ meanwhile"])
    platform.behind = ""
    monkeypatch.setattr(platform, "caught_up", lambda _timeout: platform.sources.copy() or "")
    assert (platform.reread().changed, platform.written) == (False, [])
