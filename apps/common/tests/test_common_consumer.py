"""The worker that applies each event once: a real PostgreSQL, and a broker in memory behind kafka-python's classes."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from consumer_testing import HEARTBEATS, NOW, PARTS, TOPIC, Desk, broker, desk, rows
from kafka import TopicPartition

from bookstore_common import consumer, patience
from bookstore_common.consumer import ATTEMPTS
from bookstore_common.db import Session, not_now
from bookstore_common.health import CheckFailedError
from bookstore_common.heartbeats import _Pending
from bookstore_common.testing.kafka import until

__all__ = ["broker", "desk", "rows"]
pytestmark = pytest.mark.anyio


async def test_an_event_and_its_repeat_take_effect_once(desk: Desk) -> None:
    known = uuid.uuid4()
    desk.publish("a", event_id=known)
    desk.publish("a", event_id=known)
    desk.publish("b")
    async with desk.working():
        await until(lambda: desk.committed() == 3, "all to be consumed")
    assert desk.titles() == ["a", "b"]
    # The next process begins behind them.
    desk.publish("c")
    async with desk.working():
        await until(lambda: desk.committed() == 4, "the last one")
    assert desk.attempts == ["a", "b", "c"]


async def test_what_cannot_be_applied_is_set_aside_after_five_attempts(desk: Desk, log_stream: Any) -> None:
    desk.faults["bad"] = [ValueError("never")] * 100
    desk.publish("bad")
    desk.publish("good")
    async with desk.working():
        await until(lambda: desk.committed() == 2, "both to be dealt with")
    assert desk.attempts == ["bad"] * ATTEMPTS + ["good"]
    # Nothing of the attempts stayed, not even the event's id.
    assert desk.titles() == ["good"]
    assert desk.rows.execute(sa.text("SELECT count(*) FROM processed_events")).scalar_one() == 1
    (dead,) = desk.broker.records[TopicPartition(f"{TOPIC}.dlq", 0)]
    assert dead.value == desk.broker.values(TOPIC)[0]
    assert dict(dead.headers) == {"dlq.place": f"{TOPIC}/0/0".encode(), "dlq.reason": b"ValueError"}
    assert [line["event"] for line in log_stream.events()].count("event_failed") == ATTEMPTS


async def test_what_is_no_event_is_set_aside_at_once(desk: Desk) -> None:
    desk.broker.put(TOPIC, None)
    desk.broker.put(TOPIC, b"{")
    desk.broker.put(TOPIC, b"[]")
    desk.broker.event(TOPIC, {"book_id": "no uuid", "title": "x"})
    desk.publish("good")
    async with desk.working():
        await until(lambda: desk.committed() == 5, "all to be dealt with")
    assert len(desk.broker.values(f"{TOPIC}.dlq")) == 4
    assert desk.attempts == ["good"]


async def test_a_message_that_cannot_be_set_aside_comes_again(desk: Desk) -> None:
    desk.broker.put(TOPIC, b"{")
    desk.broker.failures["send"] = 2
    async with desk.working():
        await until(lambda: desk.committed() == 1, "it to be set aside")
    assert len(desk.broker.values(f"{TOPIC}.dlq")) == 1
    assert [made.closed for made in desk.broker.consumers] == [True, True, True]


async def test_a_database_that_is_away_is_waited_for(desk: Desk, log_stream: Any) -> None:
    """The connection ends under each of more attempts than an event has, and no event is given up."""
    gone = sa.text("SELECT pg_terminate_backend(pg_backend_pid())")
    left = [ATTEMPTS + 2]
    effect = desk.effect

    async def ended(session: Session, event: Mapping[str, Any]) -> None:
        await effect(session, event)
        if left[0]:
            left[0] -= 1
            await session.execute(gone)

    desk.effect = ended  # type: ignore[method-assign]
    desk.publish("a")
    async with desk.working():
        await until(lambda: desk.committed() == 1, "the event")
    assert (desk.titles(), len(desk.attempts)) == (["a"], ATTEMPTS + 3)
    assert f"{TOPIC}.dlq" not in {part.topic for part in desk.broker.records}
    assert "database_unavailable" in {line["event"] for line in log_stream.events()}


async def test_nothing_is_consumed_before_the_schema_is_there(desk: Desk, log_stream: Any) -> None:
    desk.schema_is_old = True
    desk.publish("a")
    async with desk.working():
        await until(log_stream.events, "the wait to be told")
        assert (desk.broker.consumers, desk.attempts) == ([], [])
        desk.schema_is_old = False
        await until(lambda: desk.committed() == 1, "the event")
    assert desk.titles() == ["a"]
    assert log_stream.events()[0]["reason"] == "run the migrations"


async def test_a_worker_can_end_while_it_waits_for_the_schema(desk: Desk) -> None:
    desk.schema_is_old = True
    async with desk.working() as task:
        pass
    assert task.done()


@pytest.mark.parametrize("missing", ["effects", "processed_events"])
async def test_a_table_that_is_not_there_is_no_fault_of_the_event(
    desk: Desk, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_off: list[Exception] = []

    def counted(error: Exception) -> bool:
        put_off.append(error)
        return not_now(error)

    monkeypatch.setattr(patience, "not_now", counted)
    desk.rows.execute(sa.text(f"ALTER TABLE {missing} RENAME TO hidden"))
    desk.publish("a")
    async with desk.working():
        await until(lambda: len(put_off) > ATTEMPTS, "more attempts than a fault of its own would get")
        assert (desk.committed(), desk.broker.values(f"{TOPIC}.dlq")) == (0, [])
        desk.rows.execute(sa.text(f"ALTER TABLE hidden RENAME TO {missing}"))
        await until(lambda: desk.committed() == 1, "the event")
    assert desk.titles() == ["a"]


async def test_a_worker_that_is_told_to_end_finishes_one_event_and_leaves_the_others(desk: Desk) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()
    effect = desk.effect

    async def slow(session: Session, event: Mapping[str, Any]) -> None:
        await effect(session, event)
        began.set()
        await go_on.wait()

    desk.effect = slow  # type: ignore[method-assign]
    for title in ("a", "b", "c"):
        desk.publish(title)
    desk.publish("d", partition=1)
    worker = desk.worker()
    async with worker.running() as task:
        await asyncio.wait_for(began.wait(), 30)
        worker._stopping = True
        go_on.set()
    assert task.exception() is None
    assert len(desk.titles()) == 1
    # One of either partition was the first; what was not done was not committed.
    assert desk.committed() + desk.committed(1) == 1
    desk.effect = effect  # type: ignore[method-assign]
    async with desk.working():
        await until(lambda: (desk.committed(), desk.committed(1)) == (3, 1), "the others")
    assert sorted(desk.titles()) == ["a", "b", "c", "d"]
    assert len(desk.attempts) == 4


async def test_offsets_that_could_not_be_committed_bring_repeats_and_no_second_effect(desk: Desk) -> None:
    desk.broker.failures.update(commit=1, poll=1, connect=1)
    desk.publish("a")
    async with desk.working():
        await until(lambda: desk.committed() == 1, "the commit")
    assert (desk.titles(), desk.attempts) == (["a"], ["a"])


async def test_a_heartbeat_is_told_when_everything_before_it_is_consumed(desk: Desk) -> None:
    release = asyncio.Event()
    effect = desk.effect

    async def slow(session: Session, event: Mapping[str, Any]) -> None:
        await effect(session, event)
        await release.wait()

    desk.effect = slow  # type: ignore[method-assign]
    async with desk.working():
        await until(lambda: desk.broker.consumers and desk.broker.consumers[0].assignment(), "the assignment")
        desk.broker.paused.set()
        desk.broker.heartbeat(HEARTBEATS, NOW)
        desk.publish("late", partition=1)
        desk.broker.paused.clear()
        await until(lambda: desk.attempts == ["late"], "the event to be under way")
        assert desk.moments == []
        release.set()
        await until(lambda: desk.moments == [NOW], "the heartbeat")


async def test_a_worker_that_is_not_alone_tells_no_heartbeat(desk: Desk, log_stream: Any) -> None:
    """Its own topics being empty says nothing: the other one may be behind."""
    desk.broker.elsewhere = {PARTS[1]}
    desk.publish("behind", partition=1)
    async with desk.working():
        await until(lambda: desk.broker.consumers and desk.broker.consumers[0].assignment(), "the assignment")
        desk.broker.heartbeat(HEARTBEATS, NOW)
        await until(lambda: "heartbeat_not_alone" in {line["event"] for line in log_stream.events()}, "the refusal")
        assert desk.moments == []
        # The other one goes: what it left is consumed first, and a new heartbeat counts.
        desk.broker.elsewhere = set()
        await until(lambda: desk.committed(1) == 1, "what was left")
        desk.broker.heartbeat(HEARTBEATS, NOW + timedelta(seconds=10))
        await until(lambda: desk.moments, "the heartbeat")
    assert desk.moments == [NOW + timedelta(seconds=10)]


async def test_what_a_heartbeat_waits_for_is_forgotten_with_its_consumer(desk: Desk) -> None:
    """The next consumer of a broker that lost records begins elsewhere; the old ends would be reached at once."""
    worker = desk.worker()
    async with worker.running():
        await until(lambda: desk.broker.consumers and desk.broker.consumers[0].assignment(), "the assignment")
        assert worker.heartbeats is not None
        worker.heartbeats._pending = _Pending(NOW, None, dict.fromkeys(PARTS, 0))
        desk.broker.failures["poll"] = 1
        await until(lambda: len(desk.broker.consumers) == 2, "the next consumer")
        await until(desk.broker.consumers[1].assignment, "its assignment")
        desk.broker.heartbeat(HEARTBEATS, NOW + timedelta(seconds=10))
        await until(lambda: desk.moments, "a heartbeat")
    assert desk.moments[-1] == NOW + timedelta(seconds=10)
    assert NOW not in desk.moments


async def test_readiness_follows_the_assignment(desk: Desk) -> None:
    worker = desk.worker()
    with pytest.raises(CheckFailedError, match="is Kafka up"):
        await worker.check()
    async with worker.running():
        await until(lambda: desk.broker.consumers and desk.broker.consumers[0].assignment(), "the assignment")
        await until(lambda: worker._assigned, "the worker to know")
        await worker.check()


ATTEMPTS_TO_CONNECT = """
import gc, os, threading, kafka
from bookstore_common.kafka import connect

def attempt():
    try:
        connect(getattr(kafka, "{kind}"), bootstrap_servers=["127.0.0.1:1"], bootstrap_timeout_ms=200)
    except kafka.errors.KafkaError:
        # A socket that it could not connect the client leaves to the garbage collector.
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

first, *others = [attempt() for _ in range(4)]
assert first[0] == 1, first
assert others == [first] * 3, (first, others)
"""


@pytest.mark.parametrize("kind", ["KafkaConsumer", "KafkaProducer", "KafkaAdminClient"])
def test_a_connection_that_fails_leaves_nothing_behind(kind: str) -> None:
    """The real client, in a process of its own; nobody listens at this port."""
    script = ATTEMPTS_TO_CONNECT.format(kind=kind)
    command = [sys.executable, "-W", "ignore", "-c", script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 # above
    assert done.returncode == 0, done.stderr


async def test_a_producer_that_cannot_be_made_takes_its_consumer_along(desk: Desk) -> None:
    desk.broker.failures["produce"] = 1
    async with desk.working():
        await until(lambda: len(desk.broker.consumers) == 2, "another attempt")
    assert desk.broker.consumers[0].closed


def raising(desk: Desk, state: str, times: int) -> None:
    """Let the database refuse the effect of "bad" with an SQLSTATE, so many times."""
    effect, left = desk.effect, [times]

    async def refused(session: Session, event: Mapping[str, Any]) -> None:
        await effect(session, event)
        if event["title"] == "bad" and left[0]:
            left[0] -= 1
            await session.execute(sa.text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"))

    desk.effect = refused  # type: ignore[method-assign]


@pytest.mark.parametrize("state", ["57014", "55P03", "40001", "40P01", "53200", "XX001", "22021", "42501"])
async def test_an_effect_that_never_ends_well_blocks_nobody(
    desk: Desk, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled for its time, without the locks that it needs: no database that is away."""
    monkeypatch.setattr(consumer, "_BUSY_PAUSE", 0.01)
    raising(desk, state, 100)
    bad = desk.publish("bad")
    desk.publish("good")
    async with desk.working():
        await until(lambda: desk.committed() == 2, "both to be dealt with")
    assert desk.attempts == ["bad"] * ATTEMPTS + ["good"]
    ((offset, event_id, _reason),) = desk.letters()
    assert (offset, str(event_id)) == (0, bad)


async def test_an_effect_that_is_always_too_slow_is_set_aside(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "_BUSY_PAUSE", 0.01)
    effect = desk.effect

    async def slow(session: Session, event: Mapping[str, Any]) -> None:
        await effect(session, event)
        if event["title"] == "slow":
            await session.execute(sa.text("SET LOCAL statement_timeout = 20"))
            await session.execute(sa.text("SELECT pg_sleep(10)"))

    desk.effect = slow  # type: ignore[method-assign]
    desk.publish("slow")
    desk.publish("good")
    async with desk.working():
        await until(lambda: desk.committed() == 2, "both to be dealt with")
    assert [reason for _, _, reason in desk.letters()] == ["OperationalError (QueryCanceled)"]
    assert desk.titles() == ["good"]


@pytest.mark.parametrize("state", ["53100", "53300", "57P01", "57P03", "58030", "25006", "08006"])
async def test_a_database_that_can_do_nothing_now_is_waited_for(desk: Desk, state: str) -> None:
    raising(desk, state, ATTEMPTS + 1)
    desk.publish("bad")
    async with desk.working():
        await until(lambda: desk.committed() == 1, "the event")
    assert (desk.titles(), desk.letters()) == (["bad"], [])


async def test_a_heartbeat_whose_action_fails_keeps_no_event(desk: Desk, log_stream: Any) -> None:
    faults: list[Exception] = [ValueError("unforeseen")]
    told = desk._told

    async def failing(moment: datetime) -> None:
        if faults:
            raise faults.pop()
        await told(moment)

    desk._told = failing  # type: ignore[method-assign]
    async with desk.working():
        await until(lambda: desk.broker.consumers and desk.broker.consumers[0].assignment(), "the assignment")
        desk.broker.heartbeat(HEARTBEATS, NOW)
        await until(lambda: not faults, "the fault")
        desk.publish("a")
        desk.broker.heartbeat(HEARTBEATS, NOW + timedelta(seconds=10))
        await until(lambda: desk.moments, "the next heartbeat")
    assert (desk.moments, desk.titles()) == ([NOW + timedelta(seconds=10)], ["a"])
    assert "heartbeat_failed" in {line["event"] for line in log_stream.events()}
