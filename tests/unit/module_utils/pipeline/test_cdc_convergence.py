"""Following changes to the views, the stage that holds them up, and rows that the source has no more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_convergence as cdc
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_probe, cdc_tables

KEY = "ffffffff-0000-4000-8000-000000000001"
OTHER = "aaaaaaaa-0000-4000-8000-000000000001"
ORDERS = cdc_tables.TABLES["orders"]
ROW = ["cdc-probe", "CONFIRMED", "1.00"]
STALE = "mv_sales_over_time\nmv_avg_order_value"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class World:
    """Answers SQL and the broker's tool; ``arrives``/``fresh`` are the times from which table and views show the row."""

    def __init__(self, arrives: float = 0, fresh: float = 0, row: list[str] | None = ROW) -> None:
        self.clock = Clock()
        self.arrives, self.fresh, self.row = arrives, fresh, row
        self.records: list[dict[str, Any]] = []
        self.lag: int | None = 0
        self.asked: list[tuple[str, str]] = []
        # Part to the time until which it does not answer.
        self.away: dict[str, float] = {}

    def answer(self, part: str) -> None:
        if self.clock.now < self.away.get(part, 0):
            raise ClusterError(f"exec in {part} failed:\n no such container")

    def sql(self, place: str, statement: str) -> str:
        self.answer(place)
        self.asked.append((place, statement))
        if "json_build_array" in statement:
            shown = self.row if self.clock.now >= self.arrives else None
            return json.dumps(shown) if shown else ""
        if "state.mv_name" in statement:
            return "" if self.clock.now >= self.fresh else STALE
        if "pg_replication_slots" in statement:
            return '{"active": false, "wal_status": "extended", "confirmed": 40}'
        return "50"

    def latest(self, topic: str, key: str) -> dict[str, Any] | None:
        """The tool finds the key; a topic does not travel."""
        self.answer("kafka")
        assert topic == ORDERS.topic
        return next((record for record in reversed(self.records) if record["key"] == key), None)

    def describe(self) -> dict[str, Any]:
        self.answer("kafka")
        return {"topics": {}, "groups": {"flink-cdc-fact-orders": {ORDERS.topic: self.lag}}}

    def follow(self, expected: list[str] | None = ROW, timeout: float = 5) -> cdc.Result:
        pipeline = cdc.Pipeline(self.sql, self, self.clock)  # type: ignore[arg-type] # a part of a Broker
        return pipeline.follow(cdc.Change(ORDERS, KEY, expected), timeout)


def record(row: dict[str, Any] | None, offset: int = 7) -> dict[str, Any]:
    return {"key": json.dumps({"id": KEY}, separators=(",", ":")), "value": json.dumps({"after": row}), "offset": offset}


def test_a_row_converges_when_its_views_are_refreshed() -> None:
    world = World(arrives=1, fresh=3)
    result = world.follow()
    assert (result.converged, result.stage, result.elapsed) == (True, "view", 3)
    assert any("last_refresh_at >= (SELECT synced_at FROM fact_orders" in statement for _, statement in world.asked)


def test_a_deleted_row_needs_a_refresh_after_it_was_gone() -> None:
    world = World(row=None, fresh=2)
    assert world.follow(expected=None).converged
    assert any("mv_waiting()" in statement for _, statement in world.asked)


def test_stale_views_are_named() -> None:
    result = World(fresh=99).follow()
    assert (result.converged, result.stage) == (False, "table")
    assert "mv_sales_over_time, mv_avg_order_value" in result.hints["view"]


def test_nothing_in_kafka_means_the_log() -> None:
    result = World(arrives=99).follow()
    assert result.stage == "wal"
    assert "debezium_ecom_slot" in result.hints["kafka"]
    assert '"active": false' in result.hints["kafka"]
    assert "the change is at 50" in result.hints["kafka"]


def test_an_older_version_in_kafka_is_not_the_change() -> None:
    world = World(arrives=99)
    world.records = [
        record({"user_id": "cdc-probe", "status": "CONFIRMED", "total": "1.00"}),
        record({"user_id": "x", "status": "y", "total": "2"}),
    ]
    assert world.follow().stage == "wal"


@pytest.mark.parametrize(("lag", "stage", "hinted"), [(3, "kafka", "flink"), (None, "kafka", "flink"), (0, "flink", "table")])
def test_a_record_that_is_not_in_the_table(lag: int | None, stage: str, hinted: str) -> None:
    world = World(arrives=99)
    world.lag = lag
    world.records = [record({"user_id": "cdc-probe", "status": "CONFIRMED", "total": "1.00"})]
    result = world.follow()
    assert (result.stage, hinted in result.hints) == (stage, True)
    assert "BK-250: mode=row did not converge within timeout=5 s; the last stage reached is " + stage in cdc.complaint("row", result, 5)


def test_a_tombstone_shows_a_deletion() -> None:
    world = World(row=ROW)
    world.records = [record({"user_id": "a"}), {**record(None), "value": None, "offset": 8}]
    world.lag = 1
    assert "at offset 8" in world.follow(expected=None).hints["flink"]


@pytest.mark.parametrize("key", [None, "", "x", "' OR 1", KEY.upper()])
def test_only_ids_get_into_sql(key: str | None) -> None:
    with pytest.raises(cdc_tables.ConvergenceError, match="BK-251: key="):
        cdc_tables.key_of(key)


def test_unknown_tables_are_refused() -> None:
    with pytest.raises(cdc_tables.ConvergenceError, match="BK-251: source=carts is not captured; write one of books, orders"):
        cdc_tables.table_of("carts")


def test_names_of_job_topic_and_slot() -> None:
    assert [table.job for table in cdc_tables.TABLES.values()] == [
        "cdc-dim-books",
        "cdc-fact-orders",
        "cdc-fact-order-items",
        "cdc-fact-inventory",
    ]
    assert cdc_tables.TABLES["inventory"].topic == "cdc.inventory.public.inventory"


class Rows:
    """Keys in source and analytics; ``on_its_way``: deleted in the source, and so many looks later in analytics."""

    def __init__(self, source: set[str], copies: set[str], on_its_way: int = 0) -> None:
        self.keys = {"ecom": source, "analytics": copies}
        self.listed: list[str] = []
        self.looks, self.on_its_way = 0, on_its_way
        self.clock = Clock()

    def sql(self, place: str, statement: str) -> str:
        if statement.startswith("WITH gone"):
            self.clock.now += 1
            gone = {key for key in self.keys[place] if key in statement}
            self.keys[place] -= gone
            return str(len(gone))
        if "string_agg" in statement:
            if place == "analytics":
                self.looks += 1
                if self.looks == self.on_its_way:
                    self.keys["analytics"] = set(self.keys["ecom"])
            shares = {key[:2] for key in self.keys[place]}
            return "\n".join(f"orders|{share}|{hash(frozenset(key for key in self.keys[place] if key[:2] == share))}" for share in shares)
        self.listed.append(statement)
        return "\n".join(json.dumps(key) for key in self.keys[place] if f"'{key[:2]}'" in statement)

    def reconcile(self, *, apply: bool = True, timeout: float = 30) -> tuple[dict[str, int], dict[str, int]]:
        removed, left, _ = cdc_tables.reconcile(self.sql, [ORDERS], timeout, apply=apply, clock=self.clock)
        return removed, left


def test_rows_without_a_source_are_removed_and_others_stay() -> None:
    rows = Rows({OTHER}, {OTHER, KEY})
    assert rows.reconcile(apply=False) == ({"orders": 1}, {})
    assert rows.keys["analytics"] == {OTHER, KEY}
    assert rows.reconcile() == ({"orders": 1}, {})
    assert rows.keys["analytics"] == {OTHER}
    # Rows travel only of the share that differs.
    assert not [statement for statement in rows.listed if "'aa'" in statement]
    assert rows.reconcile() == ({"orders": 0}, {})


def test_a_row_on_its_way_is_not_removed() -> None:
    assert Rows({OTHER, KEY}, {OTHER}).reconcile() == ({"orders": 0}, {})


def test_a_deletion_on_its_way_is_no_change() -> None:
    rows = Rows({OTHER}, {OTHER, KEY}, on_its_way=3)
    assert rows.reconcile() == ({"orders": 0}, {})
    assert rows.clock.now < cdc_tables.SETTLE_SECONDS


def test_many_rows_take_some_statements_to_find_and_batches_to_remove() -> None:
    copies = {f"{number:02x}{number:06x}-0000-4000-8000-000000000001" for number in range(256)}
    rows = Rows(set(), copies)
    assert rows.reconcile() == ({"orders": 256}, {})
    # For each group of shares in each look, in analytics and in the source.
    assert len(rows.listed) == 2 * rows.looks * 256 // cdc_tables.SHARES_AT_ONCE


def test_what_the_time_did_not_suffice_for_is_told() -> None:
    copies = {f"{number:08x}-0000-4000-8000-000000000001" for number in range(4500)}
    removed, left = Rows(set(), copies).reconcile(timeout=2)
    assert removed == {"orders": cdc_tables.REMOVED_AT_ONCE}
    assert left == {"orders": 4500 - cdc_tables.REMOVED_AT_ONCE}


@pytest.mark.parametrize(
    ("part", "stage", "hinted"),
    [("kafka", "wal", "kafka"), ("ecom", "", "wal")],
)
def test_a_part_that_does_not_answer_is_named_with_its_stage(part: str, stage: str, hinted: str) -> None:
    world = World(arrives=99)
    world.away[part] = 99
    result = world.follow()
    assert (result.converged, result.stage, result.elapsed) == (False, stage, 5)
    assert f"{part}: not answering (exec in {part} failed: no such container)" in result.hints[hinted]


def test_analytics_that_does_not_answer_hides_no_stage_before_it() -> None:
    world = World()
    world.away["analytics"] = 99
    assert world.follow().stage == "wal"
    world.records = [record({"user_id": "cdc-probe", "status": "CONFIRMED", "total": "1.00"})]
    result = world.follow()
    assert (result.stage, "analytics: not answering" in result.hints["table"]) == ("flink", True)


def test_what_answers_again_in_time_is_no_fault() -> None:
    world = World(arrives=1)
    world.away = {"analytics": 3, "ecom": 2}
    result = world.follow()
    assert (result.converged, result.elapsed) == (True, 3)


class Shop:
    """A busy shop: each look finds more in the log and in the topics; jobs commit every three seconds what was there before."""

    def __init__(self, published: float = 0, read: float = 0, refreshed: float = 0) -> None:
        self.clock = Clock()
        self.published, self.read, self.refreshed = published, read, refreshed
        self.never: set[str] = set()
        self.silent = False
        # Bytes of the backlog that are published in a second.
        self.pace = 0

    def sql(self, place: str, statement: str) -> str:
        if "mv_waiting()" in statement:
            return "" if self.clock.now >= self.refreshed else "mv_sales_over_time"
        if "mv_refresh_state" in statement:
            return "mv_sales_over_time"
        if "coalesce((confirmed" in statement:
            return str(1000 + 10 * int(self.clock.now) if self.clock.now >= self.published else 500 + self.pace * int(self.clock.now))
        # Always more than what is confirmed.
        return str(1000 + 10 * int(self.clock.now))

    def describe(self) -> dict[str, Any]:
        if self.silent:
            raise ClusterError("no broker")
        end = 100 + 10 * int(self.clock.now)
        lag = 10 + 10 * int(self.clock.now) if self.clock.now < self.read else 5
        tables = cdc_tables.TABLES.values()
        return {
            "topics": {table.topic: {"end": 0 if table.job in self.never else end} for table in tables},
            "groups": {f"flink-{table.job}": {table.topic: lag} for table in tables if table.job not in self.never},
        }

    def settle(self) -> tuple[cdc.Result, dict[str, Any]]:
        return cdc.Pipeline(self.sql, self, self.clock).settle(20)  # type: ignore[arg-type] # a part of a Broker


def test_a_busy_shop_settles_on_what_was_there_at_the_start() -> None:
    """There is always something under way: records before each job, a dirty view."""
    result, lag = Shop(published=2, read=5, refreshed=8).settle()
    assert (result.converged, result.stage) == (True, "view")
    assert lag["records"]["cdc-fact-orders"] == 5
    assert lag["dirty_views"] == ["mv_sales_over_time"]


def test_an_empty_topic_has_nothing_to_commit() -> None:
    shop = Shop()
    shop.never = {"cdc-fact-orders"}
    assert shop.settle()[0].converged


@pytest.mark.parametrize(
    ("times", "stage", "hint"),
    [
        ({"published": 99}, "wal", "bytes that are not published: {'ecom': "),
        ({"read": 99}, "kafka", "'cdc-dim-books': "),
        ({"refreshed": 99}, "table", "stale: mv_sales_over_time"),
    ],
)
def test_what_does_not_settle_is_told_with_its_stage(times: dict[str, float], stage: str, hint: str) -> None:
    result, _ = Shop(**times).settle()
    assert (result.converged, result.stage) == (False, stage)
    assert hint in next(iter(result.hints.values()))


def test_a_backlog_may_take_as_long_as_it_is_worked_off() -> None:
    shop = Shop(published=99)
    shop.pace = 5
    result, _ = shop.settle()
    assert (result.converged, result.elapsed >= 99) == (True, True)


def test_a_job_that_never_committed_has_read_nothing() -> None:
    shop = Shop()
    described = shop.describe

    def without() -> dict[str, Any]:
        found = described()
        return {**found, "groups": {}}

    shop.describe = without  # type: ignore[method-assign]
    result, _ = shop.settle()
    assert (result.stage, "'cdc-dim-books': None" in result.hints["flink"]) == ("kafka", True)


def test_a_broker_that_does_not_answer_ends_the_wait_with_its_name() -> None:
    shop = Shop()
    shop.silent = True
    result, lag = shop.settle()
    assert (result.converged, result.stage, lag) == (False, "kafka", {"unknown": "kafka: not answering (no broker)"})
    assert "kafka: not answering" in result.hints["flink"]


def test_one_view_or_all_are_waited_for() -> None:
    shop = Shop(refreshed=3)
    pipeline = cdc.Pipeline(shop.sql, shop, shop.clock)  # type: ignore[arg-type] # a part of a Broker
    assert pipeline.refreshed([], 2).stage == "table"
    assert pipeline.refreshed(["mv_sales_over_time"], 5).converged


def test_a_probe_removes_its_rows_when_it_fails() -> None:
    world, asked = World(arrives=99), []

    def sql(place: str, statement: str) -> str:
        asked.append(statement)
        return world.sql(place, statement)

    class Pipeline(cdc.Pipeline):
        def follow(self, change: cdc.Change, timeout: float) -> cdc.Result:
            return cdc.Result(False, timeout, "wal", {"kafka": "nothing"})

    result, _ = cdc_probe.probe(Pipeline(sql, world), sql, 0, ["books"])  # type: ignore[arg-type] # a part of a Broker
    assert (result.converged, result.hints) == (False, {"insert of books, kafka": "nothing"})
    assert "DELETE FROM books" in asked[-2]
    assert "DELETE FROM inventory" in asked[-1]
    # Nobody sees the book in the shop, and what a killed run left is gone before.
    assert "DELETE FROM cart_items" in asked[0]
    assert "interval '10 minutes'" in asked[1]
    assert "'Probe', 1.00, false)" in asked[2]


def test_a_probe_removes_its_rows_when_an_answer_is_none() -> None:
    asked = []

    def sql(place: str, statement: str) -> str:
        asked.append(statement)
        return '["Probe", "Pro' if statement.startswith("SELECT") else ""

    result, _ = cdc_probe.probe(cdc.Pipeline(sql, World()), sql, 0, ["books"])  # type: ignore[arg-type] # a part of a Broker
    assert not result.converged
    assert "Unterminated string" in result.hints["insert, wal"]
    assert "DELETE FROM books" in asked[-2]
    assert "DELETE FROM inventory" in asked[-1]


def test_a_source_that_is_away_is_no_stage_and_its_rows_are_left_to_the_next_probe() -> None:
    world = World()
    world.away["ecom"] = 99
    pipeline = cdc.Pipeline(world.sql, world, world.clock)  # type: ignore[arg-type] # a part of a Broker
    result, took = cdc_probe.probe(pipeline, world.sql, 5, ["books"])
    assert (result.converged, result.stage, took) == (False, "", {})
    assert "exec in ecom failed" in result.hints["sweep, wal"]
    assert "stay until the next one" in result.hints["left"]
    assert "the last stage reached is none" in cdc.complaint("probe", result, 5)
    assert cdc_probe.row(pipeline, world.sql, ORDERS, KEY, 5).stage == ""
