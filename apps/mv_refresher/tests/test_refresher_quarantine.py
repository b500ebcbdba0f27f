"""Quarantined records: what resolves an entry, what does not, what is counted and what is forgotten."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from refresher_testing import book

from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres
from mv_refresher.audit.repository import TARGETS
from mv_refresher.quarantine.repository import TABLES
from mv_refresher.quarantine.service import Quarantine
from mv_refresher.settings import Settings

pytestmark = pytest.mark.anyio
BOOK = "ffffffff-0000-4000-8000-0000000000b1"
OTHER = "ffffffff-0000-4000-8000-0000000000b2"
BOOKS = TABLES["books"].topic
KEY = json.dumps({"id": BOOK}, separators=(",", ":")).encode()


class Watch:
    """The quarantine over the test's database."""

    def __init__(self, settings: Settings, database: Database, rows: Any) -> None:
        self.metrics = Metrics()
        self.quarantine = Quarantine(settings, database, self.metrics)
        self.rows = rows

    def enter(self, offset: int, key: bytes | None = KEY, topic: str = BOOKS, reason: str = "no JSON") -> None:
        """What Flink's sink does, each time it reads the record."""
        self.rows.execute(
            "INSERT INTO quarantined_records (topic, kafka_partition, kafka_offset, record_key, reason, raw_value,"
            " recorded_at) VALUES (%s, 0, %s, %s, %s, 'x', now()) ON CONFLICT (topic, kafka_partition, kafka_offset)"
            " DO UPDATE SET record_key = EXCLUDED.record_key, reason = EXCLUDED.reason,"
            " raw_value = EXCLUDED.raw_value, recorded_at = EXCLUDED.recorded_at",
            (topic, offset, key, reason),
        )

    def resolutions(self) -> dict[int, str | None]:
        found = self.rows.execute("SELECT kafka_offset, resolution FROM quarantined_records").fetchall()
        return dict(found)

    def waiting(self, table: str = "books") -> float | None:
        return self.metrics.registry.get_sample_value("quarantined_records", {"table": table})


@pytest.fixture
async def watch(roles: Postgres, fresh: str, rows: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    variables = {
        **roles.environment("analytics_app", fresh), "KAFKA_BOOTSTRAP_SERVERS": "nowhere:9092",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(Settings)
    database = Database(settings, "mv-refresher")
    yield Watch(settings, database, rows)
    await database.close()


async def test_an_entry_waits_until_a_later_record_of_its_row_was_applied(watch: Watch, log_stream: Any) -> None:
    book(watch.rows, BOOK)
    watch.enter(7)
    watch.enter(8, key=json.dumps({"id": OTHER}, separators=(",", ":")).encode())
    await watch.quarantine.look()
    assert (watch.resolutions(), watch.waiting(), watch.waiting("orders")) == ({7: None, 8: None}, 2, 0)
    assert [line["event"] for line in log_stream.events()] == ["records_quarantined"]
    book(watch.rows, BOOK, price="11.00")
    await watch.quarantine.look()
    assert (watch.resolutions(), watch.waiting()) == ({7: "applied", 8: None}, 1)


async def test_a_record_that_is_read_again_is_open_again(watch: Watch) -> None:
    """A job that was started again reads what is older than the record first."""
    watch.enter(7)
    book(watch.rows, BOOK)
    await watch.quarantine.look()
    watch.enter(7)
    await watch.quarantine.look()
    assert watch.resolutions() == {7: None}
    book(watch.rows, BOOK)
    await watch.quarantine.look()
    assert watch.resolutions() == {7: "applied"}


async def test_the_last_record_of_a_row_stands_for_it(watch: Watch) -> None:
    for offset in (7, 9, 12):
        watch.enter(offset)
    watch.enter(13, topic=TABLES["orders"].topic)
    await watch.quarantine.look()
    assert watch.resolutions() == {7: "superseded", 9: "superseded", 12: None, 13: None}
    assert (watch.waiting(), watch.waiting("orders")) == (1, 1)


@pytest.mark.parametrize(
    ("result", "after", "resolution"),
    [("equal", "6 minutes", "audited"), ("equal", "4 minutes", None), ("divergent", "6 minutes", None),
     ("unsettled", "6 minutes", None)],
)  # fmt: skip
async def test_an_audit_that_looked_later_and_found_all_equal_resolves(
    watch: Watch, result: str, after: str, resolution: str | None
) -> None:
    # About no row, and about one that is gone in the source: no later record will come.
    watch.enter(7, key=None)
    watch.enter(8)
    watch.rows.execute(
        "INSERT INTO cdc_audit (table_name, seen_at, audited_at, result, row_count, divergent_buckets,"
        " unsettled_buckets) VALUES ('books', now() + %s::interval, now(), %s, 0, '{}', '{}')",
        (after, result),
    )
    await watch.quarantine.look()
    assert watch.resolutions() == {7: resolution, 8: resolution}
    # Nothing in analytics depends on a record that is about no row.
    watch.enter(7, key=None)
    assert watch.resolutions()[7] == resolution


@pytest.mark.parametrize(
    ("key", "row"),
    [
        (KEY, BOOK),
        (f'{{"book_id":"{BOOK}"}}'.encode(), BOOK),
        (None, None), (b"", None), (b"\x00\xff", None), (b"x" * 100_000, None), (b'{"id":"\\u0000"}', None),
        (f'{{"id":"{BOOK.upper()}"}}'.encode(), None), (f'{{"id":"{BOOK}"}} '.encode(), None), ("ÿ☃".encode(), None),
    ],
)  # fmt: skip
async def test_keys_that_are_no_rows_are_kept_too(watch: Watch, key: bytes | None, row: str | None) -> None:
    watch.enter(7, key=key)
    assert watch.rows.execute("SELECT record_key, row_key FROM quarantined_records").fetchone() == (key, row)


async def test_resolved_entries_are_forgotten_and_others_are_not(watch: Watch) -> None:
    for offset in range(3):
        watch.enter(offset, key=None)
    watch.rows.execute(
        "UPDATE quarantined_records SET resolution = 'compared',"
        " resolved_at = now() - make_interval(days => 29 + kafka_offset::int) WHERE kafka_offset < 2"
    )
    watch.rows.execute("UPDATE quarantined_records SET seen_at = now() - interval '1 year'")
    await watch.quarantine.look()
    assert watch.resolutions() == {0: "compared", 2: None}


async def test_the_tables_are_the_audited_ones() -> None:
    topics = {table: next(iter(target.topics.values())) for table, target in TARGETS.items()}
    assert topics == {table: copy.topic for table, copy in TABLES.items()}
