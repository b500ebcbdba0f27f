"""Any bytes may stand in a topic: they are refused, never believed, and stop nothing."""

import json
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from consumer_testing import HEARTBEATS, TOPIC, Desk, broker, counted, desk, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition

from bookstore_common import records
from bookstore_common.deadletters import event_id, letter
from bookstore_common.records import Beat, UnreadableError
from bookstore_common.testing.kafka import Record, until

__all__ = ["broker", "desk", "rows"]
NOW = datetime.now(UTC)
SKEW = timedelta(minutes=1)
BOOK = "00000000-0000-0000-0000-000000000001"
VALID = {
    "event_id": BOOK, "event_type": TOPIC, "schema_version": 1, "occurred_at": "2026-01-01T00:00:00Z",
    "book_id": BOOK, "title": "Emma",
}  # fmt: skip
DEEP = b'{"after":' * 100_000 + b"1" + b"}" * 100_000
# Each was, or may be, in a topic; none is an event or a heartbeat.
STRANGE = [
    b"", b"x", b"[]", b"null", b"5", b'"text"', b"{", b"\xff\xfe", b"\x00", b'{"after": 5}', b'{"after": []}',
    b'{"after": {"ts": "x"}}', b'{"after": {"ts": 5}}', b'{"after": {"ts": "2026-01-01T00:00:00"}}',
    b'{"after": {"ts": "9999-12-31T23:59:59Z"}}', b'{"after": {"ts": "0001-01-01T00:00:00+23:59"}}',
    b'{"after": {"ts": "\\ud800"}}', b'{"after": {}}', b'{"ts": "2026-01-01T00:00:00Z"}', b"{}", DEEP,
    b"[" * 1_000_000, b'{"after": ' + b"9" * 5000 + b"}", b'{"after": 1e999}', b'{"after": NaN}',
    b'{"after": {"ts": "2026-01-01T00:00:00Z"}, "after": {"ts": "2026-01-01T00:00:00Z"}}',
    b'{"after": {"ts": "2026-01-01T00:00:00Z", "fill": "' + b"a" * 2_000_000 + b'"}}',
]  # fmt: skip


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value[:40]))
def test_what_is_neither_event_nor_heartbeat(value: bytes) -> None:
    with pytest.raises(UnreadableError):
        records.event(value, TOPIC)
    with pytest.raises(UnreadableError):
        records.heartbeat(value, NOW, SKEW)


def mutated(valid: bytes) -> st.SearchStrategy[bytes]:
    """``valid`` with some bytes replaced, removed or put in."""
    changes = st.lists(
        st.tuples(st.integers(0, len(valid)), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4
    )

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        found = valid
        for at, gone, new in edits:
            found = found[:at] + new + found[at + gone :]
        return found

    return changes.map(change)


BEAT = json.dumps({"after": {"id": 1, "ts": "2026-01-01T00:00:00.000001Z"}, "op": "u"}).encode()
VALUES = st.none() | st.binary(max_size=200) | mutated(json.dumps(VALID).encode()) | mutated(BEAT)


@settings(deadline=None, max_examples=500)
@given(value=VALUES)
def test_whatever_comes_is_read_or_refused(value: bytes | None) -> None:
    """Nothing else happens; and a refusal can be written into a header, a log and a column."""
    with suppress(UnreadableError):
        assert records.event(value, TOPIC)["event_type"] == TOPIC
    with suppress(UnreadableError):
        beat = records.heartbeat(value, NOW, SKEW)
        assert beat is None or (beat.moment.tzinfo is UTC and beat.moment <= NOW + SKEW)


def test_heartbeats_that_say_something() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert records.heartbeat(b'{"after": {"ts": "2026-01-01T01:00:00+01:00"}}', NOW, SKEW) == Beat(moment, False)
    assert records.heartbeat(b'{"after": {"ts": "2026-01-01T00:00:00Z"}, "op": "r"}', NOW, SKEW) == Beat(moment, True)
    assert records.heartbeat(b'{"after": null, "op": "d"}', NOW, SKEW) is None
    assert records.heartbeat(None, NOW, SKEW) is None


def test_a_check_of_an_event_does_not_take_for_ever() -> None:
    """Unlike elements are compared each with each other."""
    body = {**VALID, "event_type": "inventory.rejected", "book_ids": [{}, []] * 30_000}
    with pytest.raises(UnreadableError, match="values"):
        records.event(json.dumps(body).encode(), "inventory.rejected")


@pytest.mark.parametrize("text", ["a\x00b\ud800", "x" * 5000, "\ud800" * 300])
def test_a_reason_can_be_written_everywhere(text: str) -> None:
    short = records.shortened(text)
    assert len(short.encode()) <= 300
    assert "\x00" not in short


@pytest.mark.parametrize(
    ("value", "headers", "known"),
    [
        (b"x", (("id", b'"00000000-0000-0000-0000-000000000001"'),), True),
        (b"x", (("id", b'{"schema":{},"payload":"00000000-0000-0000-0000-000000000001"}'),), True),
        (json.dumps({**VALID, "title": 5}).encode(), (("id", b"\xff"), ("id", None)), True),
        (b'{"event_id": 5}', (), False),
        (b"x", (("id", b"a" * 1_000_000), ("other", BOOK.encode())), False),
        (None, (), False),
    ],
)
def test_which_event_an_unreadable_record_was_meant_to_be(value: bytes | None, headers: Any, known: bool) -> None:
    found = event_id(Record(TOPIC, 0, 5, None, value, headers))
    assert (str(found) if found else None) == (BOOK if known else None)


def test_a_letter_of_a_record_that_no_topic_takes_is_cut() -> None:
    """A batch of gigabytes is small when it is packed."""
    value, key, headers = letter(Record(TOPIC, 0, 5, b"k", b"a" * 3_000_000), "invalid")
    assert (len(value or b""), key, dict(headers)["dlq.cut"]) == (65_536, None, b"of 3000000 bytes")
    assert dict(headers)["dlq.place"] == b"book.created/0/5"


@pytest.mark.anyio
async def test_no_record_stops_another(desk: Desk, log_stream: Any) -> None:
    """The worker itself: strange records among events and heartbeats, in every topic; keys and headers, too."""
    chance = random.Random(5)  # noqa: S311 # the same records in each run
    wanted = []
    strange = [value for value in STRANGE if len(value) < 10_000] + [DEEP, STRANGE[-1]]
    for number in range(150):
        base = bytearray(json.dumps(VALID).encode() if number % 2 else BEAT)
        for _ in range(3):
            base[chance.randrange(len(base))] = chance.randrange(256)
        strange.append(bytes(base))
    for number, value in enumerate(strange):
        headers = ((("a", b"\xff"), ("b", None)), ())[number % 2]
        desk.broker.put(TOPIC, value, partition=number % 2, key=b"\xff\x00", headers=headers)
        desk.broker.put(HEARTBEATS, value, key=b"\xff")
        if number % 10 == 0:
            wanted.append(f"good {number}")
            desk.publish(wanted[-1], partition=number % 2)
    moment = datetime.now(UTC) - timedelta(seconds=1)
    async with desk.working():
        await until(lambda: desk.committed() and desk.committed(1), "what was there")
        # Those of before tell nothing: the worker has just been given its partitions.
        desk.broker.heartbeat(HEARTBEATS, moment)
        desk.broker.put(HEARTBEATS, STRANGE[0])
        await until(lambda: moment in desk.moments, "the last heartbeat")
    assert sorted(set(desk.titles()) & set(wanted)) == sorted(wanted)
    # Nothing of a time to come was told.
    assert max(desk.moments) <= datetime.now(UTC)
    letters = desk.broker.values(f"{TOPIC}.dlq")
    assert len(letters) >= len(STRANGE)
    assert len(desk.letters()) == len(letters)
    assert counted(desk, HEARTBEATS, "unreadable") >= len(STRANGE)
    assert "heartbeat_unreadable" in {line["event"] for line in log_stream.events()}
    assert [len(desk.broker.records[TopicPartition(TOPIC, part)]) for part in (0, 1)] == [
        desk.committed(0), desk.committed(1),
    ]  # fmt: skip


@pytest.mark.anyio
async def test_what_the_database_refuses_is_set_aside_and_named(desk: Desk) -> None:
    desk.publish("nul \x00")
    desk.publish("good")
    async with desk.working():
        await until(lambda: desk.committed() == 2, "both to be dealt with")
    assert desk.titles() == ["good"]
    ((offset, event_id, reason),) = desk.letters()
    assert (offset, reason) == (0, "DataError (DataError)")
    assert event_id is not None


@pytest.mark.anyio
async def test_what_the_client_cannot_take_apart_is_passed_over_and_noticed(desk: Desk) -> None:
    """Packed in a way that it does not know: it raises out of poll, each time again."""
    for title in ("a", "b", "c", "d"):
        desk.publish(title)
    desk.broker.unreadable = {(TopicPartition(TOPIC, 0), 1), (TopicPartition(TOPIC, 0), 2)}
    desk.broker.put(HEARTBEATS, b"x")
    desk.broker.unreadable.add((TopicPartition(HEARTBEATS, 0), 0))
    desk.broker.heartbeat(HEARTBEATS, datetime.now(UTC))
    async with desk.working():
        await until(lambda: desk.titles() == ["a", "d"], "those that can be read")
        await until(lambda: desk.broker.committed.get(TopicPartition(HEARTBEATS, 0)) == 2, "the heartbeat")
    found = desk.rows.execute(sa.text("SELECT partition, from_offset, to_offset, reason FROM consumer_gaps"))
    assert [tuple(row) for row in found] == [(0, 1, 3, "unreadable")]
    # What was in there may have been an order.
    assert desk.moments == []
