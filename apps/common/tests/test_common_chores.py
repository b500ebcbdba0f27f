"""Chores over a real PostgreSQL."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from bookstore_common.chores import Chore, Housekeeping
from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from bookstore_common.settings import DatabaseSettings, load_settings

pytestmark = pytest.mark.anyio
OLD = Chore("old", "old_rows", "made_at < now() - interval '1 day'")


@pytest.fixture
def rows(database_environment: dict[str, str]) -> Iterator[sa.Connection]:
    engine = sa.create_engine(load_settings(DatabaseSettings).database_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE TABLE old_rows (id int PRIMARY KEY, made_at timestamptz, fill text)"))
        yield connection
    engine.dispose()


def fill(rows: sa.Connection, old: int, new: int = 3) -> None:
    rows.execute(
        sa.text(
            "INSERT INTO old_rows SELECT n, now() - CASE WHEN n <= :old THEN interval '2 days' ELSE interval '0' END,"
            " repeat('x', 100) FROM generate_series(1, :all) n"
        ),
        {"old": old, "all": old + new},
    )


def left(rows: sa.Connection) -> int:
    return int(rows.execute(sa.text("SELECT count(*) FROM old_rows")).scalar_one())


def value(metrics: Metrics, name: str, chore: str) -> float:
    return metrics.registry.get_sample_value(name, {"chore": chore}) or 0.0


async def test_however_many_rows_there_are_a_tiny_timeout_is_enough(rows: sa.Connection, database: Database) -> None:
    """300,000 in one statement take longer than it allows, and a batch may, too: then batches become smaller."""
    fill(rows, 300_000)
    metrics = Metrics()
    async with asyncio.timeout(300):
        assert await Housekeeping(database, metrics, [OLD], statement_seconds=0.25).round()
    assert left(rows) == 3
    assert value(metrics, "chore_rows_deleted_total", "old") == 300_000
    assert value(metrics, "chore_failures_total", "old") == 0
    assert value(metrics, "chore_last_success_timestamp_seconds", "old") > 0


async def test_a_cancelled_batch_becomes_smaller(rows: sa.Connection, database: Database) -> None:
    fill(rows, 400)
    # 10 ms for each row: a batch of all takes 4 s.
    rows.execute(
        sa.text(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(0.01); RETURN OLD; END $$"
        )
    )
    rows.execute(sa.text("CREATE TRIGGER slow BEFORE DELETE ON old_rows FOR EACH ROW EXECUTE FUNCTION slow()"))
    assert await Housekeeping(database, Metrics(), [OLD], statement_seconds=2.0).round()
    assert left(rows) == 3


async def test_a_chore_that_fails_stops_no_other_and_is_told(
    rows: sa.Connection, database: Database, log_stream: Any
) -> None:
    fill(rows, 10)
    metrics = Metrics()
    broken = [
        Chore("no_column", "old_rows", "1 / (id - id) = 1"),
        # Cancelled for its time, however few rows: a failure, not a database that is away.
        Chore("too_slow", "old_rows", "pg_sleep(5) IS NULL"),
    ]
    housekeeping = Housekeeping(database, metrics, [*broken, OLD], statement_seconds=0.2)
    assert not await housekeeping.round()
    assert left(rows) == 3
    for chore in broken:
        assert value(metrics, "chore_failures_total", chore.name) == 1, chore
        assert value(metrics, "chore_last_success_timestamp_seconds", chore.name) == 0
    assert value(metrics, "chore_rows_deleted_total", "old") == 10
    assert [line["chore"] for line in log_stream.events() if line["event"] == "chore_failed"] == [
        "no_column", "too_slow",
    ]  # fmt: skip


async def test_a_failed_round_comes_again_soon_and_ever_later(
    rows: sa.Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    faults = ["1 / (id - id) = 1"] * 3 + ["false"]

    class EndError(Exception):
        pass

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if not faults:
            raise EndError

    fill(rows, 1)

    class Mended(Chore):
        def statement(self) -> str:
            return Chore(self.name, self.table, faults.pop(0)).statement()

    housekeeping = Housekeeping(database, Metrics(), [Mended("mended", "old_rows", "")])
    monkeypatch.setattr("bookstore_common.chores.asyncio.sleep", sleep)
    with pytest.raises(EndError):
        await housekeeping.run()
    assert pauses == [60, 120, 240, 3600]


async def test_a_database_that_is_away_is_no_failure(rows: sa.Connection, database: Database, log_stream: Any) -> None:
    metrics = Metrics()
    away = Chore("gone", "old_rows", "pg_terminate_backend(pg_backend_pid())")
    fill(rows, 1)
    assert not await Housekeeping(database, metrics, [away, OLD]).round()
    assert value(metrics, "chore_failures_total", "gone") == 0
    assert value(metrics, "chore_put_off_total", "gone") == 1
    assert metrics.registry.get_sample_value("chore_put_off_total", {"chore": "old"}) == 0
    assert "chores_put_off" in {line["event"] for line in log_stream.events()}
