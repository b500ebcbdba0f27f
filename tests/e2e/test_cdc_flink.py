"""T-16: from the sources through Debezium, Kafka and Flink to analytics: each table, each view, jobs, servers, the outbox, and an order."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
from playwright.sync_api import Page, expect

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_convergence import Pipeline
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_probe import probe
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES, psql
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker
from tests.live.dashboards import Dashboards
from tests.live.declared import door
from tests.live.goods import Goods, Sql
from tests.live.people import People
from tests.live.signin import body_of
from tests.live.test_analytics import CONVERGENCE_S, VIEWS
from tests.live.tls import plain_client
from tests.live.waiting import until

from .boards import ONE_AT_A_TIME, chart, drawn, open_dashboard
from .buying import expect_confirmation, place, to_checkout
from .window import Window

Open = Callable[..., Window]
FLINK = f"http://127.0.0.1:{door('N5')}"
DEBEZIUM = {"ecom": f"http://127.0.0.1:{door('N6')}", "inventory": f"http://127.0.0.1:{door('N7')}"}
JOBS = {table.job for table in TABLES.values()}
# Pages of others are heavy, and others test meanwhile.
PATIENCE_S = 60


def expect_followed(cluster: Cluster, table: str) -> None:
    """A new row, its change and its removal reach analytics and each view that reads the table, each within the criterion."""
    sql = psql(cluster, 30)
    result, took = probe(Pipeline(sql, Broker(cluster, 30)), sql, CONVERGENCE_S, [table])
    assert result.converged, (result.report(), took)
    assert set(took) == {"insert", "update", "delete"}, took


def ask(address: str) -> Any:
    """What a door answers."""
    with plain_client(timeout=20) as client:
        answer: httpx2.Response = client.get(address)
        assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[:200]}"
        return answer.json()


def jobs() -> dict[str, str]:
    """Ids of the jobs that run, by name."""
    found = [job for job in ask(f"{FLINK}/jobs/overview")["jobs"] if job["state"] == "RUNNING"]
    assert sorted(job["name"] for job in found) == sorted(JOBS)
    assert all(job["tasks"]["running"] == job["tasks"]["total"] for job in found), found
    return {job["name"]: job["jid"] for job in found}


def expect_captured(sql: Sql, source: str, change: Callable[[], object]) -> None:
    """A server says that it is well, streams from its slot, and confirms what was changed just now."""
    assert ask(f"{DEBEZIUM[source]}/q/health")["status"] == "UP"
    change()
    written = sql("SELECT pg_current_wal_lsn()")
    slot = f"FROM pg_replication_slots WHERE slot_name = 'debezium_{source}_slot'"
    assert sql(f"SELECT active, plugin, wal_status {slot}") == "t|pgoutput|reserved"
    until(lambda: sql(f"SELECT confirmed_flush_lsn >= '{written}'::pg_lsn {slot}") == "t", "the slot to be read so far", PATIENCE_S)


def test_books_are_inserted_updated_and_deleted(cluster: Cluster) -> None:
    expect_followed(cluster, "books")


def test_orders_are_inserted_updated_and_deleted(cluster: Cluster) -> None:
    expect_followed(cluster, "orders")


def test_order_items_are_inserted_updated_and_deleted(cluster: Cluster) -> None:
    expect_followed(cluster, "order_items")


def test_stock_is_inserted_updated_and_deleted(cluster: Cluster) -> None:
    expect_followed(cluster, "inventory")


def test_an_order_is_in_all_facts_within_30_seconds(people: People, goods: Goods, analytics_sql: Sql) -> None:
    """Counted from its confirmation, with the copies that it took; so is its cancellation."""
    book, customer = goods.book(copies=7, price="19.90"), people.customer()
    placed = body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], 3)["total"]))
    facts = f"""
        SELECT o.status, o.total, i.quantity, i.line_total, s.quantity, s.available
        FROM fact_orders o JOIN fact_order_items i USING (order_id) JOIN fact_inventory s USING (book_id) JOIN dim_books b USING (book_id)
        WHERE o.order_id = '{placed["id"]}' AND b.title = '{book["title"]}'"""
    until(lambda: analytics_sql(facts) == "CONFIRMED|59.70|3|59.70|4|4", "the order in all facts", CONVERGENCE_S)
    assert customer.send("POST", f"/ecom/orders/{placed['id']}/cancel").status_code == 200
    until(lambda: analytics_sql(facts) == "CANCELLED|59.70|3|59.70|7|7", "the cancelled order in all facts", CONVERGENCE_S)


def test_ten_views_are_refreshed(people: People, goods: Goods, analytics_sql: Sql) -> None:
    """All ten, filled, with a key of their own; those that tell of a single book tell of an order just placed."""
    assert set(analytics_sql("SELECT matviewname FROM pg_matviews WHERE schemaname = 'public' AND ispopulated").split()) == VIEWS
    assert set(analytics_sql("SELECT mv_name FROM mv_refresh_state WHERE last_refresh_at IS NOT NULL").split()) == VIEWS
    unique = "SELECT DISTINCT tablename FROM pg_indexes WHERE indexdef LIKE 'CREATE UNIQUE%' AND tablename LIKE 'mv\\_%'"
    assert set(analytics_sql(unique).split()) >= VIEWS
    book, customer = goods.book(copies=5, price="31.00"), people.customer()
    body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], 2)["total"]))
    mine = f"WHERE book_id = '{book['id']}'"
    for view, columns, shown in (
        ("mv_product_sales_volume", "units_sold, revenue", "2|62.00"),
        ("mv_inventory_health", "quantity, available", "3|3"),
        ("mv_inventory_turnover", "units_sold", "2"),
    ):
        until(lambda v=view, c=columns, s=shown: analytics_sql(f"SELECT {c} FROM {v} {mine}") == s, f"{view} to show it", CONVERGENCE_S)  # type: ignore[misc]


@ONE_AT_A_TIME
def test_four_jobs_run(window: Open) -> None:
    """As Flink's own page shows them, too."""
    assert len(jobs()) == 4
    page = window(origin=FLINK, ours=False).page()
    page.goto("/#/overview")
    for name in sorted(JOBS):
        row = page.locator("tr").filter(has_text=name).filter(has_text="RUNNING")
        expect(row).to_have_count(1, timeout=PATIENCE_S * 1000)


def test_checkpoints_are_exactly_once() -> None:
    """Every ten seconds, kept when a job ends; each job completes a further one."""
    before = {}
    for name, number in jobs().items():
        settings = ask(f"{FLINK}/jobs/{number}/checkpoints/config")
        assert (settings["mode"], settings["interval"]) == ("exactly_once", 10_000), name
        assert settings["externalization"] == {"enabled": True, "delete_on_cancellation": False}, name
        before[number] = ask(f"{FLINK}/jobs/{number}/checkpoints")["counts"]["completed"]
    for number, count in before.items():
        until(lambda n=number, c=count: ask(f"{FLINK}/jobs/{n}/checkpoints")["counts"]["completed"] > c, "a checkpoint", PATIENCE_S, 1)  # type: ignore[misc]


def test_debezium_of_the_shop_streams(goods: Goods, ecom_sql: Sql) -> None:
    expect_captured(ecom_sql, "ecom", lambda: goods.book(copies=1))


def test_debezium_of_the_inventory_streams(goods: Goods, inventory_sql: Sql) -> None:
    expect_captured(inventory_sql, "inventory", lambda: goods.book(copies=1))


def test_an_event_of_the_outbox_takes_effect_once(
    cluster: Cluster, people: People, goods: Goods, ecom_sql: Sql, inventory_sql: Sql
) -> None:
    """One record in Kafka, without the customer's address; one event processed; one movement of the copies."""
    book, customer, broker = goods.book(copies=3), people.customer(), Broker(cluster, 60)
    placed = body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], 2)["total"]))
    hold = f"SELECT status FROM reservations WHERE order_id = '{placed['id']}'"
    until(lambda: inventory_sql(hold) == "COMMITTED", "order.created to commit the hold")
    event = ecom_sql(f"SELECT id FROM outbox_events WHERE event_type = 'order.created' AND aggregate_id = '{placed['id']}'")
    assert re.fullmatch(r"[0-9a-f-]{36}", event), f"not one event: {event}"
    assert inventory_sql(f"SELECT count(*) FROM processed_events WHERE event_id = '{event}'") == "1"
    assert inventory_sql(f"SELECT quantity, reserved FROM inventory WHERE book_id = '{book['id']}'") == "1|0"
    records = broker.records("order.created", json.dumps(placed["id"]))
    assert [json.loads(one["value"])["event_id"] for one in records] == [event]
    assert "shipping" not in records[0]["value"]


@ONE_AT_A_TIME
def test_an_order_placed_in_the_shop_is_seen_on_a_dashboard(
    window: Open, people: People, goods: Goods, superset: Dashboards, boards: Page
) -> None:
    """By whoever looks for the book: bought in the browser, and gone from the stock that the dashboard shows."""
    book, buyer = goods.book(copies=8, price="12.00"), people.customer()
    page = window(buyer).page()
    to_checkout(page, buyer, book, copies=5)
    place(page).click()
    expect_confirmation(page)

    def left() -> list[int]:
        return [row["available"] for row in superset.data("Inventory Health Table") if row["label"].startswith(f"{book['title']} (")]

    until(lambda: left() == [3], "the dashboard's own query to tell of the order", CONVERGENCE_S, pause=1)
    open_dashboard(boards, "inventory-analytics")
    table = drawn(chart(boards, "Inventory Health Table"))
    table.get_by_placeholder("record").fill(book["title"])
    cells = table.get_by_role("row").filter(has_text=book["title"]).locator("td")
    expect(cells).to_contain_text([book["title"], "Live", "3", "0", "3", "5", "low"], timeout=PATIENCE_S * 1000)
