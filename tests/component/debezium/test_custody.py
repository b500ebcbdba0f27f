"""A broker that comes back with less than it had acknowledged: the loss is noticed, and nothing is missing afterwards."""

from __future__ import annotations

import json
import uuid

import pytest

from .pipeline import Debezium, Kafka, docker, until, values

# The first test of a run also renders, compiles and starts a broker, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900)
TOPIC = "cdc.ecom.public.books"


@pytest.fixture
def running(debezium: Debezium) -> Debezium:
    """The server, after its first snapshot."""
    debezium.first_snapshot()
    return debezium


def book(debezium: Debezium) -> str:
    """Insert a book; returns its id."""
    key = str(uuid.uuid4())
    statement = f"INSERT INTO books (id, title, author, genre, price) VALUES ('{key}', 'Kept', 'A', 'G', 1)"
    debezium.postgres.execute(statement, debezium.database)
    return key


def state(kafka: Kafka) -> dict[str, str]:
    """Title of each book that the topic leads to."""
    books: dict[str, str] = {}
    for one in values(kafka.read(TOPIC)):
        if one["after"]:
            books[one["after"]["id"]] = one["after"]["title"]
        else:
            books.pop(one["before"]["id"], None)
    return books


def source(debezium: Debezium) -> dict[str, str]:
    """Title of each book of the source."""
    with debezium.postgres.connect(debezium.database) as connection:
        return {str(key): str(title) for key, title in connection.execute("SELECT id, title FROM books")}


def heal(debezium: Debezium, kafka: Kafka) -> None:
    """What the kubelet does until the guard has seen to everything, and then nothing is missing in Kafka."""
    until(lambda: revive(debezium) and debezium.compared(), "the comparison", 180)
    debezium.catch_up()
    assert state(kafka) == source(debezium)


def revive(debezium: Debezium) -> bool:
    """Start it again if it has ended; whether it ran."""
    if debezium.container.running:
        return True
    debezium.container.restart()
    return False


def test_a_kafka_that_comes_back_empty_while_the_server_runs(running: Debezium, kafka: Kafka) -> None:
    book(running)
    running.catch_up()
    kafka.container.kill()
    kafka.empty()
    # Nobody makes topics but `make up`, and the server is not to go on as if nothing had happened.
    until(lambda: not running.container.running, "the server to be ended")
    assert running.guard_says("BK-271: Kafka lost records that it had acknowledged")
    running.container.restart()
    until(
        lambda: running.guard_says("BK-270: Kafka has no topic __debezium-heartbeat.cdc.ecom, book.created, cdc.audit"),
        "the guard to say why",
    )
    kafka.make_topics()
    heal(running, kafka)


def test_a_topic_that_was_made_again_while_the_server_was_away(running: Debezium, kafka: Kafka) -> None:
    book(running)
    running.catch_up()
    until(lambda: any(b"guard-marks" in record.key for record in kafka.read("debezium.ecom.offsets")), "the marks to be kept")
    running.container.kill()
    docker(
        "exec", kafka.container.name, "java", "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", kafka.local,
        "--delete", "--topic", TOPIC,
    )  # fmt: skip
    until(lambda: TOPIC not in kafka.tool.describe()["topics"], "the topic to be gone")
    kafka.make_topics()
    book(running)
    running.container.restart()
    until(lambda: running.guard_says("BROKER_BACK"), "the guard to see it")
    assert running.guard_says("the topic is another one of the same name")
    heal(running, kafka)


def test_records_deleted_from_a_compacted_topic_come_back(running: Debezium, kafka: Kafka) -> None:
    book(running)
    running.catch_up()
    # Of a compacted topic Kafka deletes no records, unless somebody changes its policy.
    kafka.tool.call("apply", json.dumps({"alter": [{"name": TOPIC, "configs": {"cleanup.policy": "compact,delete"}}]}))
    kafka.tool.call("purge", TOPIC)
    until(lambda: not running.container.running, "the server to be ended")
    assert running.guard_says(f"{TOPIC}-0: it begins at")
    heal(running, kafka)


def test_records_that_nobody_of_us_wrote_stop_neither_guard_nor_server(running: Debezium, kafka: Kafka) -> None:
    """In the topic of offsets and in a table's topic, also as keys; and a new snapshot, whose comparison reads them."""
    running.container.kill()
    for topic in ("debezium.ecom.offsets", TOPIC):
        for key in ("x", "[]", '{"id": "no uuid"}', '{"id": null}', '{"evil": 1}', "7"):
            for value in ("x", '{"after": 3}', '{"after": {}}', "[]"):
                kafka.tool.call("put", topic, json.dumps({"partition": 0, "key": key, "value": value}))
    added = book(running)
    running.postgres.execute("SELECT pg_drop_replication_slot('debezium_ecom_slot')")
    running.container.restart()
    until(running.compared, "the comparison", 180)
    running.catch_up()
    rows = [json.loads(record.value) for record in kafka.read(TOPIC) if record.value and record.value.startswith(b'{"before"')]
    assert added in {one["after"]["id"] for one in rows if one["after"]}
    assert running.container.running
