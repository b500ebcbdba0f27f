"""The broker's tool, with its production memory, on topics larger than that."""

from __future__ import annotations

import json

import pytest
from kafka import KafkaProducer

from .pipeline import Kafka

# The first test of a run also renders, compiles and starts a broker, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900)
TOPIC = "order.created.dlq"
RECORDS, BYTES = 2_000, 50_000
MOST_RECORDS, MOST_BYTES = 1_000, 4 << 20


@pytest.fixture(scope="module")
def large(module_kafka: Kafka) -> Kafka:
    """A broker whose topic holds 100 MB, and as many of short records."""
    producer = KafkaProducer(bootstrap_servers=[module_kafka.address], linger_ms=100, batch_size=900_000)
    value = b"x" * BYTES
    for number in range(RECORDS):
        producer.send(TOPIC, key=f"key {number % 400}".encode(), value=b"%d %s" % (number, value), partition=0)
    for number in range(5 * MOST_RECORDS):
        producer.send("book.created.dlq", key=b"%d" % number, value=b"short", partition=0)
    producer.flush(400)
    producer.close()
    assert module_kafka.tool.describe()["topics"][TOPIC]["end"] == RECORDS
    return module_kafka


@pytest.mark.parametrize("mode", ["records", "latest"])
def test_what_is_returned_is_bounded_and_says_so(large: Kafka, mode: str) -> None:
    answer = large.tool.call(mode, TOPIC)
    found = [int(one["value"].split()[0]) for one in answer["records"]]
    # The newest, in their order.
    assert found == list(range(RECORDS - len(found), RECORDS))
    assert MOST_BYTES / 2 < sum(len(one["value"]) for one in answer["records"]) <= MOST_BYTES
    assert answer["left_out"] == (RECORDS if mode == "records" else 400) - len(found)


@pytest.mark.parametrize("mode", ["records", "latest"])
def test_the_number_of_records_is_bounded(large: Kafka, mode: str) -> None:
    answer = large.tool.call(mode, "book.created.dlq")
    assert (len(answer["records"]), answer["left_out"]) == (MOST_RECORDS, 4 * MOST_RECORDS)


def test_one_key_is_found_wherever_it_is(large: Kafka) -> None:
    answer = large.tool.call("records", TOPIC, "key 7")
    assert [int(one["value"].split()[0]) for one in answer["records"]] == list(range(7, RECORDS, 400))
    newest = large.tool.latest(TOPIC, "key 7")
    assert newest is not None
    assert (newest["key"], newest["offset"]) == ("key 7", RECORDS - 393)
    assert large.tool.latest(TOPIC, "nobody's key") is None


def test_deletions_and_bytes_that_are_no_text_are_shown(large: Kafka) -> None:
    broker = large.tool
    broker.call("put", "order.cancelled.dlq", json.dumps({"partition": 0, "key": "k", "value": "v"}))
    broker.call("tombstone", "order.cancelled.dlq", json.dumps({"partition": 0, "key": "k"}))
    producer = KafkaProducer(bootstrap_servers=[large.address])
    producer.send("order.cancelled.dlq", key=b"\xff\x00", value=b"\xfe", partition=0).get(30)
    producer.close()
    assert [(one["key"], one["value"]) for one in broker.records("order.cancelled.dlq")] == [
        ("k", "v"), ("k", None), ("\ufffd\x00", "\ufffd")
    ]  # fmt: skip
    gone = broker.latest("order.cancelled.dlq", "k")
    assert gone is not None
    assert gone["value"] is None
