"""The id of the request that caused an event goes from the outbox's row into a header of its record (tools/follow)."""

from __future__ import annotations

import uuid

import pytest
from bookstore_common import records

from .pipeline import Debezium, Kafka

# The first test of a run also renders, compiles and starts a broker, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900)


def write(debezium: Debezium, request_id: str | None) -> str:
    """Write an event as a service does; the id of its book, which is the record's key."""
    book = str(uuid.uuid4())
    value = "NULL" if request_id is None else f"'{request_id}'"
    columns = "id, aggregate_type, aggregate_id, event_type, payload" + (", request_id" if request_id != "no column" else "")
    debezium.postgres.execute(
        f"INSERT INTO outbox_events ({columns}) VALUES (gen_random_uuid(), 'book', '{book}', 'book.created', '{{}}'"
        + (f", {value})" if request_id != "no column" else ")"),
        debezium.database,
    )
    return book


def test_with_an_id_without_one_and_before_there_was_a_column(debezium: Debezium, kafka: Kafka) -> None:
    """Rows of the outbox that are older than the column are published all the same."""
    column = "ALTER TABLE outbox_events {} request_id"
    debezium.postgres.execute(column.format("DROP COLUMN"), debezium.database)
    debezium.first_snapshot()
    books = {"before": write(debezium, "no column")}
    debezium.catch_up()
    debezium.postgres.execute(column.format("ADD COLUMN") + " varchar(128)", debezium.database)
    books |= {"none": write(debezium, None), "with": write(debezium, "4f0c5d1e-of.the_request")}
    debezium.catch_up()
    found = {(one.key or b"").decode().strip('"'): records.request_id(one.headers) for one in kafka.read_all("book.created")}
    assert {name: found[book] for name, book in books.items()} == {"before": None, "none": None, "with": "4f0c5d1e-of.the_request"}
    assert kafka.read("debezium.ecom.dlq") == []
