"""Records that real life brings: rows that are large, values that analytics cannot hold, bytes that mean nothing; none may stop another.

Each test ends with all laws holding, without a hand: what it breaks is a record, not a part of the platform.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from ..goods import Sql
from ..waiting import until
from .breakage import Breakage
from .stream import Stream

pytestmark = pytest.mark.timeout(900)

BOOKS_TOPIC = "cdc.ecom.public.books"
CDC_TOPICS = (BOOKS_TOPIC, "cdc.ecom.public.orders", "cdc.ecom.public.order_items", "cdc.inventory.public.inventory")
HEARTBEATS = "cdc.ecom.public.cdc_heartbeat"
# As many rows and characters as ended a server of before.
ROWS, CHARACTERS = 4000, 10_000
AUTHOR = "Fault Large"
NOTHING_TO_READ = (
    "x", "", "[]", "{}", "null", '{"op": "c"}', '{"op": "u", "after": 5}', '{"op": "t"}', "\x00\xff", '{"op": "c", "after": {"id": "y"}}',
)  # fmt: skip


@pytest.fixture
def broker(cluster: Cluster) -> Broker:
    """The broker's tool."""
    return Broker(cluster, 60)


@pytest.fixture
def put(broker: Broker) -> Callable[[str, str, str], None]:
    """Writes one record of these bytes: topic, key, value."""
    return lambda topic, key, value: broker.call("put", topic, json.dumps({"partition": 0, "key": key, "value": value})) and None


@pytest.fixture
def quarantine(analytics_sql: Sql) -> Iterator[Callable[[str], list[str]]]:
    """Reasons of the entries of a topic that are not resolved; those of the tests' own keys are removed afterwards."""

    def entries(topic: str) -> list[str]:
        return analytics_sql(f"SELECT reason FROM quarantined_records WHERE topic = '{topic}' AND resolved_at IS NULL").splitlines()

    analytics_sql("DELETE FROM quarantined_records")
    yield entries
    analytics_sql("DELETE FROM quarantined_records")


def test_thousands_of_large_rows_in_one_statement(
    stream: Stream, breakage: Breakage, ecom_sql: Sql, converges: Callable[[float], None]
) -> None:
    """Inserted, all changed, and deleted, each in one statement; the server that publishes them is not started again."""
    before = breakage.restarts("infra", "debezium-ecom", "debezium")
    broken_at = time.monotonic()
    try:
        ecom_sql(
            "INSERT INTO books (id, title, author, genre, description, price, active) SELECT gen_random_uuid(), 'Large ' || n,"
            f" '{AUTHOR}', 'Live', repeat('x', {CHARACTERS}), 9.99, true FROM generate_series(1, {ROWS}) AS n"
        )
        ecom_sql(f"UPDATE books SET price = 8.88, description = repeat('y', {CHARACTERS}) WHERE author = '{AUTHOR}'")
    finally:
        ecom_sql(f"DELETE FROM books WHERE author = '{AUTHOR}'")
    stream.wait(5)
    converges(broken_at)
    assert breakage.restarts("infra", "debezium-ecom", "debezium") == before


@pytest.mark.parametrize("topic", CDC_TOPICS)
def test_records_that_no_job_can_read(
    stream: Stream,
    put: Callable[[str, str, str], None],
    quarantine: Callable[[str], list[str]],
    topic: str,
    converges: Callable[[float], None],
) -> None:
    """They are kept with their reasons, and everything behind them is applied."""
    broken_at = time.monotonic()
    for value in NOTHING_TO_READ:
        put(topic, json.dumps({"id": secrets.token_hex(4)}), value)
    until(lambda: len(quarantine(topic)) >= len(NOTHING_TO_READ) - 2, "the records to be quarantined", 120, pause=1)
    stream.wait(5)
    converges(broken_at)


def test_a_value_that_the_table_cannot_hold_comes_back_by_itself_when_it_is_right(
    stream: Stream,
    broker: Broker,
    put: Callable[[str, str, str], None],
    quarantine: Callable[[str], list[str]],
    ecom_sql: Sql,
    converges: Callable[[float], None],
) -> None:
    """A price of NaN, as from a source of before: quarantined; the next change of the row resolves it."""
    broken_at = time.monotonic()
    book = stream.ids[0]
    newest = broker.latest(BOOKS_TOPIC, json.dumps({"id": book}, separators=(",", ":")))
    assert newest is not None, "the topic has no record of a book that was ordered"
    wrong = json.loads(newest["value"])
    wrong["after"]["price"] = "NaN"
    wrong["op"] = "u"
    put(BOOKS_TOPIC, newest["key"], json.dumps(wrong))
    until(lambda: any("price" in reason for reason in quarantine(BOOKS_TOPIC)), "the record to be quarantined", 60, pause=1)
    ecom_sql(f"UPDATE books SET title = title || '!' WHERE id = '{book}'")
    until(lambda: not quarantine(BOOKS_TOPIC), "the entry to be resolved", 400, pause=2)
    stream.wait(5)
    converges(broken_at)


@pytest.mark.parametrize("price", ["'NaN'", "'Infinity'", "'-Infinity'", "0", "-1"])
def test_the_source_refuses_prices_that_are_none(ecom_sql: Sql, price: str) -> None:
    with pytest.raises(ClusterError, match="books|numeric"):
        ecom_sql(f"UPDATE books SET price = {price} WHERE id = '00000000-0000-0000-0000-000000000001'")


@pytest.mark.parametrize("table", ["books", "orders", "order_items", "outbox_events", "cdc_heartbeat"])
def test_a_captured_table_is_not_truncated(ecom_sql: Sql, table: str) -> None:
    with pytest.raises(ClusterError, match="TRUNCATE|truncate"):
        ecom_sql(f"BEGIN; TRUNCATE {table} CASCADE; ROLLBACK")


def test_a_replica_identity_that_was_taken_away_for_a_while(stream: Stream, ecom_sql: Sql, converges: Callable[[float], None]) -> None:
    """Updates and deletions without their old rows are applied like others."""
    broken_at = time.monotonic()
    ecom_sql("ALTER TABLE orders REPLICA IDENTITY DEFAULT")
    try:
        stream.wait(6)
        ecom_sql("UPDATE orders SET updated_at = now() WHERE id = (SELECT id FROM orders ORDER BY created_at DESC LIMIT 1)")
    finally:
        ecom_sql("ALTER TABLE orders REPLICA IDENTITY FULL")
    stream.wait(3)
    converges(broken_at)


@pytest.mark.parametrize("value", ["x", "[]", '{"after": 5}', '{"after": {"ts": "x"}}', '{"after": {"ts": "9999-01-01T00:00:00Z"}}'])
def test_a_heartbeat_that_cannot_be_read_stops_no_worker(
    stream: Stream, breakage: Breakage, put: Callable[[str, str, str], None], value: str, converges: Callable[[float], None]
) -> None:
    before = breakage.restarts("inventory", "inventory-worker", "inventory-worker")
    broken_at = time.monotonic()
    put(HEARTBEATS, '{"id": 1}', value)
    stream.wait(5)
    converges(broken_at)
    assert breakage.restarts("inventory", "inventory-worker", "inventory-worker") == before
