"""What a Debezium Server carries within its production heap: many long rows at once, rows at the limit, and rows beyond it."""

from __future__ import annotations

import json
import uuid

import pytest
import yaml

from .pipeline import ROOT, Debezium, Kafka, until, values

# The first test of a run also renders, compiles and starts a broker, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900)
BOOKS = 4_000
TOPIC = "cdc.ecom.public.books"
DEAD_LETTERS = "debezium.ecom.dlq"
LIMIT = yaml.safe_load((ROOT / "inventory/local/group_vars/all/topics.yml").read_text(encoding="utf-8"))["bookstore_record_bytes_max"]
# One character outside of Latin-1 makes every character of a Java string two bytes.
LONG = "'ł' || repeat(md5(number::text), 312) || repeat('.', 15)"


@pytest.fixture
def running(debezium: Debezium) -> Debezium:
    """The server, after its first snapshot."""
    debezium.first_snapshot()
    return debezium


def execute(debezium: Debezium, statement: str) -> None:
    """Run SQL in the source."""
    debezium.postgres.execute(statement, debezium.database)


def events(count: str, payload: str) -> str:
    """SQL that writes events of an order with such a payload, one of each ``number``."""
    return (
        "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)"
        f" SELECT gen_random_uuid(), 'order', number::text, 'order.cancelled', {payload} FROM generate_series(1, {count}) number"
    )


def ends(kafka: Kafka) -> dict[str, int]:
    """Topic to its end."""
    return {name: topic["end"] for name, topic in kafka.tool.describe()["topics"].items()}


def test_thousands_of_long_rows_inserted_updated_and_in_a_snapshot(running: Debezium, kafka: Kafka) -> None:
    began, known = running.container.started_at, len(kafka.read(TOPIC))
    execute(
        running,
        "INSERT INTO books (title, author, genre, price, description)"
        f" SELECT 'Bulk ' || number, 'A', 'G', 1, {LONG} FROM generate_series(1, {BOOKS}) number",
    )
    running.catch_up()
    execute(running, "UPDATE books SET price = 2, description = description || '!' WHERE title LIKE 'Bulk %'")
    running.catch_up()
    streamed = values(kafka.read(TOPIC))[known:]
    assert [one["op"] for one in streamed] == ["c"] * BOOKS + ["u"] * BOOKS
    assert {one["before"]["price"] for one in streamed[BOOKS:]} == {"1.00"}
    running.container.kill()
    running.postgres.execute("SELECT pg_drop_replication_slot('debezium_ecom_slot')")
    assert running.container.started_at == began, "it was restarted"
    running.container.restart()
    running.catch_up()
    assert running.guard_says("SLOT_ABSENT")
    until(running.compared, "the comparison with the source")
    again = values(kafka.read(TOPIC))[known + 2 * BOOKS :]
    assert len([one for one in again if one["op"] == "r" and one["after"]["title"].startswith("Bulk ")]) == BOOKS
    assert ends(kafka)[DEAD_LETTERS] == 0


# As long as a payload may be: letters, characters of two bytes in memory, thousands of small parts.
@pytest.mark.parametrize("payload", [
    "jsonb_build_object('text', repeat('x', {size}))",
    "jsonb_build_object('text', 'ł' || repeat('x', {size} - 2))",
    "(SELECT jsonb_object_agg(number || '-' || part, 1) FROM generate_series(1, {size} / 17) part)",
], ids=["letters", "wide letters", "small parts"])  # fmt: skip
def test_many_of_the_largest_events(running: Debezium, kafka: Kafka, payload: str) -> None:
    began, count = running.container.started_at, 400
    execute(running, events(str(count), payload.format(size=LIMIT - 200)))
    running.catch_up()
    assert running.container.started_at == began
    topics = ends(kafka)
    assert (topics["order.cancelled"], topics[DEAD_LETTERS]) == (count, 0)


def test_a_record_beyond_the_limit_is_set_aside_and_stops_no_other(running: Debezium, kafka: Kafka) -> None:
    began = running.container.started_at
    execute(running, "ALTER TABLE books ADD COLUMN notes text")
    first, second = (str(uuid.uuid4()) for _ in range(2))
    for key, length in ((first, 3 * LIMIT), (second, LIMIT // 4)):
        execute(
            running, f"INSERT INTO books (id, title, author, genre, price, notes) VALUES ('{key}', 'T', 'A', 'G', 1, repeat('x', {length}))"
        )
    execute(running, events("1", f"jsonb_build_object('text', repeat('x', {LIMIT + 1}))"))
    execute(running, events("1", '\'{"text": "small"}\''))
    running.catch_up()
    letters = values(kafka.read(DEAD_LETTERS))
    assert [one["topic"] for one in letters] == [TOPIC, "cdc.ecom.public.outbox_events"]
    assert letters[0]["key"] == {"id": first}
    assert str(LIMIT) in letters[0]["reason"]
    assert str(LIMIT) in letters[1]["reason"]
    published = [one["after"]["id"] for one in values(kafka.read(TOPIC)) if one["after"]["title"] == "T"]
    assert published == [second]
    assert ends(kafka)["order.cancelled"] == 1
    assert running.guard_says("BK-273: set aside into debezium.ecom.dlq")
    assert running.container.started_at == began


def test_an_event_whose_type_is_no_topic_is_set_aside_and_stops_no_other(running: Debezium, kafka: Kafka) -> None:
    # A topic that does not exist lets the producer wait; one that is another's gets there what nobody expects.
    types = ("nobody.reads.it", TOPIC, "inventory.updated", "not a topic's name", "order.cancelled")
    for one in types:
        execute(running, events("1", json.dumps("{}").replace('"', "'")).replace("order.cancelled", one.replace("'", "''")))
    running.catch_up()
    reasons = [one["reason"] for one in values(kafka.read(DEAD_LETTERS))]
    assert reasons == [f"its type {one} is no topic of this server" for one in types[:-1]]
    topics = ends(kafka)
    assert (topics["order.cancelled"], topics["inventory.updated"]) == (1, 0)
