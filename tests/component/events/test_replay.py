"""What `event_replay` does to two real databases: the SQL that the module runs in the pods, run as it is.

Debezium and the worker are stood in for by the clock: while the module waits, what was published anew is applied.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from bookstore_common import gaps as _gaps  # noqa: F401 # maps consumer_gaps and dead_letters
from bookstore_common import outbox as _outbox  # noqa: F401 # maps outbox_events
from bookstore_common.db import Base
from bookstore_common.testing.postgres import Postgres, running_postgres

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import event_replay as replay
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.event_replay import CONSUMERS

INVENTORY, ECOM = CONSUMERS
OTHERS = {
    "ecom": "CREATE TABLE orders (id uuid, status text, user_id text, updated_at timestamptz);"
    " CREATE TABLE books (id uuid, created_at timestamptz)",
    "inventory": "CREATE TABLE reservations (order_id uuid, status text); CREATE TABLE inventory (book_id uuid)",
}
HOUR_AGO = "now() - interval '1 hour'"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as started:
        yield started


def _text(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return "" if value is None else str(value)


class World:
    """Both databases, and what happens while somebody waits."""

    def __init__(self, databases: dict[str, psycopg.Connection[Any]]) -> None:
        self.databases = databases
        self.now = 0.0
        self.works = True
        self.refuses: set[str] = set()
        self.end = self.position()

    def position(self) -> int:
        return int(self("ecom", "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))

    def __call__(self, place: str, statement: str) -> str:
        cursor = self.databases[place].execute(statement)  # type: ignore[call-overload]
        rows = cursor.fetchall() if cursor.description else []
        return "\n".join("|".join(_text(value) for value in row) for row in rows)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.works:
            for consumer in CONSUMERS:
                self.consume(consumer.place, consumer.producer, consumer.topics)
            self.end = self.position()

    def consume(self, place: str, producer: str, topics: tuple[str, ...]) -> None:
        """Apply what was inserted since the last time, as a worker does."""
        rows = self.databases[producer].execute(
            "SELECT id::text, event_type FROM outbox_events WHERE wal_position >= %s AND event_type = ANY (%s)", (self.end, list(topics))
        )
        for event, topic in rows.fetchall():
            if event in self.refuses:
                self.letter(place, event, offset=99)
            else:
                self.applied(place, event, topic)

    def applied(self, place: str, event: str, topic: str, ago: str = "1 hour") -> None:
        self.databases[place].execute(
            "INSERT INTO processed_events VALUES (%s, %s, now() - %s::interval) ON CONFLICT DO NOTHING", (event, topic, ago)
        )

    def sent(self, topic: str = "order.created", place: str = "ecom", ago: str = "9 days") -> str:
        """An event in the outbox that was published long ago."""
        event = str(uuid.uuid4())
        self.databases[place].execute(
            "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at)"
            " VALUES (%s, 'order', 'x', %s, '{\"a\": 1.10}', now() - %s::interval)",
            (event, topic, ago),
        )
        self.end = self.position()
        return event

    def gap(self, place: str = "inventory", consumed: str | None = "9 days", topic: str = "order.created") -> None:
        self.databases[place].execute(
            "INSERT INTO consumer_gaps (topic, partition, from_offset, to_offset, reason, consumed_at)"
            " VALUES (%s, 1, 5, 9, 'expired', now() - %s::interval)",
            (topic, consumed),
        )

    def letter(self, place: str, event: str | None, offset: int = 7, topic: str = "order.created") -> None:
        self.databases[place].execute(
            "INSERT INTO dead_letters (topic, partition, record_offset, event_id, reason) VALUES (%s, 2, %s, %s, 'DataError')"
            " ON CONFLICT DO NOTHING",
            (topic, offset, event),
        )


@pytest.fixture
def world(server: Postgres) -> Iterator[World]:
    names = {place: server.create_database("postgres") for place in ("ecom", "inventory")}
    connections = {}
    for place, name in names.items():
        address = f"postgresql+psycopg://postgres:{server.superuser_password}@127.0.0.1:{server.port}/{name}"
        engine = sa.create_engine(address)
        with engine.begin() as connection:
            wanted = ("outbox_events", "consumer_gaps", "dead_letters")
            Base.metadata.create_all(connection, tables=[Base.metadata.tables[table] for table in wanted])
            connection.execute(sa.text("CREATE TABLE processed_events (event_id uuid PRIMARY KEY, topic text, processed_at timestamptz)"))
            connection.execute(sa.text(OTHERS[place]))
        engine.dispose()
        connections[place] = server.connect(name)
    yield World(connections)
    for place, name in names.items():
        connections[place].close()
        server.drop_database(name)


def count(world: World, place: str, what: str) -> int:
    return int(world(place, f"SELECT count(*) FROM {what}"))


def test_nothing_to_do_changes_nothing(world: World) -> None:
    world.sent()
    before = world("ecom", "SELECT * FROM outbox_events")
    for consumer in CONSUMERS:
        outcome = replay.repair(world, consumer, 10, acknowledge=False, apply=True, clock=world)
        assert (outcome.changed, outcome.left) == (False, [])
    assert world("ecom", "SELECT * FROM outbox_events") == before


def test_what_was_missed_is_given_again_and_the_gap_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a batch, in shares; what was applied is not published again, and rows stay as they are but for their place."""
    monkeypatch.setattr(replay, "MOST_IDS", 100)
    world.applied("inventory", world.sent(), "order.created", "9 days")
    missed = {world.sent(ago="8 days") for _ in range(250)}
    # Another worker's.
    world.sent("inventory.updated")
    world.gap()
    asked = replay.repair(world, INVENTORY, 10, acknowledge=False, apply=False, clock=world)
    assert (asked.replayed, asked.repaired, count(world, "inventory", "processed_events")) == (250, 1, 1)
    kept = world("ecom", "SELECT id, event_type, payload, created_at FROM outbox_events ORDER BY id")
    outcome = replay.repair(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world)
    assert (outcome.replayed, outcome.repaired, outcome.left) == (250, 1, [])
    assert world("ecom", "SELECT id, event_type, payload, created_at FROM outbox_events ORDER BY id") == kept
    assert missed <= set(world("inventory", "SELECT event_id FROM processed_events").split())
    assert count(world, "inventory", "consumer_gaps WHERE repaired_at IS NULL") == 0
    assert not replay.repair(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world).changed


def test_a_gap_stays_open_until_the_worker_has_applied_it_all(world: World) -> None:
    world.works = False
    event = world.sent("inventory.rejected", "inventory")
    world.gap("ecom", topic="inventory.rejected")
    outcome = replay.repair(world, ECOM, 10, acknowledge=False, apply=True, clock=world)
    assert event in outcome.left[0]
    assert outcome.left[0].startswith("BK-276: 1 events")
    assert "inventory.rejected/1: offsets 5 to 9 were not read (expired)" in outcome.left[0]
    assert count(world, "ecom", "consumer_gaps WHERE repaired_at IS NULL") == 1


def test_an_event_that_is_refused_again_is_told_and_not_repeated_for_ever(world: World) -> None:
    event = world.sent()
    world.refuses = {event}
    world.gap()
    outcome = replay.repair(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world)
    assert (outcome.repaired, outcome.left) == (1, [f"BK-276: 1 events were set aside when they were given again: {event}"])
    world("inventory", "UPDATE dead_letters SET resolved_at = now()")
    world.gap()
    assert replay.repair(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world).replayed == 0


@pytest.mark.parametrize("consumed", ["23 days", None], ids=["off too long", "never consumed"])
def test_a_gap_beyond_the_outbox_is_refused_unless_the_tables_agree(world: World, consumed: str | None) -> None:
    placed, sent_back, book = (str(uuid.uuid4()) for _ in range(3))
    world("ecom", f"INSERT INTO orders VALUES ('{placed}', 'CONFIRMED', 'u', {HOUR_AGO}), ('{sent_back}', 'CANCELLED', 'u', {HOUR_AGO})")
    # Neither one that is under way nor a probe's.
    for user, when in (("u", "now()"), ("cdc-probe", HOUR_AGO)):
        world("ecom", f"INSERT INTO orders VALUES (gen_random_uuid(), 'CONFIRMED', '{user}', {when})")
    world("ecom", f"INSERT INTO books VALUES ('{book}', {HOUR_AGO})")
    world("inventory", f"INSERT INTO reservations VALUES ('{sent_back}', 'COMMITTED')")
    world.gap(consumed=consumed)
    refused = replay.repair(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world)
    assert refused.repaired == 0
    assert refused.left[0].startswith("BK-277: order.created/1: offsets 5 to 9 were not read (expired)")
    assert refused.left[1:] == [
        f"order {placed}: placed without committed copies",
        f"order {sent_back}: cancelled, and its copies did not come back",
        f"book {book}: without stock",
    ]
    if consumed is None:
        # Somebody has dealt with these three.
        assert replay.repair(world, INVENTORY, 10, acknowledge=True, apply=True, clock=world).repaired == 1
        return
    world("inventory", f"UPDATE reservations SET status = 'RELEASED'; INSERT INTO reservations VALUES ('{placed}', 'COMMITTED')")
    world("inventory", f"INSERT INTO inventory VALUES ('{book}')")
    assert replay.repair(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world).repaired == 1


def test_dead_letters_are_given_again(world: World) -> None:
    mended, applied, bad = world.sent(), world.sent(), world.sent()
    world.applied("inventory", applied, "order.created")
    world.refuses = {bad}
    for offset, event in enumerate((mended, applied, bad)):
        world.letter("inventory", event, offset)
    outcome = replay.bring_back(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world)
    assert (outcome.replayed, outcome.resolved) == (2, 2)
    assert outcome.left == [f"BK-276: order.created/2/2: event {bad}: DataError; it was given to the worker again, and not applied"]
    assert world("inventory", "SELECT event_id, record_offset FROM dead_letters WHERE resolved_at IS NULL") == f"{bad}|99"


def test_a_letter_that_the_worker_does_not_take_in_time_stays_open(world: World) -> None:
    world.works = False
    world.letter("inventory", world.sent())
    outcome = replay.bring_back(world, INVENTORY, 10, acknowledge=False, apply=True, clock=world)
    assert len(outcome.left) == 1
    assert len(replay.open_letters(world, "inventory")) == 1


def test_what_is_no_event_is_only_removed_when_it_is_acknowledged(world: World) -> None:
    world.letter("inventory", None)
    world.letter("inventory", str(uuid.uuid4()), 8)

    def bring_back(acknowledge: bool, apply: bool = True) -> replay.Outcome:
        return replay.bring_back(world, INVENTORY, 10, acknowledge=acknowledge, apply=apply, clock=world)

    refused = bring_back(False)
    assert (refused.changed, len(refused.left)) == (False, 2)
    assert refused.left[0] == "BK-278: order.created/2/7: no event: DataError; the outbox of ecom has no such event"
    assert bring_back(True, apply=False).resolved == 2
    assert bring_back(True).resolved == 2
    assert bring_back(False).changed is False


class Broker:
    """Its dead-letter topics."""

    def __init__(self, held: int) -> None:
        self.topics: dict[str, Any] = {f"{topic}.dlq": {"begin": 1, "end": 1} for topic in INVENTORY.topics}
        self.topics["order.created.dlq"]["end"] += held
        self.purged: list[str] = []

    def describe(self) -> dict[str, Any]:
        return {"topics": self.topics}

    def call(self, mode: str, topic: str) -> None:
        assert mode == "purge"
        self.purged.append(topic)


@pytest.mark.parametrize(
    ("letters", "resolved", "acknowledge", "emptied", "left"),
    [
        (1, True, False, ["order.created.dlq"], 0),
        (1, False, True, [], 0),
        (0, False, False, [], 1),
        (0, False, True, ["order.created.dlq"], 0),
    ],
    ids=["dealt with", "one is open", "of before the table", "of before, acknowledged"],
)
def test_topics_are_emptied_when_their_letters_are_dealt_with(
    world: World, letters: int, resolved: bool, acknowledge: bool, emptied: list[str], left: int
) -> None:
    for _ in range(letters):
        world.letter("inventory", None)
    if resolved:
        world("inventory", "UPDATE dead_letters SET resolved_at = now()")
    broker: Any = Broker(held=2)
    empty: Callable[..., tuple[list[str], list[str]]] = replay.empty_topics
    assert empty(broker, world, INVENTORY, acknowledge=acknowledge, apply=False)[0] == emptied
    assert broker.purged == []
    names, kept = empty(broker, world, INVENTORY, acknowledge=acknowledge, apply=True)
    assert (names, len(kept), broker.purged) == (emptied, left, emptied)
