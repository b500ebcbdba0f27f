# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Gives a worker again what it never saw or could not apply: events that are still in their producer's outbox."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import Clock, wait_for
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import Sql, key_of
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

Object = dict[str, Any]
BATCH = 200
# Ids of more events than this are compared in parts.
MOST_IDS = 50_000
# As bookstore_common.gaps has it: who applied something less than these days before a gap was noticed lacks nothing that the
# outbox (30 days) does not hold, because topics keep events for 7.
REACH_DAYS = 22
TOPIC_DAYS = 8
INTERVAL = 1.0
NAMED = 10


class ReplayError(Exception):
    """Something that cannot be given again; the text has an id."""


@dataclass(frozen=True)
class Consumer:
    """A worker: its database, that of the producer, and the topics that it consumes."""

    place: str
    producer: str
    topics: tuple[str, ...]


CONSUMERS = (
    Consumer("inventory", "ecom", ("order.created", "order.cancelled", "book.created")),
    Consumer("ecom", "inventory", ("inventory.rejected",)),
)
GAPS = f"""
SELECT coalesce(json_agg(json_build_object('id', id, 'topic', topic, 'partition', partition, 'from', from_offset, 'to', to_offset,
       'reason', reason, 'consumed_at', consumed_at,
       'reached', coalesce(consumed_at >= noticed_at - interval '{REACH_DAYS} days', false)) ORDER BY noticed_at, topic, partition), '[]')
FROM consumer_gaps WHERE repaired_at IS NULL
"""
LETTERS = """
SELECT coalesce(json_agg(json_build_object('id', id, 'topic', topic, 'partition', partition, 'offset', record_offset,
       'event', event_id, 'reason', reason,
       'applied', EXISTS (SELECT FROM processed_events p WHERE p.event_id = d.event_id)) ORDER BY set_aside_at), '[]')
FROM dead_letters d WHERE resolved_at IS NULL
"""
# One statement, so that a row is never missing; the log's position is that of the new row. Debezium publishes the insertion, and
# its router ignores the deletion.
REPUBLISH = """
WITH gone AS (DELETE FROM outbox_events WHERE id IN ({ids}) RETURNING id, aggregate_type, aggregate_id, event_type, payload, created_at,
         request_id),
put AS (INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, created_at, request_id)
        SELECT * FROM gone ORDER BY created_at, id RETURNING 1)
SELECT count(*) FROM put
"""
# What says, without any event, whether something was lost. Rows of the last minutes may be under way; those of probes never count.
PLACED = "status <> 'CANCELLED' AND user_id <> 'cdc-probe' AND updated_at < now() - interval '5 minutes'"
CANCELLED = "status = 'CANCELLED' AND updated_at < now() - interval '5 minutes'"
SOLD = "id::text NOT LIKE 'ffffffff-%' AND created_at < now() - interval '5 minutes'"


@dataclass
class Outcome:
    """What was done for one worker; ``left`` tells what could not be."""

    replayed: int = 0
    repaired: int = 0
    resolved: int = 0
    left: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.replayed or self.repaired or self.resolved)


def open_gaps(sql: Sql, place: str) -> list[Object]:
    """Return the gaps of a worker that are not repaired."""
    found: list[Object] = json.loads(sql(place, GAPS))
    return found


def open_letters(sql: Sql, place: str) -> list[Object]:
    """Return the dead letters of a worker that nobody dealt with."""
    found: list[Object] = json.loads(sql(place, LETTERS))
    return found


def gap_text(gap: Object) -> str:
    """Name a gap for people."""
    begin = "?" if gap["from"] < 0 else gap["from"]
    return f"{gap['topic']}/{gap['partition']}: offsets {begin} to {gap['to']} were not read ({gap['reason']})"


def letter_text(letter: Object) -> str:
    """Name a dead letter for people."""
    event = f"event {letter['event']}" if letter["event"] else "no event"
    return f"{letter['topic']}/{letter['partition']}/{letter['offset']}: {event}: {letter['reason']}"


def batches(ids: list[str]) -> Iterator[str]:
    """Yield lists of ids as they stand in SQL."""
    for start in range(0, len(ids), BATCH):
        yield ", ".join(f"'{key_of(one)}'" for one in ids[start : start + BATCH])


def _shares(count: int) -> list[str]:
    """Beginnings of ids, so that each share of ``count`` is not too large for one answer."""
    if count <= MOST_IDS:
        return [""]
    digits = "0123456789abcdef"
    return list(digits) if count <= MOST_IDS * 16 else [a + b for a in digits for b in digits]


def _ids(sql: Sql, place: str, table: str, column: str, condition: str) -> list[str]:
    """Return ids of rows, in shares."""
    count = int(sql(place, f"SELECT count(*) FROM {table} WHERE {condition}"))
    found: list[str] = []
    for share in _shares(count):
        found += sql(place, f"SELECT {column} FROM {table} WHERE {condition} AND {column}::text LIKE '{share}%'").split()
    return found


def missing(sql: Sql, consumer: Consumer, since: str | None) -> list[str]:
    """Return the events in the producer's outbox that the worker has not applied, but those that it set aside.

    ``since``: when the worker had last applied one; what is much older it had seen.
    """
    listed = ", ".join(f"'{topic}'" for topic in consumer.topics)
    condition = f"event_type IN ({listed})"
    if since:
        condition += f" AND created_at > timestamptz '{since}' - interval '{TOPIC_DAYS} days'"
    sent = _ids(sql, consumer.producer, "outbox_events", "id", condition)
    # All that were applied, whenever that was: an event that comes again keeps its id.
    applied = set(_ids(sql, consumer.place, "processed_events", "event_id", f"topic IN ({listed})"))
    # Dealt with or not: what is no event would be set aside again.
    aside = set(sql(consumer.place, "SELECT DISTINCT event_id FROM dead_letters WHERE event_id IS NOT NULL").split())
    return [one for one in sent if one not in applied and one not in aside]


def republish(sql: Sql, consumer: Consumer, ids: list[str]) -> int:
    """Let Debezium publish events again; returns how many of them the outbox still has."""
    return sum(int(sql(consumer.producer, REPUBLISH.format(ids=listed))) for listed in batches(ids))


def await_applied(sql: Sql, consumer: Consumer, ids: list[str], timeout: float, clock: Clock) -> tuple[list[str], list[str]]:
    """Wait for the worker; returns the events that it has not applied when time is over, and those that it set aside."""
    left, aside = list(ids), list[str]()

    def look() -> list[str]:
        for listed in batches(left):
            found = sql(consumer.place, f"SELECT event_id FROM processed_events WHERE event_id IN ({listed})").split()
            done.update(found)
        refused = {letter["event"] for letter in open_letters(sql, consumer.place)}
        aside[:] = [one for one in ids if one not in done and one in refused]
        left[:] = [one for one in left if one not in done and one not in refused]
        return left

    done: set[str] = set()
    wait_for(look, lambda seen: not seen, timeout=timeout, interval=INTERVAL, clock=clock)
    return left, aside


def differences(sql: Sql) -> list[str]:
    """Return what orders and books say is missing in the inventory, named; empty if nothing is."""
    committed = set(_ids(sql, "inventory", "reservations", "order_id", "status = 'COMMITTED'"))
    stocked = set(_ids(sql, "inventory", "inventory", "book_id", "true"))
    faults = {
        "placed without committed copies": set(_ids(sql, "ecom", "orders", "id", PLACED)) - committed,
        "cancelled, and its copies did not come back": set(_ids(sql, "ecom", "orders", "id", CANCELLED)) & committed,
        "without stock": set(_ids(sql, "ecom", "books", "id", SOLD)) - stocked,
    }
    lines = []
    for fault, ids in faults.items():
        kind = "book" if fault == "without stock" else "order"
        lines += [f"{kind} {one}: {fault}" for one in sorted(ids)[:NAMED]]
        if len(ids) > NAMED:
            lines.append(f"and {len(ids) - NAMED} more {kind}s: {fault}")
    return lines


def repair(sql: Sql, consumer: Consumer, timeout: float, *, acknowledge: bool, apply: bool, clock: Clock = time) -> Outcome:
    """Give a worker again what it never saw, and mark its gaps as repaired once it has applied that.

    Where the outbox does not reach back far enough, the gap is closed if orders, books and stock agree, or if somebody has dealt
    with the differences (``acknowledge``), and refused if not.
    """
    outcome = Outcome()
    gaps = open_gaps(sql, consumer.place)
    if not gaps:
        return outcome
    known = [gap["consumed_at"] for gap in gaps]
    ids = missing(sql, consumer, None if None in known else min(known))
    outcome.replayed = len(ids)
    if not apply:
        outcome.repaired = len(gaps)
        return outcome
    outcome.replayed = republish(sql, consumer, ids)
    left, aside = await_applied(sql, consumer, ids, timeout, clock)
    if left:
        outcome.left = [f"BK-276: {len(left)} events, first {left[0]}, were given to the worker of {consumer.place} again, which has not"
                        f" applied them within timeout={timeout:.0f} s; gaps: {'; '.join(map(gap_text, gaps[:NAMED]))}"]  # fmt: skip
        return outcome
    repaired = [gap for gap in gaps if gap["reached"]]
    lost = [gap for gap in gaps if not gap["reached"]]
    if lost and not acknowledge and (found := differences(sql)):
        outcome.left = [f"BK-277: {gap_text(gap)}; it may have held events that the outbox of {consumer.producer} has no more" for gap in
                        lost[:NAMED]] + found  # fmt: skip
    else:
        repaired = gaps
    if aside:
        outcome.left.append(f"BK-276: {len(aside)} events were set aside when they were given again: {', '.join(aside[:NAMED])}")
    for listed in batches([gap["id"] for gap in repaired]):
        sql(consumer.place, f"UPDATE consumer_gaps SET repaired_at = clock_timestamp() WHERE id IN ({listed})")
    outcome.repaired = len(repaired)
    return outcome


def bring_back(sql: Sql, consumer: Consumer, timeout: float, *, acknowledge: bool, apply: bool, clock: Clock = time) -> Outcome:
    """Give a worker its dead letters again, from the outbox; those that are no events, or no more in it, are only acknowledged.

    A letter whose event was applied meanwhile needs nothing.
    """
    outcome = Outcome()
    letters = open_letters(sql, consumer.place)
    again = sorted({letter["event"] for letter in letters if letter["event"] and not letter["applied"]})
    there: list[str] = []
    for listed in batches(again):
        there += sql(consumer.producer, f"SELECT id FROM outbox_events WHERE id IN ({listed})").split()
    if not apply:
        outcome.replayed = len(there)
        outcome.resolved = sum(1 for letter in letters if letter["applied"] or letter["event"] in there or acknowledge)
        return outcome
    # What is set aside again is a letter of its own.
    _resolve(sql, consumer, [letter for letter in letters if letter["event"] in there])
    outcome.replayed = republish(sql, consumer, there)
    left, aside = await_applied(sql, consumer, there, timeout, clock)
    failed = {*left, *aside}
    for listed in batches([letter["id"] for letter in letters if letter["event"] in left]):
        # It may come yet; until then it is not dealt with.
        sql(consumer.place, f"UPDATE dead_letters SET resolved_at = NULL WHERE id IN ({listed})")
    for letter in letters:
        if letter["applied"] or (letter["event"] in there and letter["event"] not in failed):
            outcome.resolved += 1
        elif letter["event"] in failed:
            outcome.left.append(f"BK-276: {letter_text(letter)}; it was given to the worker again, and not applied")
        elif acknowledge:
            outcome.resolved += 1
        else:
            outcome.left.append(f"BK-278: {letter_text(letter)}; the outbox of {consumer.producer} has no such event")
    _resolve(sql, consumer, [letter for letter in letters if letter["applied"] or (acknowledge and letter["event"] not in there)])
    return outcome


def empty_topics(broker: Broker, sql: Sql, consumer: Consumer, *, acknowledge: bool, apply: bool) -> tuple[list[str], list[str]]:
    """Empty the dead-letter topics of which no letter is open; returns their names, and what stands in others' way.

    Records that no table names are of before there was one: they are removed only when they are acknowledged.
    """
    topics = broker.describe()["topics"]
    full = {name: topics[f"{name}.dlq"] for name in consumer.topics if f"{name}.dlq" in topics}
    full = {name: topic for name, topic in full.items() if topic["end"] > topic["begin"]}
    letters = json.loads(sql(consumer.place, "SELECT coalesce(json_agg(DISTINCT topic), '[]') FROM dead_letters"))
    still = {letter["topic"] for letter in open_letters(sql, consumer.place)}
    emptied, left = [], []
    for name, topic in full.items():
        if name in still:
            continue
        if name in letters or acknowledge:
            emptied.append(f"{name}.dlq")
            if apply:
                broker.call("purge", f"{name}.dlq")
        else:
            left.append(f"BK-278: {name}.dlq holds {topic['end'] - topic['begin']} records that {consumer.place} does not know")
    return emptied, left


def _resolve(sql: Sql, consumer: Consumer, letters: list[Object]) -> None:
    for listed in batches([letter["id"] for letter in letters]):
        sql(consumer.place, f"UPDATE dead_letters SET resolved_at = clock_timestamp() WHERE id IN ({listed})")
