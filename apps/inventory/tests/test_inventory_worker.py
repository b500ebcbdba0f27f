"""What events do to stock: each once, in any order (SPEC 5.4, 5.6). Real PostgreSQL; Kafka comes in the live tests."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from inventory_testing import book, check_law, order
from kafka import TopicPartition

from bookstore_common import consumer, events
from bookstore_common.chores import Housekeeping
from bookstore_common.consumer import Worker
from bookstore_common.db import Database
from bookstore_common.events import EventLine
from bookstore_common.metrics import Metrics
from bookstore_common.testing.kafka import Broker, until, worker_settings
from inventory.app import Service
from inventory.events.service import EFFECTS, sweep
from inventory.reservations.service import ReservationService
from inventory.worker import __main__ as process

pytestmark = pytest.mark.anyio
ORDER = uuid.UUID(order(1))
Apply = Callable[..., Awaitable[None]]


@pytest.fixture
async def apply(service: Service) -> Apply:
    """Apply events in turn, each in a transaction of its own, as the worker does."""

    async def run(*wanted: events.Event) -> None:
        for event in wanted:
            events.validate(event)
            async with service.database.transaction() as session:
                await EFFECTS[event.event_type](session, event.payload)

    return run


def created(copies: int = 2, number: int = 1) -> events.Event:
    lines = [EventLine(uuid.UUID(book(number)), copies, Decimal("10.00"))]
    return events.order_created(order_id=ORDER, user_id="someone", items=lines, total=Decimal(10 * copies))


def cancelled(copies: int = 2, number: int = 1) -> events.Event:
    lines = [EventLine(uuid.UUID(book(number)), copies)]
    return events.order_cancelled(order_id=ORDER, reason="changed_mind", items=lines)


@pytest.fixture
def state(rows: Any) -> Callable[[], tuple[int, int, str | None]]:
    """Quantity and reserved of book 1, and the status of the order's reservation; the law holds."""

    def read() -> tuple[int, int, str | None]:
        check_law(rows)
        quantity, reserved = rows.execute(
            "SELECT quantity, reserved FROM inventory WHERE book_id = %s", (book(1),)
        ).fetchone()
        status = rows.execute("SELECT DISTINCT status FROM reservations WHERE order_id = %s", (ORDER,)).fetchone()
        return quantity, reserved, status and status[0]

    return read


def rejections(rows: Any) -> list[Any]:
    found = rows.execute("SELECT payload FROM outbox_events WHERE event_type = 'inventory.rejected'").fetchall()
    for (payload,) in found:
        events.validate(payload)
    return [(payload["order_id"], payload["book_ids"]) for (payload,) in found]


async def hold(service: Service, copies: int = 2, *, ended: timedelta = timedelta(0)) -> None:
    """What I-04 does; ``ended`` ago, if given."""
    async with service.database.transaction() as session:
        holding = ReservationService(session, service.internal.state.reservation_metrics, timedelta(minutes=15) - ended)
        await holding.hold(ORDER, {uuid.UUID(book(1)): copies}, "ecom-service")


async def test_an_order_takes_what_was_held_for_it(service: Service, apply: Apply, state: Any) -> None:
    await hold(service)
    assert state() == (50, 2, "HELD")
    await apply(created())
    assert state() == (48, 0, "COMMITTED")


async def test_a_repeat_under_another_id_takes_nothing_more(service: Service, apply: Apply, state: Any) -> None:
    await hold(service)
    await apply(created(), created())
    assert state() == (48, 0, "COMMITTED")


async def test_a_cancelled_order_gives_back_what_it_took(service: Service, apply: Apply, state: Any) -> None:
    await hold(service)
    await apply(created(), cancelled(), cancelled())
    assert state() == (50, 0, "RELEASED")


async def test_cancel_before_create_wins(service: Service, apply: Apply, state: Any) -> None:
    await hold(service)
    await apply(cancelled(), created())
    assert state() == (50, 0, "RELEASED")


async def test_cancel_without_a_hold_before_create_wins(apply: Apply, state: Any) -> None:
    await apply(cancelled(), created())
    assert state() == (50, 0, None)


@pytest.mark.parametrize(
    ("table", "columns"),
    [("cancelled_orders", "order_id, cancelled_at"), ("processed_events", "event_id, processed_at, topic")],
)
async def test_what_no_event_can_ask_for_any_more_is_forgotten(
    service: Service, rows: Any, table: str, columns: str
) -> None:
    """As the service's own role, which must be allowed to."""
    topic = ", 'order.created'" if "topic" in columns else ""
    for number, days in ((1, 59), (2, 61)):
        values = f"%s, now() - make_interval(days => %s){topic}"
        rows.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})", (order(number), days))
    assert await Housekeeping(service.database, Metrics(), process.CHORES).round()
    key = columns.partition(",")[0]
    assert rows.execute(f"SELECT {key}::text FROM {table}").fetchall() == [(order(1),)]


async def test_without_a_hold_the_copies_are_deducted(apply: Apply, state: Any) -> None:
    await apply(created())
    assert state() == (48, 0, "COMMITTED")
    await apply(cancelled())
    assert state() == (50, 0, "RELEASED")


async def test_a_hold_that_was_given_back_does_not_mean_that_there_is_no_order(
    service: Service, apply: Apply, state: Any, rows: Any
) -> None:
    await hold(service)
    rows.execute("UPDATE reservations SET status = 'RELEASED'")
    rows.execute("UPDATE inventory SET reserved = 0 WHERE book_id = %s", (book(1),))
    rows.execute(
        "INSERT INTO stock_movements (book_id, delta, reserved_delta, reason, actor)"
        " VALUES (%s, 0, -2, 'released', 't')",
        (book(1),),
    )
    await apply(created())
    assert state() == (48, 0, "COMMITTED")


async def test_copies_that_are_not_there_reject_the_order_and_change_nothing(
    apply: Apply, state: Any, rows: Any
) -> None:
    before = state()
    await apply(created(copies=4, number=29))
    assert rejections(rows) == [(str(ORDER), [book(29)])]
    assert state() == before
    await apply(cancelled(copies=4, number=29))
    assert state() == before


async def test_an_unknown_book_rejects_the_order(apply: Apply, rows: Any) -> None:
    line = EventLine(uuid.uuid4(), 1, Decimal("10.00"))
    await apply(events.order_created(order_id=ORDER, user_id="x", items=[line], total=Decimal(10)))
    assert rejections(rows) == [(str(ORDER), [str(line.book_id)])]


async def test_a_new_book_has_no_copies_and_a_known_one_keeps_its(apply: Apply, state: Any, rows: Any) -> None:
    new = uuid.uuid4()
    await apply(
        events.book_created(book_id=new, title="New"), events.book_created(book_id=uuid.UUID(book(1)), title="Old")
    )
    assert rows.execute("SELECT quantity FROM inventory WHERE book_id = %s", (new,)).fetchone() == (0,)
    assert state()[:2] == (50, 0)


async def test_only_holds_that_ended_before_the_moment_expire(service: Service, state: Any) -> None:
    await hold(service, ended=timedelta(minutes=14))  # ends in a minute
    now = datetime.now(UTC)
    assert (await sweep(service.database, now)).expired == 0
    assert state() == (50, 2, "HELD")
    assert (await sweep(service.database, now + timedelta(minutes=2))).expired == 1
    assert state() == (50, 0, "EXPIRED")
    assert (await sweep(service.database, now + timedelta(minutes=2))).expired == 0


async def test_an_expired_hold_is_deducted_if_the_order_comes_after_all(
    service: Service, apply: Apply, state: Any
) -> None:
    await hold(service)
    assert (await sweep(service.database, datetime.now(UTC) + timedelta(hours=1))).expired == 1
    await apply(created())
    assert state() == (48, 0, "COMMITTED")


async def test_a_committed_order_never_expires(service: Service, apply: Apply, state: Any) -> None:
    await hold(service)
    await apply(created())
    assert (await sweep(service.database, datetime.now(UTC) + timedelta(hours=1))).expired == 0
    assert state() == (48, 0, "COMMITTED")


async def test_a_hold_that_contradicts_its_stock_does_not_keep_the_others(
    service: Service, rows: Any, log_stream: Any
) -> None:
    """More copies are held than reserved; nobody's event is to wait for that."""
    await hold(service)
    rows.execute(
        "INSERT INTO reservations (order_id, book_id, quantity, status, expires_at)"
        " SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, %s, 5, 'HELD', now()"
        " FROM generate_series(1, 120) n",
        (book(2),),
    )
    swept = await sweep(service.database, datetime.now(UTC) + timedelta(hours=1))
    assert (swept.expired, swept.failed) == (1, 120)
    assert rows.execute("SELECT DISTINCT status FROM reservations WHERE order_id = %s", (ORDER,)).fetchone() == (
        "EXPIRED",
    )
    assert [line["event"] for line in log_stream.events()].count("hold_not_expired") == 120


@pytest.fixture
async def worked(environment: Any, fresh: str) -> AsyncIterator[tuple[Broker, Worker]]:
    """The process's own worker, with a broker in memory."""
    settings = worker_settings(environment(fresh))
    database, metrics = Database(settings, process.SERVICE), Metrics()
    topics = {**dict.fromkeys(EFFECTS, 3), process.HEARTBEATS: 1}
    with Broker(topics).behind(consumer) as broker:
        yield broker, process.make_worker(settings, database, metrics)
    await database.close()


async def test_the_worker_commits_a_hold_once_and_expires_only_what_no_order_claims(
    service: Service, worked: tuple[Broker, Worker], state: Any, rows: Any
) -> None:
    broker, worker = worked
    await hold(service, ended=timedelta(minutes=16))
    unclaimed = uuid.UUID(order(2))
    async with service.database.transaction() as session:
        holding = ReservationService(session, service.internal.state.reservation_metrics, timedelta(minutes=-1))
        await holding.hold(unclaimed, {uuid.UUID(book(1)): 3}, "ecom-service")
    event = created()
    async with worker.running():
        await until(lambda: broker.consumers and broker.consumers[0].assignment(), "the assignment")
        broker.paused.set()
        # Both holds are over when the heartbeat comes; the order of one of them is published before it.
        broker.event("order.created", event.payload, partition=1, event_id=event.event_id)
        broker.event("order.created", event.payload, partition=1, event_id=event.event_id)
        broker.heartbeat(process.HEARTBEATS, datetime.now(UTC))
        broker.paused.clear()
        expired = "SELECT DISTINCT status FROM reservations WHERE order_id = %s"
        await until(lambda: rows.execute(expired, (unclaimed,)).fetchone() == ("EXPIRED",), "the sweep")
    assert state() == (48, 0, "COMMITTED")
    assert rows.execute("SELECT count(*) FROM processed_events").fetchone() == (1,)
    assert not [part for part in broker.records if part.topic.endswith(".dlq")]


async def test_a_worker_that_was_off_for_longer_than_topics_keep_events_sells_nothing_twice(
    service: Service, worked: tuple[Broker, Worker], state: Any, rows: Any, log_stream: Any
) -> None:
    """The order's event expired unread; its hold must not, until the event was given again."""
    broker, worker = worked
    await hold(service, ended=timedelta(days=8))
    event = created()
    rows.execute(
        "INSERT INTO processed_events (event_id, topic, processed_at)"
        " VALUES (gen_random_uuid(), 'order.created', now() - interval '8 days')"
    )
    part = TopicPartition("order.created", 1)
    broker.event("order.created", event.payload, partition=1, event_id=event.event_id)
    broker.committed.update({TopicPartition(topic, number): 0 for topic in EFFECTS for number in range(3)})
    broker.expire(part, 1)
    async with worker.running():
        await until(lambda: broker.committed.get(part) == 1, "what is behind the gap")
        broker.heartbeat(process.HEARTBEATS, datetime.now(UTC))
        await until(lambda: "heartbeat_withheld" in {line["event"] for line in log_stream.events()}, "a heartbeat")
        assert state() == (50, 2, "HELD")
        broker.event("order.created", event.payload, partition=1, event_id=event.event_id)
        await until(lambda: state()[2] == "COMMITTED", "what was given again")
    assert state() == (48, 0, "COMMITTED")
    gap = rows.execute("SELECT topic, partition, from_offset, to_offset, reason FROM consumer_gaps").fetchall()
    assert gap == [("order.created", 1, 0, 1, "expired")]
