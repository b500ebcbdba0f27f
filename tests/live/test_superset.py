"""Superset: sign-in, the three dashboards, every chart's own query and its numbers, and what may not be done (SPEC 8)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.superset.superset_assets import AssetTool, differences, load, reconcile

from .dashboards import URL, Dashboards, administrator, rounded, sign_in, signed_in
from .goods import Goods, Sql
from .people import People
from .signin import Hidden, body_of
from .tls import plain_client
from .waiting import until

ROOT = Path(__file__).parents[2]
CHARTS = {
    str(yaml.safe_load(file.read_text(encoding="utf-8"))["slice_name"]): file for file in sorted((ROOT / "superset/charts").glob("*.yaml"))
}
DASHBOARDS = {"Book Store Analytics": 5, "Sales & Revenue Analytics": 5, "Inventory Analytics": 6}


@pytest.fixture(scope="module")
def visitor() -> Iterator[httpx2.Client]:
    """A browser that has not signed in."""
    with plain_client(base_url=URL, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def superset(cluster: Cluster) -> Iterator[Dashboards]:
    """The administrator's session."""
    with signed_in(cluster) as session:
        yield session


def test_nothing_is_shown_without_a_sign_in(visitor: httpx2.Client) -> None:
    for path in ("/", "/superset/welcome/", "/dashboard/list/", "/superset/dashboard/book-store-analytics/"):
        answer = visitor.get(path, follow_redirects=True)
        assert answer.url.path == "/login/", path
    for path in ("chart", "dashboard", "dataset", "database", "assets/export"):
        assert visitor.get(f"/api/v1/{path}/").status_code in (401, 404), path


def test_a_wrong_password_and_a_missing_token_are_refused(visitor: httpx2.Client, cluster: Cluster) -> None:
    name, password = administrator(cluster)
    assert "login" in sign_in(visitor, name, Hidden("not the password"))
    assert visitor.post("/login/", data={"username": name, "password": password}).status_code in (302, 400)
    assert visitor.get("/api/v1/chart/").status_code == 401


def test_headers_and_cookie_are_strict() -> None:
    answer = httpx2.get(f"{URL}/login/", trust_env=False)
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self' 'strict-dynamic' 'nonce-" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy, "a foreign origin is allowed"
    cookies = answer.headers.get_list("set-cookie")
    assert cookies
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in cookies), cookies


def test_a_change_needs_the_csrf_token(superset: Dashboards) -> None:
    assert superset.client.post("/api/v1/dashboard/", json={"dashboard_title": "intruder"}).status_code == 400
    assert "intruder" not in {row["dashboard_title"] for row in superset.every("dashboard")}


def test_dashboards_datasets_and_charts_are_the_declared_ones(superset: Dashboards) -> None:
    assert {row["dashboard_title"] for row in superset.every("dashboard")} >= set(DASHBOARDS)
    datasets = [row for row in superset.every("dataset") if row["database"]["database_name"] == "Bookstore analytics"]
    assert len({row["table_name"] for row in datasets if row["table_name"].startswith("mv_")}) == 10
    assert {row["slice_name"] for row in superset.every("chart")} >= set(CHARTS)
    assert len(CHARTS) == 16


@pytest.mark.parametrize("title", DASHBOARDS)
def test_each_dashboard_shows_its_charts_and_refreshes_itself(superset: Dashboards, title: str) -> None:
    dashboard = superset.one("dashboard", "dashboard_title", title)
    assert dashboard["published"]
    assert json.loads(dashboard["json_metadata"])["refresh_frequency"] == 10
    charts = superset.client.get(f"/api/v1/dashboard/{dashboard['id']}/charts").json()["result"]
    assert len({chart["slice_name"] for chart in charts} & set(CHARTS)) == DASHBOARDS[title]
    page = superset.client.get(f"/superset/dashboard/{dashboard['slug']}/")
    assert (page.status_code, 'id="app"' in page.text) == (200, True)


@pytest.mark.parametrize("chart", CHARTS)
def test_each_chart_answers_with_its_columns(superset: Dashboards, chart: str) -> None:
    query = yaml.safe_load(CHARTS[chart].read_text(encoding="utf-8"))["query_context"]["queries"][0]
    wanted = {column if isinstance(column, str) else column["label"] for column in query["columns"]} | set(query["metrics"])
    for row in superset.data(chart):
        assert set(row) == wanted


@pytest.mark.timeout(120)
def test_an_order_is_in_the_charts_within_15_seconds(superset: Dashboards, people: People, goods: Goods) -> None:
    book, customer = goods.book(copies=3, price="12.50"), people.customer()
    orders, revenue = superset.value("Total Orders KPI"), superset.value("Total Revenue KPI")
    assert orders is not None
    assert revenue is not None
    placed = body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], 2)["total"]))
    took = until(lambda: superset.value("Total Orders KPI") == orders + 1, "the order to be counted", 15)
    print(f"counted {took:.2f} s after the order")
    assert superset.value("Total Revenue KPI") == revenue + rounded(placed["total"])


def test_the_role_of_the_dashboards_reads_views_only(analytics_sql: Sql) -> None:
    """Those of today, and those that a later migration makes."""
    analytics_sql("SET ROLE analytics_owner; CREATE VIEW live_marker AS SELECT 1 AS one")
    try:
        assert analytics_sql("SET ROLE superset_ro; SELECT one FROM live_marker") == "1"
    finally:
        analytics_sql("DROP VIEW live_marker")
    for name in analytics_sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'm'").split():
        analytics_sql(f"SET ROLE superset_ro; SELECT count(*) FROM {name}")
    for name in analytics_sql("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'").split():
        with pytest.raises(ClusterError, match="permission denied"):
            analytics_sql(f"SET ROLE superset_ro; SELECT count(*) FROM {name}")


def test_the_role_of_the_dashboards_cannot_write(analytics_sql: Sql) -> None:
    assert int(analytics_sql("SET ROLE superset_ro; SELECT count(*) FROM mv_sales_over_time")) >= 0
    for statement in (
        "INSERT INTO dim_books SELECT * FROM dim_books LIMIT 1",
        "UPDATE fact_orders SET total = 0",
        "DELETE FROM fact_order_items",
        "TRUNCATE fact_inventory",
        "REFRESH MATERIALIZED VIEW mv_sales_over_time",
        "DROP MATERIALIZED VIEW mv_sales_over_time",
        "CREATE TABLE superset_was_here (id int)",
    ):
        with pytest.raises(ClusterError, match=r"permission denied|must be owner"):
            analytics_sql(f"SET ROLE superset_ro; {statement}")


def test_sql_lab_cannot_write_either(superset: Dashboards) -> None:
    number = superset.one("database", "database_name", "Bookstore analytics")["id"]
    for statement in ("DELETE FROM fact_orders", "CREATE TABLE superset_was_here (id int)"):
        body = {"database_id": number, "sql": statement, "client_id": uuid.uuid4().hex[:11], "runAsync": False, "schema": "public"}
        answer = superset.client.post("/api/v1/sqllab/execute/", json=body, headers=superset.headers)
        assert answer.status_code >= 400, answer.text[:300]


def test_neither_metadata_nor_logs_hold_the_password(cluster: Cluster, superset: Dashboards) -> None:
    connection = superset.one("database", "database_name", "Bookstore analytics")
    found = superset.client.get(f"/api/v1/database/{connection['id']}/connection").json()["result"]
    assert found["sqlalchemy_uri"] == "postgresql+psycopg2://superset_ro@analytics-db.analytics.svc.cluster.local:5432/analyticsdb"
    _, password = administrator(cluster)
    pod = AssetTool(cluster, 60).pod()
    lines = cluster.logs("analytics", pod, "superset", 2000) + cluster.logs("analytics", pod, "prepare", 2000)
    assert lines
    assert not [line for line in lines if password in line or "eyJ" in line]


def test_a_second_import_changes_nothing(cluster: Cluster, superset: Dashboards) -> None:
    """Twice in earnest: what is there keeps its number, nothing is there twice, and each field stays as it was."""
    tool, declared = AssetTool(cluster, 60), load(ROOT / "superset")

    def there() -> tuple[dict[str, list[int]], list[str]]:
        numbers = {kind: sorted(row["id"] for row in superset.every(kind)) for kind in ("chart", "dashboard", "dataset", "database")}
        return numbers, differences(declared, tool.export())

    tool.replace(declared)
    first = there()
    assert first[1] == []
    tool.replace(declared)
    assert there() == first
    assert reconcile(tool, declared, 30, apply=True).differences == []


def test_a_changed_and_a_deleted_chart_are_noticed_and_put_back(cluster: Cluster, superset: Dashboards) -> None:
    tool, declared = AssetTool(cluster, 60), load(ROOT / "superset")
    chart = superset.one("chart", "slice_name", "Revenue by Author")
    params = {**json.loads(chart["params"]), "row_limit": 3}
    number = superset.one("chart", "slice_name", "Revenue by Genre")["id"]
    changed = superset.client.put(f"/api/v1/chart/{chart['id']}", json={"params": json.dumps(params)}, headers=superset.headers)
    assert changed.status_code == 200, changed.text
    try:
        assert superset.client.delete(f"/api/v1/chart/{number}", headers=superset.headers).status_code == 200
        told = reconcile(tool, declared, 30, apply=False).differences
        assert "chart Revenue by Genre: is missing" in told
        assert "chart Revenue by Author: params.row_limit: 3 -> 15" in told
    finally:
        reconcile(tool, declared, 30, apply=True)
    assert reconcile(tool, declared, 30, apply=False).differences == []
    assert len({row["slice_name"] for row in superset.every("chart")} & set(CHARTS)) == 16
