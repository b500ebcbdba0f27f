"""A worker over a real PostgreSQL and a broker in memory, and what it did."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from kafka import TopicPartition

from bookstore_common import consumer
from bookstore_common.consumer import Worker
from bookstore_common.db import Base, Database, Session
from bookstore_common.health import CheckFailedError
from bookstore_common.metrics import Metrics
from bookstore_common.settings import DatabaseSettings, load_settings
from bookstore_common.testing.kafka import Broker, worker_settings

TOPIC, HEARTBEATS = "book.created", "cdc.test.public.cdc_heartbeat"
PARTS = [TopicPartition(TOPIC, number) for number in range(2)]
GAP_TABLES = ("consumer_gaps", "dead_letters")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def rows(database_environment: dict[str, str]) -> Iterator[sa.Connection]:
    """The owner's connection to a database with the worker's table and that of its effects."""
    engine = sa.create_engine(load_settings(DatabaseSettings).database_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE processed_events (event_id uuid PRIMARY KEY, topic text NOT NULL,"
                " processed_at timestamptz NOT NULL DEFAULT clock_timestamp())"
            )
        )
        Base.metadata.create_all(connection, tables=[Base.metadata.tables[name] for name in GAP_TABLES])
        connection.execute(sa.text("CREATE TABLE effects (number serial, title text)"))
        yield connection
    engine.dispose()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker({TOPIC: 2, HEARTBEATS: 1}).behind(consumer) as made:
        yield made


class Desk:
    """A worker over ``broker`` and ``database``, what it does, and what it did."""

    def __init__(self, broker: Broker, database: Database, rows: sa.Connection, environment: dict[str, str]) -> None:
        self.broker, self.rows = broker, rows
        self._database, self._environment = database, environment
        self.metrics = Metrics()
        self.attempts: list[str] = []
        self.moments: list[datetime] = []
        # Raised by the effect of this title, so many times.
        self.faults: dict[str, list[Exception]] = {}
        self.schema_is_old = False

    async def effect(self, session: Session, event: Mapping[str, Any]) -> None:
        title = event["title"]
        self.attempts.append(title)
        await session.execute(sa.text("INSERT INTO effects (title) VALUES (:title)"), {"title": title})
        if self.faults.get(title):
            raise self.faults[title].pop()

    async def _schema(self) -> None:
        if self.schema_is_old:
            raise CheckFailedError("run the migrations")

    async def _told(self, moment: datetime) -> None:
        self.moments.append(moment)

    def worker(self) -> Worker:
        self.metrics = Metrics()
        return Worker(
            worker_settings(self._environment), "test-group", {TOPIC: self.effect}, self._database, self.metrics,
            self._schema, heartbeat=(HEARTBEATS, self._told),
        )  # fmt: skip

    @asynccontextmanager
    async def working(self) -> Any:
        async with self.worker().running() as task:
            yield task
        assert task.exception() is None

    def publish(
        self,
        title: str,
        *,
        partition: int = 0,
        event_id: uuid.UUID | None = None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
    ) -> str:
        body = {"book_id": str(uuid.uuid4()), "title": title}
        return self.broker.event(TOPIC, body, partition=partition, event_id=event_id, headers=headers)

    def titles(self) -> list[str]:
        return list(self.rows.execute(sa.text("SELECT title FROM effects ORDER BY number")).scalars())

    def letters(self) -> list[tuple[int, uuid.UUID | None, str]]:
        """Offset, event and reason of the dead letters, as the database has them."""
        rows = self.rows.execute(
            sa.text("SELECT record_offset, event_id, reason FROM dead_letters ORDER BY partition, record_offset")
        )
        return [tuple(row) for row in rows]

    def committed(self, partition: int = 0) -> int:
        return self.broker.committed.get(PARTS[partition], 0)


@pytest.fixture
def desk(broker: Broker, database: Database, rows: sa.Connection, database_environment: dict[str, str]) -> Desk:
    return Desk(broker, database, rows, database_environment)


def counted(desk: Desk, topic: str, result: str) -> float:
    """Of consumer_events_total, of the last worker."""
    labels = {"topic": topic, "result": result}
    return desk.metrics.registry.get_sample_value("consumer_events_total", labels) or 0.0


def open_gaps(desk: Desk) -> list[tuple[Any, ...]]:
    """Partition, offsets and reason of gaps that are not repaired."""
    rows = desk.rows.execute(
        sa.text(
            "SELECT partition, from_offset, to_offset, reason FROM consumer_gaps WHERE repaired_at IS NULL"
            " ORDER BY partition, from_offset"
        )
    )
    return [tuple(row) for row in rows]
