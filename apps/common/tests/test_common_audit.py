"""The source's side of the standing audit: digests of rows, and how often they are made."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import exc

from bookstore_common import audit, events
from bookstore_common.audit import Audited, SourceAudit, from_event
from bookstore_common.db import Database
from bookstore_common.outbox import add_request_id, create_outbox_table
from bookstore_common.settings import DatabaseSettings, load_settings

pytestmark = pytest.mark.anyio
ROWS = "SELECT key::text AS key, changed_at, born_at, amount, ROW(key, amount)::text AS record FROM things"
THINGS = Audited("things", ROWS, ("amount",))


@pytest.fixture
def things(database_environment: dict[str, str], database: Database) -> Iterator[sa.Connection]:
    engine = sa.create_engine(load_settings(DatabaseSettings).database_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            create_outbox_table()
            add_request_id()
        connection.execute(
            sa.text(
                "CREATE TABLE things (key uuid, amount numeric(10, 2), born_at timestamptz, changed_at timestamptz)"
            )
        )
        yield connection
    engine.dispose()


def add(things: sa.Connection, amount: str, age: timedelta, key: uuid.UUID | None = None) -> None:
    things.execute(
        sa.text("INSERT INTO things VALUES (:key, :amount, :at, :at)"),
        {"key": key or uuid.uuid4(), "amount": amount, "at": datetime.now(UTC) - age},
    )


def published(things: sa.Connection) -> dict[str, Any]:
    row = things.execute(sa.text("DELETE FROM outbox_events RETURNING payload, aggregate_id")).one()
    events.validate(row.payload)
    assert row.aggregate_id == "things"
    payload: dict[str, Any] = row.payload
    return payload


async def test_settled_rows_are_digested_into_an_event(things: sa.Connection, database: Database) -> None:
    for _ in range(200):
        add(things, "1.10", timedelta(minutes=3))
    add(things, "5.00", timedelta(minutes=1))
    assert await SourceAudit(database, [THINGS], 300).publish(THINGS) > 0
    seen_at, settled, buckets = from_event(published(things))
    assert seen_at - settled == audit.SETTLED
    assert sum(bucket.count for bucket in buckets.values()) == 200
    assert sum(float(bucket.sums[0]) for bucket in buckets.values()) == pytest.approx(220)
    assert len(buckets) > 40  # spread over 64


async def test_a_digest_depends_on_every_row_and_not_on_their_order(things: sa.Connection, database: Database) -> None:
    source = SourceAudit(database, [THINGS], 300)
    keys = [uuid.UUID(int=number) for number in range(100)]

    async def of(order: list[uuid.UUID], **amounts: str) -> object:
        things.execute(sa.text("TRUNCATE things"))
        for key in order:
            add(things, amounts.get(f"k{key.int}", "1.00"), timedelta(minutes=3), key)
        await source.publish(THINGS)
        return from_event(published(things))[2]

    first = await of(keys)
    assert await of(keys[::-1]) == first
    # The same sum, and two rows of one bucket or two: only hashes tell.
    assert await of(keys, k3="0.99", k4="1.01") != first
    assert await of(keys[1:]) != first


async def test_an_empty_table_is_told_too(things: sa.Connection, database: Database) -> None:
    await SourceAudit(database, [THINGS], 300).publish(THINGS)
    assert from_event(published(things))[2] == {}


@pytest.mark.parametrize(("took", "pause"), [([0.01], 300.0), ([2.0], 400.0), ([9.0, 0.5, 9.0, 9.0, 9.0], 1800.0)])
async def test_who_works_long_rests_long(
    monkeypatch: pytest.MonkeyPatch, database: Database, took: list[float], pause: float
) -> None:
    """The shortest of the last three rounds counts; a database that is away puts a round off."""
    pauses: list[float] = []
    durations: Iterator[float | Exception] = iter([*took, exc.OperationalError("", {}, Exception("away"))])
    source = SourceAudit(database, [THINGS], 300)

    async def publish(_audited: Audited) -> float:
        duration = next(durations)
        if isinstance(duration, Exception):
            raise duration
        return duration

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > len(took):
            raise asyncio.CancelledError

    monkeypatch.setattr(source, "publish", publish)
    monkeypatch.setattr("bookstore_common.audit.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await source.run()
    assert 0.95 * pause <= pauses[len(took) - 1] <= pause
    assert 0.95 * 300 <= pauses[-1] <= 300
