"""One id from the request through outbox, header and worker: what a worker does with the header that it is given."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from alembic.migration import MigrationContext
from alembic.operations import Operations
from consumer_testing import Desk, broker, desk, rows
from hypothesis import given
from hypothesis import strategies as st

from bookstore_common import events, records
from bookstore_common.consumer import ATTEMPTS
from bookstore_common.context import harmless, request_context, request_id_var
from bookstore_common.db import Session
from bookstore_common.outbox import OutboxRepository, add_request_id, create_outbox_table
from bookstore_common.testing.kafka import until
from bookstore_common.testing.logs import LogStream

__all__ = ["broker", "desk", "rows"]
BARE = b'"of-the-request"'
WITH_SCHEMA = b'{"schema":{"type":"string","optional":true},"payload":"of-the-request"}'


@pytest.mark.parametrize("value", [BARE, WITH_SCHEMA])
def test_the_header_is_read_with_and_without_its_schema(value: bytes) -> None:
    assert records.request_id([("id", b"1"), ("request_id", value)]) == "of-the-request"


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"null", b"{", b"[]", b"7", b"{}", b'{"payload":null}',
        b'{"payload":{"a":1}}', b'"two words"',
        b'"a\\nb"',
        b'"' + b"a" * 129 + b'"', b'"' + b"a" * 600 + b'"', b"\xff\xfe", b'""', b"of-the-request",
    ],
)  # fmt: skip
def test_what_is_no_id_is_none(value: bytes | None) -> None:
    assert records.request_id([("request_id", value)]) is None


def test_other_headers_and_none() -> None:
    assert records.request_id(None) is None
    assert records.request_id([("id", BARE), ("Request_ID", BARE)]) is None


@given(st.one_of(st.binary(max_size=600), st.text(max_size=140).map(lambda text: json.dumps(text).encode())))
def test_any_bytes_give_a_harmless_id_or_none(value: bytes) -> None:
    found = records.request_id([("request_id", value)])
    assert found is None or harmless(found)


def test_the_context_ends_with_its_block() -> None:
    with request_context("outer"):
        with request_context(None):
            assert request_id_var.get() == ""
        assert request_id_var.get() == "outer"
        assert structlog.contextvars.get_contextvars()["request_id"] == "outer"
    assert request_id_var.get() == ""
    assert "request_id" not in structlog.contextvars.get_contextvars()


@pytest.mark.anyio
async def test_a_worker_logs_and_passes_on_the_id_of_each_event(desk: Desk, log_stream: LogStream) -> None:
    """Also after one without an id, and after one that failed: no event has the id of another."""
    with Operations.context(MigrationContext.configure(desk.rows)):
        create_outbox_table()
        add_request_id()
    effect = desk.effect

    async def causes_another(session: Session, event: Mapping[str, Any]) -> None:
        await effect(session, event)
        caused = events.inventory_rejected(order_id=event["book_id"], book_ids=[event["book_id"]])
        await OutboxRepository(session).add(caused)

    desk.effect = causes_another  # type: ignore[method-assign]
    desk.faults["bad"] = [ValueError("never")] * ATTEMPTS
    given_ids = {"first": b'"id-1"', "bad": b'"id-2"', "third": WITH_SCHEMA}
    made = {}
    for title in ("first", "none", "bad", "late none", "third"):
        headers = (("request_id", given_ids[title]),) if title in given_ids else ()
        made[desk.publish(title, headers=headers)] = title
    async with desk.working():
        await until(lambda: desk.committed() == 5, "all to be consumed")
    lines = log_stream.events()
    consumed = {made[line["event_id"]]: line.get("request_id") for line in lines if line["event"] == "event_consumed"}
    assert consumed == {"first": "id-1", "none": None, "late none": None, "third": "of-the-request"}
    failed = [line.get("request_id") for line in lines if line["event"] in {"event_failed", "event_set_aside"}]
    assert failed == ["id-2"] * (ATTEMPTS + 1)
    passed = desk.rows.execute(sa.text("SELECT request_id FROM outbox_events ORDER BY created_at")).scalars()
    assert list(passed) == ["id-1", None, None, "of-the-request"]
