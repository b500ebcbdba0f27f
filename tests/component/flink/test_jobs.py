"""The four SQL jobs on a mini-cluster of Flink, from records that Debezium wrote on the running platform.

Covers what a job makes of records, of wrong ones, too: their format, repeats, updates, deletes, tombstones, transformations, the
quarantine, and what the JDBC sink makes of texts, numbers and times in the real schema. Broker and database are real ones.
Checkpoints and restarts are not part of it: tests/live and molecule/flink have them.

In records/ are, for each topic: two inserts, an update of the first row, a delete of the second one, and its tombstone.
"""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bookstore_common.testing.postgres import Postgres

from . import wrong_records as wrong
from .broker import Record, publish, running_broker
from .mini_cluster import ROOT, database, in_flink, prepared

RECORDS = Path(__file__).parent / "records"
TABLES = {"cdc-dim-books": "dim_books", "cdc-fact-orders": "fact_orders", "cdc-fact-order-items": "fact_order_items",
          "cdc-fact-inventory": "fact_inventory"}  # fmt: skip
TOPICS = {"dim_books": "cdc.ecom.public.books", "fact_orders": "cdc.ecom.public.orders",
          "fact_order_items": "cdc.ecom.public.order_items", "fact_inventory": "cdc.inventory.public.inventory"}  # fmt: skip
LINES = {file.name.removesuffix(".jsonl"): file.read_text(encoding="utf-8").split("\n")[:-1] for file in RECORDS.glob("*.jsonl")}
# Records that nobody thought of: how many for each topic. The seed is in every failure.
MUTATIONS = 400
SEED = int(os.environ.get("BOOKSTORE_TEST_SEED") or random.SystemRandom().randrange(2**32))
# Rows that must be there whatever stands around their records: topic to ids.
GOOD = {topic: [str(uuid.UUID(int=random.Random(f"{SEED} {topic} {number}").getrandbits(128), version=4)) for number in range(MUTATIONS)]
        for topic in LINES}  # fmt: skip


def between_wrong_ones(topic: str, records: list[Record]) -> list[Record]:
    """Each recorded record, and wrong ones before and after it; those that carry a row carry another one."""
    values = [value for value, _ in wrong.wrong(topic, LINES[topic][0])]
    # Keys that are none of Debezium's, and none at all.
    keys = [wrong.key_of(topic, str(uuid.uuid4())), b"\x00\xff", None]
    others = [(keys[number % 3], value) for number, value in enumerate(values)]
    return [one for record in records for one in (record, *others)]


def among_mutations(topic: str, records: list[Record]) -> list[Record]:
    """A good row after each record that chance made of a recorded one."""
    chance = random.Random(f"{SEED} {topic}")
    line = LINES[topic][0]
    found = list(records)
    for identity in GOOD[topic]:
        stranger = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        basis = chance.choice([value.replace(b"ffffffff-", b"eeeeeeee-") for _, value in records if value])
        found.append((chance.choice([None, chance.randbytes(9), wrong.key_of(topic, stranger)]), wrong.mutated(chance, basis)))
        found.append((wrong.key_of(topic, identity), wrong.encoded(wrong.insertion(topic, line, identity))))
    return found


def without_old_rows(topic: str, records: list[Record]) -> list[Record]:
    """What REPLICA IDENTITY DEFAULT leaves of old rows: none in updates, the key in deletions."""
    key = wrong.KEYS.get(topic, "id")
    found: list[Record] = []
    for name, value in records:
        change = json.loads(value) if value else None
        if change and change["op"] == "u":
            change["before"] = None
        elif change and change["op"] == "d":
            change["before"] = {column: old if column == key else None for column, old in change["before"].items()}
        found.append((name, value and wrong.encoded(change)))
    return found


# Topic and its records to what is read. As recorded; each twice, as after a failed acknowledgement; everything twice, as after a
# return to an older offset; the end first, as when a row's deletion comes before it.
Order = Callable[[str, list[Record]], list[Record]]
SCENARIOS: dict[str, Order] = {
    "recorded": lambda _topic, records: records,
    "each record twice": lambda _topic, records: [record for record in records for _ in range(2)],
    "all records twice": lambda _topic, records: records + records,
    "the end read before": lambda _topic, records: records[2:] + records,
    "without old rows": without_old_rows,
    "between wrong ones": between_wrong_ones,
    "among mutations": among_mutations,
}


def renamed(scenario: str, data: bytes | None) -> bytes | None:
    """The same with ids of the scenario's own, so that one topic and one job can serve all scenarios."""
    return data and data.replace(b"ffffffff-", prefix(scenario).encode())


def prefix(scenario: str) -> str:
    return f"fffffff{list(SCENARIOS).index(scenario)}-"


@dataclass
class Outcome:
    """What the jobs left: rows by table, entries of the quarantine by topic, plans by job; and what they read, by scenario and topic."""

    rows: dict[str, list[Any]]
    quarantined: dict[str, list[Any]]
    plans: dict[str, str]
    read: dict[str, dict[str, list[Record]]]

    def entries(self, scenario: str, topic: str) -> list[Any]:
        """What was quarantined of a scenario, with offsets counted from its first record."""
        before = list(SCENARIOS)[: list(SCENARIOS).index(scenario)]
        start = sum(len(self.read[one][topic]) for one in before)
        end = start + len(self.read[scenario][topic])
        return [(offset - start, *others) for offset, *others in self.quarantined[topic] if start <= offset < end]


@pytest.fixture(scope="module")
def kafka(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker(images["kafka"], tmp_path_factory.mktemp("kafka")) as address:
        yield address


@pytest.fixture(scope="module")
def outcome(server: Postgres, kafka: str, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What is there after all jobs have read all records of all scenarios, one scenario after the other."""
    folder = tmp_path_factory.mktemp("flink")
    settings = prepared(server, folder)
    name = database(server)
    read = {
        scenario: {
            topic: [(renamed(scenario, key), renamed(scenario, value)) for key, value in order(topic, wrong.recorded(topic, lines))]
            for topic, lines in LINES.items()
        }
        for scenario, order in SCENARIOS.items()
    }
    publish(kafka, {topic: [record for scenario in SCENARIOS for record in read[scenario][topic]] for topic in LINES})
    url = f"jdbc:postgresql://127.0.0.1:{server.port}/{name}"
    # Order lines before their orders, and both before their books.
    jobs = sorted(TABLES, reverse=True)
    plan = [{"sql": (ROOT / f"flink/sql/{job}.sql").read_text(encoding="utf-8"), "url": url} for job in jobs]
    plans = in_flink(images["flink"], folder, {"plan": plan, "settings": settings, "kafka": kafka})
    with server.connect(name) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = {
            table: [row[0] for row in connection.execute(f"SELECT to_jsonb(t) - 'synced_at' FROM {table} t".encode()).fetchall()]
            for table in TOPICS
        }
        query = (
            "SELECT kafka_offset, record_key, raw_value, reason, row_key FROM quarantined_records"
            " WHERE topic = %s AND kafka_partition = 0 AND resolved_at IS NULL AND recorded_at > now() - interval '1 day' ORDER BY 1"
        )
        quarantined = {topic: connection.execute(query, (topic,)).fetchall() for topic in LINES}
    return Outcome(rows, quarantined, dict(zip(jobs, plans, strict=True)), read)


KEY = {"dim_books": "book_id", "fact_orders": "order_id", "fact_order_items": "order_item_id", "fact_inventory": "book_id"}


def rows(outcome: Outcome, scenario: str, table: str) -> list[Any]:
    """The rows that the recorded records are about, with the ids that were recorded."""
    mine = [row for row in outcome.rows[table] if row[KEY[table]].startswith(prefix(scenario))]
    found: list[Any] = json.loads(json.dumps(mine).replace(prefix(scenario), "ffffffff-"))
    return found


@pytest.mark.parametrize("scenario", list(SCENARIOS))
class TestJobs:
    """What is left of two rows in each table: the first one, as updated."""

    def test_books_have_a_genre_and_their_latest_price(self, outcome: Outcome, scenario: str) -> None:
        assert rows(outcome, scenario, "dim_books") == [{
            "book_id": "ffffffff-0000-4000-8000-0000000000b1", "title": "Sea & “Sky”", "author": "Ana Ø. Writer", "isbn": "9999999999991",
            "genre": "Poetry", "price": 13.00, "published_year": 1999, "active": True, "created_at": "2026-01-31T23:59:59.999999+00:00",
            "updated_at": "2026-11-23T14:47:20.069685+00:00",
        }]  # fmt: skip

    def test_orders_belong_to_the_day_in_utc(self, outcome: Outcome, scenario: str) -> None:
        # Placed half an hour after midnight one hour east of Greenwich.
        assert rows(outcome, scenario, "fact_orders") == [{
            "order_id": "ffffffff-0000-4000-8000-0000000000c1", "user_id": "cdc-probe", "status": "SHIPPED", "total": 38.49,
            "currency": "USD", "order_date_key": 20260228, "created_at": "2026-02-28T23:30:00+00:00",
            "updated_at": "2026-02-28T23:30:00+00:00",
        }]  # fmt: skip

    def test_lines_come_to_quantity_times_price(self, outcome: Outcome, scenario: str) -> None:
        assert rows(outcome, scenario, "fact_order_items") == [{
            "order_item_id": "ffffffff-0000-4000-8000-0000000000d1", "order_id": "ffffffff-0000-4000-8000-0000000000c1",
            "book_id": "ffffffff-0000-4000-8000-0000000000b1", "quantity": 2, "price_at_purchase": 12.50, "line_total": 25.00,
        }]  # fmt: skip

    def test_available_is_what_is_not_reserved(self, outcome: Outcome, scenario: str) -> None:
        assert rows(outcome, scenario, "fact_inventory") == [{
            "book_id": "ffffffff-0000-4000-8000-0000000000b1", "quantity": 10, "reserved": 10, "available": 0, "low_stock_threshold": 5,
            "updated_at": "2026-11-23T14:47:21.441164+00:00",
        }]  # fmt: skip


def test_the_records_are_what_the_module_says() -> None:
    kinds = {
        file.name: [json.loads(line)["op"] if line else "tombstone" for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
        for file in RECORDS.glob("*.jsonl")
    }
    assert len(kinds) == len(TABLES)
    assert set(map(tuple, kinds.values())) == {("c", "c", "u", "d", "tombstone")}


@pytest.mark.parametrize("scenario", list(SCENARIOS)[:5])
def test_good_records_are_not_quarantined(outcome: Outcome, scenario: str) -> None:
    assert {topic: outcome.entries(scenario, topic) for topic in LINES} == {topic: [] for topic in LINES}


@pytest.mark.parametrize("topic", list(LINES))
def test_wrong_records_are_quarantined_each_with_its_reason(outcome: Outcome, topic: str) -> None:
    scenario = "between wrong ones"
    reasons = [reason for _, reason in wrong.wrong(topic, LINES[topic][0])]
    found = outcome.entries(scenario, topic)
    # Five recorded records, and all wrong ones after each.
    read = outcome.read[scenario][topic]
    good = {number * (len(reasons) + 1) for number in range(5)}
    expected = [number for number in range(len(read)) if number not in good]
    assert [entry[0] for entry in found] == expected
    for (offset, key, raw, reason, row_key), wanted in zip(found, reasons * 5, strict=True):
        sent_key, sent = read[offset]
        assert wanted in reason, (offset, sent)
        assert key == sent_key
        assert row_key == (json.loads(key)[wrong.KEYS.get(topic, "id")] if key and key.startswith(b"{") else None)
        # What a computed column cannot hold could be read; its reason has the value.
        assert raw == (None if "does not fit" in wanted else sent[:65536]), reason


@pytest.mark.parametrize("table", list(TOPICS))
def test_no_record_whatever_it_is_stops_another(outcome: Outcome, table: str) -> None:
    """The property: each good row is there, as it was written; what stood before it was applied or quarantined."""
    topic = TOPICS[table]
    there = {row[KEY[table]]: row for row in outcome.rows[table]}
    assert set(GOOD[topic]) <= set(there), f"BOOKSTORE_TEST_SEED={SEED}"
    first, *others = ({name: value for name, value in there[one].items() if name != KEY[table]} for one in GOOD[topic])
    assert all(other == first for other in others), f"BOOKSTORE_TEST_SEED={SEED}"
    # Most of what chance makes is wrong.
    assert len(outcome.entries("among mutations", topic)) > MUTATIONS / 3, f"BOOKSTORE_TEST_SEED={SEED}"


@pytest.mark.parametrize("job", list(TABLES))
def test_no_job_keeps_rows_in_state(outcome: Outcome, job: str) -> None:
    """A topic of any size fits: nothing of it stays in memory. One source, or two consumers would share a group."""
    plan = outcome.plans[job].partition("== Optimized Execution Plan ==")[2]
    assert plan.count("TableSourceScan(") == 1
    assert plan.count("Sink(") == 2
    operators = {line.strip("+- ").partition("(")[0] for line in plan.splitlines() if line.strip()}
    assert operators == {"TableSourceScan", "Sink", "Calc", "Reused"}
