"""A new snapshot beside the stream: killed it goes on, changes pass meanwhile, and afterwards Kafka has what the source has."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.debezium_servers import sentence

from .pipeline import Debezium, Kafka, until, values
from .test_door import ask

# The first test of a run also renders, compiles and starts a broker, on a machine that may be busy.
pytestmark = pytest.mark.timeout(900)
TOPIC = "cdc.ecom.public.orders"
OFFSETS = "debezium.ecom.offsets"
HEARTBEATS = "cdc.ecom.public.cdc_heartbeat"
ORDERS = 50_000
# What is published and not yet noted when the server is killed; a chunk has 1,000 rows at most.
AGAIN = 4_000


@pytest.fixture
def streaming(debezium: Debezium) -> Debezium:
    """The server, after the first snapshot of a shop that has ORDERS orders since."""
    debezium.first_snapshot()
    debezium.container.kill()
    with debezium.postgres.connect(debezium.database) as connection:
        until(lambda: slot_is_free(connection), "the slot to be free")
        connection.execute("SELECT pg_drop_replication_slot('debezium_ecom_slot')")
        connection.execute(
            "INSERT INTO orders (id, user_id, status, total, shipping)"
            " SELECT gen_random_uuid(), 'someone', 'CONFIRMED', 10, '{}' FROM generate_series(1, %s)", (ORDERS,),
        )  # fmt: skip
        connection.commit()
    return debezium


def slot_is_free(connection: Any) -> bool:
    """Whether the killed server's session has ended."""
    row = connection.execute("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'debezium_ecom_slot'").fetchone()
    return bool(row and row[0])


def slots(debezium: Debezium) -> int:
    """How many slots there are."""
    with debezium.postgres.connect() as connection:
        return len(connection.execute("SELECT FROM pg_replication_slots").fetchall())


def slot_is_made(debezium: Debezium) -> bool:
    """Whether there is a slot, and no transaction is waited for to make it."""
    with debezium.postgres.connect() as connection:
        return bool(connection.execute("SELECT FROM pg_replication_slots WHERE confirmed_flush_lsn IS NOT NULL").fetchall())


def kept(kafka: Kafka, kind: str) -> list[dict[str, Any]]:
    """What the guard kept of a kind, oldest first."""
    records = kafka.read(OFFSETS)
    return [json.loads(one.value) for one in records if one.value and one.key and json.loads(one.key)[0] == kind]


def done(kafka: Kafka) -> int:
    """Orders that the ledger counts as done."""
    note, ledger = kept(kafka, "guard")[-1], kept(kafka, "guard-snapshot")[-1]
    return int(ledger["tables"].get("orders", {}).get("rows", 0)) if ledger["since"] == note["since"] else 0


def state(changes: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Status and total of each order that the changes lead to."""
    orders: dict[str, tuple[str, str]] = {}
    for one in changes:
        if one["after"]:
            orders[one["after"]["id"]] = (one["after"]["status"], one["after"]["total"])
        else:
            orders.pop(one["before"]["id"], None)
    return orders


def source(debezium: Debezium) -> dict[str, tuple[str, str]]:
    """Status and total of each order of the source."""
    with debezium.postgres.connect(debezium.database) as connection:
        return {str(key): (str(status), str(total)) for key, status, total in connection.execute("SELECT id, status, total FROM orders")}


class Shop:
    """Changes rows all over the table while a snapshot reads it."""

    def __init__(self, debezium: Debezium) -> None:
        self._debezium = debezium
        self._stop = threading.Event()
        self.changes: Counter[str] = Counter()
        # When each order of its own was committed, by the clock that the broker's records have, too.
        self.committed: dict[str, float] = {}

    def work(self) -> None:
        """Until it is told to stop: some updates, deletions, an order, and a row that changes all the time."""
        insert = "INSERT INTO orders (id, user_id, status, total, shipping) VALUES (%s, 'probe', 'CONFIRMED', 1, '{}')"
        some = "id IN (SELECT id FROM orders WHERE user_id = 'someone' AND id > gen_random_uuid() ORDER BY id LIMIT {})"
        with self._debezium.postgres.connect(self._debezium.database) as connection:
            connection.autocommit = True
            hot = str(uuid.uuid4())
            connection.execute(insert, (hot,))
            while not self._stop.is_set():
                updated = connection.execute("UPDATE orders SET status = 'SHIPPED', total = total + 1 WHERE " + some.format(20))
                deleted = connection.execute("DELETE FROM orders WHERE " + some.format(3))
                connection.execute("UPDATE orders SET total = total + 1 WHERE id = %s", (hot,))
                self.changes.update(updated=updated.rowcount, deleted=deleted.rowcount)
                key = str(uuid.uuid4())
                connection.execute(insert, (key,))
                self.committed[key] = time.time()
                self._stop.wait(0.02)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Work beside what is done within."""
        thread = threading.Thread(target=self.work)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(60)

    def delays(self, records: list[Any], since: float) -> list[float]:
        """How long after its commit each order of ``since`` or later was published, of those between rows of a snapshot."""
        found: list[float] = []
        streamed: list[float] = []
        for record in records:
            change = json.loads(record.value) if record.value else {"op": "d"}
            if change["op"] == "r":
                found, streamed = found + streamed, []
            elif change["op"] == "c" and self.committed.get(change["after"]["id"], 0) > since:
                streamed.append(record.timestamp / 1000 - self.committed[change["after"]["id"]])
        return found


def test_one_that_is_killed_goes_on_and_changes_pass_meanwhile(streaming: Debezium, kafka: Kafka) -> None:
    known = len(kafka.read(TOPIC))
    shop = Shop(streaming)
    with shop.open():
        streaming.container.restart()
        until(lambda: done(kafka) > ORDERS // 10, "a part of the snapshot")
        streaming.container.kill()
        first = done(kafka)
        assert first < ORDERS, "killed too late"
        since = kept(kafka, "guard")[-1]["since"]
        streaming.container.restart()
        until(lambda: streaming.guard_says("a new snapshot goes on"), "the guard to go on")
        # The server needs some seconds to start; the snapshot goes on without it.
        until(streaming.reads, "the server to stream")
        steady = time.time()
        assert done(kafka) < ORDERS, "the snapshot was over before the server streamed"
        until(streaming.compared, "the comparison", 300)
        # Nothing was begun anew: neither the note nor the slot.
        assert kept(kafka, "guard")[-1]["since"] == since
    streaming.catch_up()
    assert shop.changes["updated"] > 100
    assert shop.changes["deleted"] > 20
    records = kafka.read(TOPIC)
    assert state(values(records)) == source(streaming)
    # Of what was done before it was killed no row was read again.
    read = [one["after"]["id"] for one in values(records[known:]) if one["op"] == "r"]
    assert len(read) < len(set(read)) + AGAIN
    progress = [one for one in kept(kafka, "guard-progress") if one["stage"] == "snapshot" and one["since"] >= since]
    rows = [one["rows"] for one in progress]
    assert rows == sorted(rows)
    assert {one["before"] for one in progress} >= {0}
    assert max(one["before"] for one in progress) >= first
    delays = sorted(shop.delays(records[known:], steady))
    assert len(delays) > 5
    assert delays[len(delays) // 2] < 1.0, delays


def test_killed_again_and_again_at_any_moment(streaming: Debezium, kafka: Kafka) -> None:
    shop = Shop(streaming)
    with shop.open():
        for moment, condition in {
            "the guard to decide": lambda: streaming.guard_says("SLOT_ABSENT"),
            "a slot": lambda: slots(streaming) == 1,
            "the snapshot to begin": lambda: streaming.guard_says("a new snapshot"),
            "the first rows": lambda: done(kafka) > 0,
            "half of the rows": lambda: done(kafka) > ORDERS // 2,
            "the comparison": lambda: kept(kafka, "guard-progress")[-1]["stage"] == "comparison",
        }.items():
            streaming.container.restart()
            until(condition, moment)
            streaming.container.kill()
        streaming.container.restart()
        until(streaming.compared, "the comparison", 300)
    streaming.catch_up()
    assert state(values(kafka.read(TOPIC))) == source(streaming)


def told(debezium: Debezium) -> dict[str, Any]:
    """What the door says of the snapshot."""
    status, _, body = ask(debezium, "/q/snapshot")
    assert status == 200
    progress: dict[str, Any] = json.loads(body)
    return progress


def test_one_that_waits_for_a_transaction_says_for_which_and_goes_on_when_it_ends(streaming: Debezium, kafka: Kafka) -> None:
    streaming.container.restart()
    # To make a slot waits for transactions, too; the rows wait for the server to stream, which takes it seconds.
    until(lambda: slot_is_made(streaming), "a slot")
    one_order = "UPDATE orders SET total = 11 WHERE id = (SELECT id FROM orders LIMIT 1) RETURNING pg_backend_pid()"
    with streaming.postgres.connect(streaming.database) as connection, connection.transaction():
        connection.execute("SET application_name = 'somebody at lunch'")
        (pid,) = connection.execute(one_order).fetchone() or (0,)
        until(lambda: "waiting" in told(streaming), "the door to say so")
        progress = told(streaming)
        assert progress["stage"] == "snapshot"
        (user,) = connection.execute("SELECT current_user").fetchone() or ("",)
        waiting = progress["waiting"]
        assert waiting["seconds"] >= 2
        assert waiting == {"pid": pid, "user": user, "application": "somebody at lunch", "seconds": waiting["seconds"]}
        holder = f"{user}, application somebody at lunch, pid {pid}"
        assert sentence(progress).endswith(f"; waits {waiting['seconds']} s for the transaction of {holder} (BK-447)")
        until(lambda: streaming.guard_says("BK-447"), "the guard to say so")
        # The stream goes on meanwhile.
        key = str(uuid.uuid4())
        with streaming.postgres.connect(streaming.database) as other:
            other.execute("INSERT INTO orders (id, user_id, status, total, shipping) VALUES (%s, 'other', 'CONFIRMED', 1, '{}')", (key,))
        until(lambda: any(key.encode() in one.key for one in kafka.read(TOPIC)), "the change to be published")
        assert done(kafka) < ORDERS
        assert streaming.container.running
    until(streaming.compared, "the comparison", 300)
    assert told(streaming) == {"stage": "none"}
    streaming.catch_up()
    assert state(values(kafka.read(TOPIC))) == source(streaming)


def test_a_row_and_an_event_look_as_the_server_publishes_them(debezium: Debezium, kafka: Kafka) -> None:
    book, event = (str(uuid.uuid4()) for _ in range(2))
    strange = "a'\"|\\ ł\n\t😀"
    with debezium.postgres.connect(debezium.database) as connection:
        connection.execute("ALTER TABLE books ADD COLUMN day date DEFAULT '2026-02-28', ADD COLUMN share float8 DEFAULT 0.5")
        connection.execute(
            "INSERT INTO books (id, title, author, genre, price, isbn, description) VALUES (%s, %s, 'A', 'G', 10.50, NULL, 'long')",
            (book, strange),
        )
        connection.execute(
            "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, request_id)"
            " VALUES (%s, 'order', %s, 'order.cancelled', %s, '4f0c5d1e-of.the_request')",
            (event, strange, json.dumps({"text": strange, "total": "1.10", "count": 3, "none": None, "list": [{"a": True}, {"a": False}]})),
        )
        connection.commit()
        debezium.first_snapshot()
        connection.execute("UPDATE books SET price = price WHERE id = %s", (book,))
        connection.execute("CREATE TEMP TABLE moved AS SELECT * FROM outbox_events WHERE id = %s", (event,))
        connection.execute("DELETE FROM outbox_events WHERE id = %s", (event,))
        connection.execute("INSERT INTO outbox_events SELECT * FROM moved")
        connection.commit()
    debezium.catch_up()
    records = [one for one in kafka.read("cdc.ecom.public.books") if book.encode() in one.key]
    (first, second) = values(records)
    # The analytics' columns; what of other types a record may hold nobody reads.
    assert {name: value for name, value in first["after"].items() if name not in ("day", "share", "updated_at", "version")} == {
        name: value for name, value in second["after"].items() if name not in ("day", "share", "updated_at", "version")
    }
    assert list(first["after"]) == list(second["after"])
    assert (first["op"], second["op"], len({one.key for one in records})) == ("r", "u", 1)
    (published, streamed) = sorted(kafka.read_all("order.cancelled"), key=lambda one: int(one.timestamp))
    assert (published.key, published.partition) == (streamed.key, streamed.partition)
    assert json.loads(published.value) == json.loads(streamed.value)
    # The ids of the event and of the request that caused it, and nothing else that Kafka would keep of each record.
    assert published.headers == streamed.headers
    assert [name for name, _ in streamed.headers] == ["id", "request_id"]


def audit(debezium: Debezium) -> str:
    """Write a digest of the standing audit into the outbox; its aggregate's id."""
    key = str(uuid.uuid4())
    statement = f"VALUES (gen_random_uuid(), 'audit', '{key}', 'cdc.audit', '{{}}')"
    columns = "id, aggregate_type, aggregate_id, event_type, payload"
    debezium.postgres.execute(f"INSERT INTO outbox_events ({columns}) {statement}", debezium.database)
    return key


def test_no_heartbeat_passes_before_all_events_have_and_no_audit_before_all_rows(streaming: Debezium, kafka: Kafka) -> None:
    many = 20_000
    statement = (
        "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)"
        f" SELECT gen_random_uuid(), 'order', number::text, 'order.cancelled', '{{}}' FROM generate_series(1, {many}) number"
    )
    streaming.postgres.execute(statement, streaming.database)
    known = len(kafka.read(HEARTBEATS))
    # Of before the slot, after it, and after everything.
    audits = [audit(streaming)]
    streaming.container.restart()
    until(lambda: streaming.guard_says("a new snapshot begins"), "the snapshot to begin")
    audits.append(audit(streaming))
    until(streaming.compared, "the comparison", 300)
    streaming.catch_up()
    audits.append(audit(streaming))
    streaming.catch_up()
    assert [json.loads(one.key) for one in kafka.read("cdc.audit")] == audits[2:]
    events = kafka.read_all("order.cancelled")
    assert len(events) == many
    beats = kafka.read(HEARTBEATS)[known:]
    ops = [json.loads(one.value)["op"] for one in beats]
    assert ops[0] == "r"
    assert set(ops[1:]) == {"u"}
    # The word for the whole outbox bears the time when it was begun, and those that follow it are younger than every event.
    assert beats[0].timestamp <= min(one.timestamp for one in events)
    assert min(one.timestamp for one in beats[1:]) >= max(one.timestamp for one in events)
    # In the order in which they were written, within a partition.
    for partition in {one.partition for one in events}:
        numbers = [int(json.loads(one.key)) for one in events if one.partition == partition]
        assert numbers == sorted(numbers)
