"""Events: what the builders make satisfies the schemas; the outbox keeps them with the business transaction."""

import math
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bookstore_common import events
from bookstore_common.audit import Audited, Bucket, as_event, from_event
from bookstore_common.context import request_context
from bookstore_common.db import Database
from bookstore_common.events import Event, EventError, EventLine
from bookstore_common.metrics import Metrics
from bookstore_common.outbox import (
    OutboxAge,
    OutboxRepository,
    add_request_id,
    create_outbox_table,
    drop_request_id,
    outbox_chore,
)
from bookstore_common.settings import DatabaseSettings, load_settings
from bookstore_common.testing.postgres import Postgres

ORDER, BOOK = uuid.UUID(int=1), uuid.UUID(int=29)
LINE = EventLine(BOOK, 2, Decimal("9.9"))
AUDITED = Audited("books", "SELECT", ("price",))
FULL = Bucket(1, 2**63 - 1, ("0",))
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
ALL: dict[str, Callable[[], Event]] = {
    "order.created": lambda: events.order_created(order_id=ORDER, user_id="u-1", items=[LINE], total=Decimal("19.80")),
    "order.cancelled": lambda: events.order_cancelled(order_id=ORDER, reason="customer", items=[EventLine(BOOK, 2)]),
    "book.created": lambda: events.book_created(book_id=BOOK, title="Emma"),
    "inventory.updated": lambda: events.inventory_updated(
        book_id=BOOK, previous_quantity=3, new_quantity=1, reserved=0, reason="sold", order_id=ORDER
    ),
    "inventory.rejected": lambda: events.inventory_rejected(order_id=ORDER, book_ids=[BOOK]),
    "cdc.audit": lambda: as_event(AUDITED, MOMENT, MOMENT, {5: Bucket(2, -(2**63), ("19.80",)), 63: FULL}),
}
KEYS: dict[str, object] = {
    "order.created": ORDER, "order.cancelled": ORDER, "inventory.rejected": ORDER, "cdc.audit": "books",
}  # fmt: skip


@pytest.mark.parametrize("event_type", events.EVENT_TYPES)
def test_builders_satisfy_the_schemas(event_type: str) -> None:
    event = ALL[event_type]()
    events.validate(event)
    events.validate(event.payload)
    assert event.event_type == event.payload["event_type"] == event_type
    assert str(event.event_id) == event.payload["event_id"]
    assert event.aggregate_id == str(KEYS.get(event_type, BOOK))
    assert event.event_id != ALL[event_type]().event_id


def test_contents() -> None:
    created = ALL["order.created"]().payload
    assert created["items"] == [{"book_id": str(BOOK), "quantity": 2, "price": "9.90"}]
    assert (created["total"], created["currency"], created["schema_version"]) == ("19.80", "USD", 1)
    assert created["occurred_at"].endswith("Z")
    assert ALL["order.cancelled"]().payload["items"] == [{"book_id": str(BOOK), "quantity": 2}]
    moved = events.inventory_updated(book_id=BOOK, previous_quantity=1, new_quantity=2, reserved=0, reason="delivery")
    assert "order_id" not in moved.payload
    events.validate(moved)


@given(
    prices=st.lists(st.decimals("0.01", "99999999.99", places=2), min_size=1, max_size=50),
    quantity=st.integers(1, 99),
)
def test_every_order_has_an_event(prices: list[Decimal], quantity: int) -> None:
    items = [EventLine(uuid.uuid4(), quantity, price) for price in prices]
    total = min(sum(price * quantity for price in prices), Decimal("9999999999.99"))
    events.validate(events.order_created(order_id=ORDER, user_id="u", items=items, total=Decimal(total)))


def test_a_digest_survives_its_event() -> None:
    buckets = {5: Bucket(2, -(2**63), ("19.80",)), 63: FULL}
    assert from_event(as_event(AUDITED, MOMENT, MOMENT, buckets).payload) == (MOMENT, MOMENT, buckets)
    nothing = as_event(AUDITED, MOMENT, MOMENT, {})
    events.validate(nothing)
    assert from_event(nothing.payload) == (MOMENT, MOMENT, {})


def changed(event: str, /, **changes: Any) -> dict[str, Any]:
    payload = {**ALL[event]().payload, **changes}
    return {name: value for name, value in payload.items() if value is not ...}


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        (changed("order.created", event_id="1"), "event_id"),
        (changed("order.created", event_id=...), "required"),
        (changed("order.created", items=[]), "items"),
        (changed("order.created", items=[{"book_id": str(BOOK), "quantity": 0, "price": "1.00"}]), "quantity"),
        (changed("order.created", items=[{"book_id": str(BOOK), "quantity": 1}]), "items"),
        (changed("order.created", total=19.8), "total"),
        (changed("order.created", total="19.8"), "total"),
        (changed("order.created", currency="EUR"), "currency"),
        (changed("order.created", shipping={}), "additionalProperties"),
        (changed("order.created", schema_version=2), "schema_version"),
        (changed("order.created", occurred_at="2026-01-02 03:04:05"), "occurred_at"),
        (changed("inventory.updated", reserved=-1), "reserved"),
        (changed("inventory.rejected", book_ids=[str(BOOK), str(BOOK)]), "book_ids"),
        (changed("cdc.audit", buckets="64 1 1 1"), "buckets"),
        (changed("cdc.audit", buckets="1 1 1"), "buckets"),
        (changed("cdc.audit", buckets="1 1 1 1;"), "buckets"),
        (changed("cdc.audit", seen_at="yesterday"), "seen_at"),
        (changed("order.created", event_type="order.paid"), "event_type"),
        (changed("order.created", event_type=...), "event_type"),
        (changed("order.created", event_type=5), "event_type"),
    ],
)
def test_schemas_refuse(payload: dict[str, Any], place: str) -> None:
    with pytest.raises(EventError, match=place):
        events.validate(payload)


def test_an_order_needs_prices() -> None:
    with pytest.raises(EventError, match="price"):
        events.order_created(order_id=ORDER, user_id="u", items=[EventLine(BOOK, 1)], total=Decimal(1))


@pytest.mark.parametrize("event_type", events.EVENT_TYPES)
def test_schemas_are_schemas(event_type: str) -> None:
    schema = events.schema(event_type)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == event_type


# The outbox -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def outbox(database_environment: dict[str, str], database: Database) -> Iterator[sa.Connection]:
    engine = sa.create_engine(load_settings(DatabaseSettings).database_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            create_outbox_table()
            add_request_id()
        yield connection
    engine.dispose()


def rows(outbox: sa.Connection) -> list[Any]:
    return list(outbox.execute(sa.text("SELECT * FROM outbox_events ORDER BY created_at")).mappings())


@pytest.mark.anyio
async def test_with_the_transaction_or_not_at_all(outbox: sa.Connection, database: Database) -> None:
    event = ALL["order.created"]()

    async def place(*, fail: bool) -> None:
        async with database.transaction() as session:
            await OutboxRepository(session).add(event)
            if fail:
                raise RuntimeError("the business failed")

    with pytest.raises(RuntimeError):
        await place(fail=True)
    assert rows(outbox) == []
    await place(fail=False)
    (row,) = rows(outbox)
    assert (row["id"], row["event_type"], row["aggregate_type"]) == (event.event_id, "order.created", "order")
    assert (row["aggregate_id"], row["payload"]) == (str(ORDER), event.payload)
    identity = outbox.scalar(sa.text("SELECT relreplident FROM pg_class WHERE relname = 'outbox_events'"))
    assert identity in {"f", b"f"}  # updates and deletes carry the old row


@pytest.mark.anyio
async def test_the_row_keeps_the_id_of_the_request(outbox: sa.Connection, database: Database) -> None:
    async def write(event_type: str) -> None:
        async with database.transaction() as session:
            await OutboxRepository(session).add(ALL[event_type]())

    with request_context("of-this-request"):
        await write("order.created")
    # Nobody asked for it: a standing audit, an expired hold.
    await write("cdc.audit")
    found = {row["event_type"]: row["request_id"] for row in rows(outbox)}
    assert found == {"order.created": "of-this-request", "cdc.audit": None}


@pytest.mark.anyio
async def test_a_row_of_before_the_column_stays_without_an_id(outbox: sa.Connection, database: Database) -> None:
    with Operations.context(MigrationContext.configure(outbox)):
        drop_request_id()
        event = ALL["book.created"]()
        outbox.execute(
            sa.text(
                "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)"
                " VALUES (:id, 'book', 'x', 'book.created', '{}')"
            ),
            {"id": event.event_id},
        )
        place = sa.text("SELECT pg_relation_filenode('outbox_events')")
        before = outbox.scalar(place)
        add_request_id()
    (row,) = rows(outbox)
    assert (row["id"], row["request_id"]) == (event.event_id, None)
    assert outbox.scalar(place) == before  # no row was rewritten


@pytest.mark.anyio
async def test_an_event_is_written_once(outbox: sa.Connection, database: Database) -> None:
    event = ALL["book.created"]()
    async with database.transaction() as session:
        await OutboxRepository(session).add(event)

    async def again() -> None:
        async with database.transaction() as session:
            await OutboxRepository(session).add(event)

    with pytest.raises(sa.exc.IntegrityError):
        await again()


@pytest.mark.anyio
async def test_age_of_what_waits(
    outbox: sa.Connection, database: Database, metrics: Metrics, postgres: Postgres, database_name: str
) -> None:
    OutboxAge(metrics, database, "debezium_test_slot")

    async def age() -> float:
        text = (await metrics.expose()).decode()
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith("outbox_oldest_age_sec")))

    async def add(seconds_ago: int) -> None:
        async with database.transaction() as session:
            await OutboxRepository(session).add(ALL["book.created"]())
        outbox.execute(
            sa.text(
                "UPDATE outbox_events SET created_at = created_at - make_interval(secs => :seconds)"
                " WHERE created_at = (SELECT max(created_at) FROM outbox_events)"
            ),
            {"seconds": seconds_ago},
        )

    assert await age() == 0
    await add(1000)
    assert 999 < await age() < 1100  # nobody publishes
    with postgres.connect(database_name) as superuser:
        superuser.execute("SELECT pg_create_logical_replication_slot('debezium_test_slot', 'pgoutput')")
        try:
            superuser.execute("SELECT pg_replication_slot_advance('debezium_test_slot', pg_current_wal_lsn())")
            assert await age() == 0
            await add(100)
            assert 99 < await age() < 200
        finally:
            superuser.execute("SELECT pg_drop_replication_slot('debezium_test_slot')")
    postgres.stop()
    try:
        assert math.isnan(await age())
    finally:
        postgres.start()


@pytest.mark.anyio
async def test_only_events_that_were_published_are_pruned(
    outbox: sa.Connection, database: Database, postgres: Postgres, database_name: str
) -> None:
    """Old ones that nobody has read are the ones that must not be lost."""

    async def add() -> None:
        async with database.transaction() as session:
            await OutboxRepository(session).add(ALL["book.created"]())
        outbox.execute(sa.text("UPDATE outbox_events SET created_at = now() - interval '8 days'"))

    def pruned(event_type: str = "") -> int:
        statement = sa.text(outbox_chore("debezium_test_slot", "7 days", event_type).statement())
        done = outbox.execute(statement, {"rows": 100})
        return int(done.rowcount)

    await add()
    assert pruned() == 0  # no slot
    with postgres.connect(database_name) as superuser:
        superuser.execute("SELECT pg_create_logical_replication_slot('debezium_test_slot', 'pgoutput')")
        try:
            await add()
            for _ in range(3):  # the position of what is kept follows that of what was confirmed
                superuser.execute("CHECKPOINT")
                superuser.execute("SELECT pg_replication_slot_advance('debezium_test_slot', pg_current_wal_lsn())")
            await add()
            assert pruned("cdc.audit") == 0
            assert pruned() == 2
            assert pruned() == 0
            assert outbox.execute(sa.text("SELECT count(*) FROM outbox_events")).scalar_one() == 1
        finally:
            superuser.execute("SELECT pg_drop_replication_slot('debezium_test_slot')")
