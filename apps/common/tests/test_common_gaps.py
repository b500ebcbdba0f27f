"""What a worker never saw: noticed, written down, and no heartbeat told until it was given again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from consumer_testing import HEARTBEATS, NOW, PARTS, TOPIC, Desk, broker, desk, open_gaps, rows

from bookstore_common.testing.kafka import until

__all__ = ["broker", "desk", "rows"]
pytestmark = pytest.mark.anyio


async def consume(desk: Desk, *titles: str) -> None:
    """Let a worker consume events of partition 0, and end."""
    for title in titles:
        desk.publish(title)
    async with desk.working():
        await until(lambda: desk.committed() == desk.broker.end(PARTS[0]), "the events")


async def assigned(desk: Desk) -> None:
    def there() -> bool:
        made = desk.broker.consumers
        return bool(made and not made[-1].closed and made[-1].assignment())

    await until(there, "the assignment")


async def withheld(desk: Desk, log_stream: Any) -> None:
    """Wait until a heartbeat was there, and was not told."""
    desk.broker.heartbeat(HEARTBEATS, NOW)
    await until(lambda: "heartbeat_withheld" in {line["event"] for line in log_stream.events()}, "the refusal")
    assert desk.moments == []


async def test_events_that_expired_unread_are_a_gap_and_no_heartbeat_is_told(desk: Desk, log_stream: Any) -> None:
    await consume(desk, "a")
    desk.publish("lost")
    desk.publish("also lost")
    desk.publish("b")
    desk.broker.expire(PARTS[0], 3)
    async with desk.working():
        await until(lambda: desk.titles() == ["a", "b"], "what is left")
        await assigned(desk)
        await withheld(desk, log_stream)
        assert open_gaps(desk) == [(0, 1, 3, "expired")]
        # Somebody gave the worker what it lacked.
        desk.rows.execute(sa.text("UPDATE consumer_gaps SET repaired_at = now()"))
        desk.broker.heartbeat(HEARTBEATS, NOW + timedelta(seconds=10))
        await until(lambda: desk.moments, "a heartbeat")
    assert desk.moments == [NOW + timedelta(seconds=10)]
    consumed = desk.rows.execute(sa.text("SELECT consumed_at <= noticed_at FROM consumer_gaps")).scalars()
    assert list(consumed) == [True]


async def test_a_gap_is_noticed_once(desk: Desk) -> None:
    await consume(desk, "a")
    desk.publish("lost")
    desk.broker.expire(PARTS[0], 2)
    for _ in range(2):
        async with desk.working():
            await until(lambda: desk.committed() == 2, "the offset behind the gap")
    desk.rows.execute(sa.text("UPDATE consumer_gaps SET repaired_at = now()"))
    async with desk.working():
        await assigned(desk)
        desk.broker.heartbeat(HEARTBEATS, NOW)
        await until(lambda: desk.moments, "the heartbeat")
    assert desk.rows.execute(sa.text("SELECT count(*) FROM consumer_gaps")).scalar_one() == 1


async def test_a_broker_that_comes_back_empty_is_a_gap(desk: Desk, log_stream: Any) -> None:
    """Its offsets are gone, too; the database knows that there were some."""
    await consume(desk, "a")
    desk.broker.records.clear()
    desk.broker.committed.clear()
    async with desk.working():
        await until(lambda: open_gaps(desk), "the gap")
        await withheld(desk, log_stream)
    assert open_gaps(desk) == [(0, -1, 0, "unknown"), (1, -1, 0, "unknown")]


async def test_a_broker_that_comes_back_with_less_is_a_gap(desk: Desk) -> None:
    await consume(desk, "a", "b", "c")
    del desk.broker.records[PARTS[0]][1:]
    async with desk.working():
        await until(lambda: open_gaps(desk), "the gap")
        await until(lambda: desk.committed() == 1, "to read from the beginning")
    assert open_gaps(desk) == [(0, 3, 0, "reset")]
    assert desk.titles() == ["a", "b", "c"]


async def test_a_gap_is_noticed_while_the_worker_runs(desk: Desk) -> None:
    desk.publish("a")
    async with desk.working():
        await until(lambda: desk.committed() == 1, "the first")
        with desk.broker.lock:
            desk.publish("lost")
            desk.broker.expire(PARTS[0], 2)
        await until(lambda: open_gaps(desk), "the gap")
        with desk.broker.lock:
            desk.broker.records[PARTS[0]].clear()
            desk.broker.expire(PARTS[0], 0)
        await until(lambda: len(open_gaps(desk)) == 2, "the topic that was made anew")
        desk.publish("b")
        await until(lambda: desk.titles() == ["a", "b"], "to go on")
    assert open_gaps(desk) == [(0, 1, 2, "expired"), (0, 2, 0, "reset")]


async def test_a_worker_that_never_consumed_lacks_what_expired_before(desk: Desk) -> None:
    desk.publish("lost")
    desk.broker.expire(PARTS[0], 1)
    desk.publish("a")
    async with desk.working():
        await until(lambda: desk.titles() == ["a"], "what is left")
    assert open_gaps(desk) == [(0, 0, 1, "expired")]


async def test_neither_a_new_worker_nor_a_topic_that_grew_has_a_gap(desk: Desk) -> None:
    async with desk.working():
        await assigned(desk)
        desk.broker.heartbeat(HEARTBEATS, NOW)
        await until(lambda: desk.moments, "the heartbeat")
    await consume(desk, "a")
    del desk.broker.committed[PARTS[1]]
    desk.publish("b", partition=1)
    async with desk.working():
        await until(lambda: desk.committed(1) == 1, "the new partition")
    assert open_gaps(desk) == []


async def lose(desk: Desk) -> None:
    await consume(desk, "a")
    desk.publish("lost")
    desk.broker.expire(PARTS[0], 2)


async def test_a_new_snapshot_of_the_source_repairs(desk: Desk) -> None:
    """It publishes the whole outbox again."""
    await lose(desk)
    async with desk.working():
        await until(lambda: open_gaps(desk), "the gap")
        await assigned(desk)
        desk.broker.heartbeat(HEARTBEATS, NOW, "r")
        desk.publish("found")
        desk.broker.heartbeat(HEARTBEATS, NOW + timedelta(seconds=10))
        await until(lambda: desk.moments, "a heartbeat")
    assert desk.moments == [NOW + timedelta(seconds=10)]
    assert (open_gaps(desk), desk.titles()) == ([], ["a", "found"])


@pytest.mark.parametrize("fault", ["the snapshot is older than the gap", "the worker was off too long"])
async def test_a_snapshot_that_cannot_have_it_all_repairs_nothing(desk: Desk, fault: str, log_stream: Any) -> None:
    await lose(desk)
    if fault == "the worker was off too long":
        desk.rows.execute(sa.text("UPDATE processed_events SET processed_at = now() - interval '23 days'"))
    async with desk.working():
        await until(lambda: open_gaps(desk), "the gap")
        await assigned(desk)
        desk.broker.heartbeat(HEARTBEATS, NOW, "r")
        if fault == "the snapshot is older than the gap":
            desk.rows.execute(sa.text("UPDATE consumer_gaps SET noticed_at = now() + interval '1 minute'"))
        await withheld(desk, log_stream)
    assert len(open_gaps(desk)) == 1


async def test_metrics_tell_what_is_open(desk: Desk) -> None:
    await lose(desk)
    desk.broker.put(TOPIC, b"x")
    async with desk.working():
        await until(desk.letters, "the dead letter")
        await desk.metrics.expose()
    read = desk.metrics.registry.get_sample_value
    assert read("consumer_gaps_total", {"topic": TOPIC, "reason": "expired"}) == 1
    assert (read("consumer_gaps_open"), read("dead_letters_open")) == (1, 1)


async def test_a_time_to_come_is_never_told(desk: Desk) -> None:
    """The clocks may differ a little; what is told is never ahead of the database's."""
    async with desk.working():
        await assigned(desk)
        desk.broker.heartbeat(HEARTBEATS, datetime.now(UTC) + timedelta(days=1))
        desk.broker.heartbeat(HEARTBEATS, datetime.now(UTC) + timedelta(seconds=30))
        await until(lambda: desk.moments, "the second")
    assert len(desk.moments) == 1
    assert desk.moments[0] <= datetime.now(UTC)
