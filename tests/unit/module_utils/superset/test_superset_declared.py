"""The assets of this product: complete, consistent, and on columns that the views have (SPEC 7.3, 8)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.superset import superset_assets as assets

ROOT = Path(__file__).parents[4]
DECLARED = assets.load(ROOT / "superset")
CHARTS = {str(asset.body["slice_name"]): asset.body for asset in DECLARED if asset.kind == "chart"}
DASHBOARDS = {str(asset.body["dashboard_title"]): asset for asset in DECLARED if asset.kind == "dashboard"}
DATASETS = {str(asset.body["table_name"]): asset.body for asset in DECLARED if asset.kind == "dataset"}
DATABASES = [asset.body for asset in DECLARED if asset.kind == "database"]

VIEWS = {
    "mv_product_sales_volume": "book_id label title author units_sold revenue",
    "mv_sales_over_time": "sale_date orders units revenue",
    "mv_revenue_by_author": "author revenue units orders",
    "mv_revenue_by_genre": "genre revenue units share_pct",
    "mv_order_status_distribution": "status orders total",
    "mv_inventory_health": "book_id label title author genre quantity reserved available low_stock_threshold stock_status",
    "mv_avg_order_value": "order_date orders total avg_order_value",
    "mv_top_books_by_revenue": "book_id label title author revenue units_sold rank",
    "mv_inventory_turnover": "book_id label title units_sold quantity turnover_pct",
    "mv_book_price_distribution": "price_range sort_key books",
}
BAR, LINE, PIE, NUMBER, TABLE = "echarts_timeseries_bar", "echarts_timeseries_line", "pie", "big_number_total", "table"
# SPEC 8: dashboard, then chart, view and type in order.
WANTED = {
    "Book Store Analytics": {
        "Product Sales Volume": ("mv_product_sales_volume", BAR), "Sales Over Time": ("mv_sales_over_time", LINE),
        "Revenue by Author": ("mv_revenue_by_author", BAR), "Top Books by Revenue": ("mv_top_books_by_revenue", BAR),
        "Book Price Distribution": ("mv_book_price_distribution", PIE),
    },
    "Sales & Revenue Analytics": {
        "Total Revenue KPI": ("mv_sales_over_time", NUMBER), "Total Orders KPI": ("mv_sales_over_time", NUMBER),
        "Average Order Value KPI": ("mv_avg_order_value", NUMBER), "Order Status Distribution": ("mv_order_status_distribution", PIE),
        "Average Order Value Over Time": ("mv_avg_order_value", LINE),
    },
    "Inventory Analytics": {
        "Inventory Health Table": ("mv_inventory_health", TABLE), "Stock vs Reserved": ("mv_inventory_health", BAR),
        "Inventory Turnover Rate": ("mv_inventory_turnover", BAR), "Revenue by Genre": ("mv_revenue_by_genre", BAR),
        "Stock Status Distribution": ("mv_inventory_health", PIE), "Revenue Share by Genre": ("mv_revenue_by_genre", PIE),
    },
}  # fmt: skip
ALL = [(chart, *wanted) for charts in WANTED.values() for chart, wanted in charts.items()]


def names(rows: list[dict[str, Any]], key: str) -> set[str]:
    return {str(row[key]) for row in rows}


def test_there_are_3_dashboards_10_datasets_16_charts_and_1_connection() -> None:
    assert (len(DASHBOARDS), len(DATASETS), len(CHARTS), len(DATABASES)) == (3, 10, 16, 1)
    assert set(CHARTS) == {chart for chart, _, _ in ALL}


def test_identities_are_uuids_and_belong_to_the_names_for_good() -> None:
    assert all(str(uuid.UUID(asset.uuid)) == asset.uuid for asset in DECLARED)
    # A new one would leave the old chart behind: these never change.
    assert CHARTS["Product Sales Volume"]["uuid"] == "f6b884d8-c8c3-5c25-a17e-2bf3892ce2e1"
    assert DATASETS["mv_product_sales_volume"]["uuid"] == "a7aa0d9b-dc8a-5467-8744-02e4be19a908"
    assert DASHBOARDS["Sales & Revenue Analytics"].uuid == "53fbd07f-87bf-538c-b34c-76697dfc7cd0"


@pytest.mark.parametrize("view", VIEWS)
def test_each_dataset_has_the_columns_of_its_view(view: str) -> None:
    dataset = DATASETS[view]
    assert " ".join(column["column_name"] for column in dataset["columns"]) == VIEWS[view]
    assert (dataset["schema"], dataset["sql"], dataset["cache_timeout"]) == ("public", None, -1)
    times = [column["column_name"] for column in dataset["columns"] if column["is_dttm"]]
    assert times == ([dataset["main_dttm_col"]] if dataset["main_dttm_col"] else [])


@pytest.mark.parametrize("title", WANTED)
def test_each_dashboard_shows_its_charts_and_refreshes_itself(title: str) -> None:
    dashboard = DASHBOARDS[title]
    shown = assets.charts_of(dashboard)
    assert sorted(shown) == sorted(str(CHARTS[chart]["uuid"]) for chart in WANTED[title])
    assert (dashboard.body["metadata"]["refresh_frequency"], dashboard.body["published"]) == (10, True)
    position = dashboard.body["position"]
    rows = [cell for cell in position.values() if isinstance(cell, dict) and cell["type"] == "ROW"]
    assert [row["id"] for row in rows] == position["GRID_ID"]["children"]
    assert sorted(child for row in rows for child in row["children"]) == sorted(
        cell["id"] for cell in position.values() if isinstance(cell, dict) and cell["type"] == "CHART"
    )
    # A row is twelve columns wide.
    assert all(sum(position[child]["meta"]["width"] for child in row["children"]) == 12 for row in rows)
    by_uuid = {str(body["uuid"]): name for name, body in CHARTS.items()}
    assert all(
        cell["meta"]["sliceName"] == by_uuid[cell["meta"]["uuid"]]
        for cell in position.values()
        if isinstance(cell, dict) and cell["type"] == "CHART"
    )


@pytest.mark.parametrize(("chart", "view", "kind"), ALL)
def test_each_chart_asks_its_view_for_what_it_shows(chart: str, view: str, kind: str) -> None:
    body, dataset = CHARTS[chart], DATASETS[view]
    assert (body["viz_type"], body["params"]["viz_type"], body["dataset_uuid"]) == (kind, kind, dataset["uuid"])
    assert body["cache_timeout"] == -1
    (query,) = body["query_context"]["queries"]
    columns = {column if isinstance(column, str) else column["label"] for column in query["columns"]}
    assert columns <= names(dataset["columns"], "column_name")
    assert set(query["metrics"]) <= names(dataset["metrics"], "metric_name")
    assert {row["col"] for row in query["filters"]} <= names(dataset["columns"], "column_name")
    # The browser builds its query from the parameters, the server runs the saved one: both are the same.
    params = body["params"]
    axis = [params["x_axis"]] if "x_axis" in params else params.get("all_columns") or params.get("groupby", [])
    metrics = params.get("metrics") or ([params["metric"]] if "metric" in params else [])
    assert (columns, query["metrics"]) == (set(axis), metrics)
    assert query.get("row_limit") == params.get("row_limit")
    filters = [(row["subject"], row["operator"], row["comparator"]) for row in params["adhoc_filters"]]
    assert filters == [(row["col"], row["op"], row["val"]) for row in query["filters"]]


@pytest.mark.parametrize("chart", CHARTS)
def test_no_chart_tells_books_apart_by_their_title(chart: str) -> None:
    """Two books of one title would be one bar, with the sum of both."""
    body = CHARTS[chart]
    (query,) = body["query_context"]["queries"]
    columns = {column if isinstance(column, str) else column["sqlExpression"] for column in query["columns"]}
    params = body["params"]
    pivoted = [name for step in query["post_processing"] if step["operation"] == "pivot" for name in step["options"]["index"]]
    shown = {*columns, *pivoted, *params.get("groupby", []), *params.get("all_columns", []), params.get("x_axis")}
    assert not {"title", "book_id"} & shown
    (dataset,) = [one for one in DATASETS.values() if one["uuid"] == body["dataset_uuid"]]
    if "book_id" in names(dataset["columns"], "column_name") and chart != "Stock Status Distribution":
        assert "label" in shown


def test_the_connection_reads_only_and_holds_no_password() -> None:
    (database,) = DATABASES
    assert database["sqlalchemy_uri"] == "postgresql+psycopg2://superset_ro@analytics-db.analytics.svc.cluster.local:5432/analyticsdb"
    assert not {"password", "encrypted_extra"} & set(database)
    assert not any(database[name] for name in ("allow_dml", "allow_ctas", "allow_cvas", "allow_csv_upload", "allow_run_async"))
    assert "default_transaction_read_only=on" in database["extra"]["engine_params"]["connect_args"]["options"]


def test_top_books_are_the_first_ten_ranks() -> None:
    (query,) = CHARTS["Top Books by Revenue"]["query_context"]["queries"]
    assert query["filters"] == [{"col": "rank", "op": "<=", "val": 10}]
