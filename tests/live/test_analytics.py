"""From a source database to the star schema and its views: rows, sums and views, not counts (SPEC 7.2, 7.3)."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_convergence import Pipeline
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_probe import probe
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_tables import TABLES, psql
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

from .goods import Goods, Sql
from .laws import Laws
from .people import People
from .signin import body_of
from .waiting import until

pytestmark = pytest.mark.timeout(300)
# SPEC 7.3, the convergence criterion.
CONVERGENCE_S = 30
VIEWS = {
    "mv_product_sales_volume", "mv_sales_over_time", "mv_revenue_by_author", "mv_revenue_by_genre", "mv_order_status_distribution",
    "mv_inventory_health", "mv_avg_order_value", "mv_top_books_by_revenue", "mv_inventory_turnover", "mv_book_price_distribution",
}  # fmt: skip


@pytest.fixture
def laws(ecom_sql: Sql, inventory_sql: Sql, analytics_sql: Sql) -> Laws:
    """The laws between the sources and analytics."""
    return Laws(ecom_sql, inventory_sql, analytics_sql)


def holds(laws: Laws) -> None:
    """All laws, within the criterion; the failure says which does not hold."""
    try:
        until(lambda: not laws.broken(), "sources and analytics to agree", CONVERGENCE_S, pause=1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {laws.broken()}") from error


def test_the_star_schema_and_its_ten_views_are_there(analytics_sql: Sql) -> None:
    assert set(analytics_sql("SELECT matviewname FROM pg_matviews WHERE schemaname = 'public'").split()) == VIEWS
    tables = set(analytics_sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split())
    assert tables >= {"fact_orders", "fact_order_items", "fact_inventory", "dim_books", "dim_date"}
    unique = "SELECT count(DISTINCT tablename) FROM pg_indexes WHERE indexdef LIKE 'CREATE UNIQUE%' AND tablename LIKE 'mv\\_%'"
    assert int(analytics_sql(unique)) >= len(VIEWS)


def test_insert_update_and_delete_of_each_captured_table_converge(cluster: Cluster) -> None:
    sql = psql(cluster, 30)
    result, took = probe(Pipeline(sql, Broker(cluster, 30)), sql, CONVERGENCE_S, list(TABLES))
    print(took)
    assert result.converged, (result.report(), took)
    assert {operation: set(tables) for operation, tables in took.items()} == {
        operation: set(TABLES) for operation in ("insert", "update", "delete")
    }


def test_an_order_its_cancellation_and_its_removal_reach_facts_and_views(
    people: People, goods: Goods, laws: Laws, analytics_sql: Sql
) -> None:
    holds(laws)
    book, customer = goods.book(copies=5, price="19.90"), people.customer()
    revenue = "SELECT coalesce(sum(revenue), 0) FROM mv_sales_over_time"
    before = Decimal(analytics_sql(revenue))
    placed = body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], 2)["total"]))
    took = until(lambda: Decimal(analytics_sql(revenue)) == before + Decimal(placed["total"]), "the order in the revenue", CONVERGENCE_S)
    print(f"in the view {took:.2f} s after the order")
    assert analytics_sql(f"SELECT status, total FROM fact_orders WHERE order_id = '{placed['id']}'") == f"CONFIRMED|{placed['total']}"
    sold = f"SELECT units_sold, revenue FROM mv_product_sales_volume WHERE book_id = '{book['id']}'"
    assert analytics_sql(sold) == f"2|{placed['total']}"
    holds(laws)
    assert customer.send("POST", f"/ecom/orders/{placed['id']}/cancel").status_code == 200
    until(lambda: Decimal(analytics_sql(revenue)) == before, "the cancelled order out of the revenue", CONVERGENCE_S)
    holds(laws)
    goods.close()
    order, title = (f"SELECT count(*) FROM fact_orders WHERE order_id = '{placed['id']}'",
                    f"SELECT count(*) FROM dim_books WHERE book_id = '{book['id']}'")  # fmt: skip
    until(lambda: analytics_sql(order) == analytics_sql(title) == "0", "the removed rows to be gone", CONVERGENCE_S)
    holds(laws)
