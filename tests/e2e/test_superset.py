"""T-17: Superset in a browser: sign-in, the dashboards with their charts, what they show of a new order; nothing can be changed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Response, ViewportSize, expect

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from tests.live.dashboards import URL, Dashboards, administrator
from tests.live.goods import Goods, Sql
from tests.live.people import People
from tests.live.signin import body_of
from tests.live.test_analytics import CONVERGENCE_S, VIEWS
from tests.live.test_superset import CHARTS
from tests.live.tls import plain_client
from tests.live.waiting import until

from .boards import ONE_AT_A_TIME, PATIENCE_MS, chart, drawn, open_dashboard, part
from .pictures import Pictures, pictures  # noqa: F401 (fixture)
from .window import Window

Open = Callable[..., Window]
pytestmark = ONE_AT_A_TIME
DASHBOARDS = {
    "book-store-analytics": (
        "Sales Over Time", "Product Sales Volume", "Top Books by Revenue", "Revenue by Author", "Book Price Distribution",
    ),
    "sales-revenue-analytics": (
        "Total Revenue KPI", "Total Orders KPI", "Average Order Value KPI", "Average Order Value Over Time", "Order Status Distribution",
    ),
    "inventory-analytics": (
        "Inventory Health Table", "Stock Status Distribution", "Stock vs Reserved", "Inventory Turnover Rate", "Revenue by Genre",
        "Revenue Share by Genre",
    ),
}  # fmt: skip
# A book that leads each list of the first ones, whoever else orders meanwhile.
COPIES, SOLD, PRICE = 120, 90, "999.99"
# A screen that ends below the charts of stock.
DASHBOARD: ViewportSize = {"width": 1280, "height": 1000}
# SPEC 8: dashboards ask again every 10 s; then one chart after the other is asked for.
REFRESH_MS = 45_000


@pytest.fixture
def buy(people: People, goods: Goods) -> Callable[[], str]:
    """Sells a new book; returns how charts name it."""

    def sell() -> str:
        book, customer = goods.book(copies=COPIES, price=PRICE), people.customer()
        body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], SOLD)["total"]))
        return f"{book['title']} (A Test)"

    return sell


@pytest.fixture
def sale(buy: Callable[[], str], superset: Dashboards) -> str:
    """A book that was sold, and that dashboards know: without orders there is nothing to draw."""
    label = buy()
    until(lambda: label in {row["label"] for row in superset.data("Top Books by Revenue")}, "the order in the charts", CONVERGENCE_S, 1)
    return label


def fill_form(page: Page, name: str, password: str) -> None:
    """Open the sign-in page and send its form."""
    page.goto("/login/", wait_until="commit", timeout=PATIENCE_MS)
    field = part(page, "username-input")
    expect(field).to_be_visible(timeout=PATIENCE_MS)
    field.fill(name)
    part(page, "password-input").fill(password)
    part(page, "login-button").click()


def expect_drawn(page: Page, slug: str) -> None:
    """A dashboard shows all of its charts."""
    open_dashboard(page, slug)
    for name in DASHBOARDS[slug]:
        drawn(chart(page, name))
    expect(part(page, "chart-grid-component")).to_have_count(len(DASHBOARDS[slug]))


def test_who_signs_in_sees_the_dashboards(window: Open, cluster: Cluster, pictures: Pictures) -> None:  # noqa: F811
    name, password = administrator(cluster)
    page = window(origin=URL, ours=False).page()
    fill_form(page, name, password)
    page.wait_for_url(lambda url: "/login" not in url, wait_until="commit", timeout=PATIENCE_MS)
    answer = page.request.get(f"{URL}/api/v1/dashboard/")
    assert {row["slug"] for row in answer.json()["result"]} >= set(DASHBOARDS)
    if pictures.folder:
        # Of the three that one which has figures without an order, too; its first two rows.
        page.set_viewport_size(DASHBOARD)
        open_dashboard(page, "inventory-analytics")
        for chart_name in DASHBOARDS["inventory-analytics"][:3]:
            drawn(chart(page, chart_name))
        pictures.keep_one(page, "dashboard")


def test_a_wrong_password_is_refused(window: Open, cluster: Cluster) -> None:
    page = window(origin=URL, ours=False).page()
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/login/" in answer.url, timeout=PATIENCE_MS):
        fill_form(page, administrator(cluster)[0], "not the password")
    expect(part(page, "password-input")).to_have_value("", timeout=PATIENCE_MS)
    assert "/login/" in page.url
    assert page.request.get(f"{URL}/api/v1/chart/").status == 401


def test_nothing_is_shown_without_a_sign_in() -> None:
    with plain_client(base_url=URL, timeout=60) as visitor:
        for slug in DASHBOARDS:
            answer = visitor.get(f"/superset/dashboard/{slug}/", follow_redirects=True)
            assert (answer.status_code, answer.url.path) == (200, "/login/"), slug
        for resource in ("chart", "dashboard", "dataset", "database", "assets/export"):
            assert visitor.get(f"/api/v1/{resource}/").status_code in (401, 404), resource
        assert visitor.post("/api/v1/chart/data", json={}).status_code in (400, 401)


@pytest.mark.usefixtures("sale")
def test_the_dashboard_of_the_book_store_is_drawn(boards: Page) -> None:
    expect_drawn(boards, "book-store-analytics")


@pytest.mark.usefixtures("sale")
def test_the_dashboard_of_sales_and_revenue_is_drawn(boards: Page) -> None:
    expect_drawn(boards, "sales-revenue-analytics")


@pytest.mark.usefixtures("sale")
def test_the_dashboard_of_the_inventory_is_drawn(boards: Page) -> None:
    expect_drawn(boards, "inventory-analytics")


def test_sixteen_charts_answer_with_figures(superset: Dashboards, sale: str) -> None:
    """Each one's own query, past every cache; those that name books name the one that was sold."""
    assert sorted(name for names in DASHBOARDS.values() for name in names) == sorted(CHARTS)
    assert len(CHARTS) == 16
    for name in CHARTS:
        rows = superset.data(name)
        assert rows, f"{name} shows nothing"
        if name in ("Product Sales Volume", "Top Books by Revenue", "Inventory Health Table"):
            assert sale in {row["label"] for row in rows}, name


def test_ten_datasets_are_the_ten_views(superset: Dashboards) -> None:
    """Each with the columns that its view has, and no other table."""
    ours = [row for row in superset.every("dataset") if row["database"]["database_name"] == "Bookstore analytics"]
    assert {row["table_name"] for row in ours if row["table_name"].startswith("mv_")} == VIEWS
    assert not [row["table_name"] for row in ours if row["table_name"].startswith(("fact_", "dim_"))]
    for row in ours:
        found = superset.client.get(f"/api/v1/dataset/{row['id']}").json()["result"]
        assert found["columns"], row["table_name"]


def test_a_new_order_is_shown_by_the_refresh_alone(boards: Page, buy: Callable[[], str]) -> None:
    """The page asks by itself and is not loaded anew; what it got has the order, and it goes on to show it."""
    loads: list[str] = []
    boards.on("framenavigated", lambda frame: loads.append(frame.url))
    open_dashboard(boards, "book-store-analytics")
    drawn(chart(boards, "Book Price Distribution"))
    label, loaded = buy(), len(loads)

    def tells(answer: Response) -> bool:
        return "/api/v1/chart/data" in answer.url and answer.ok and label in labels(answer.json())

    with boards.expect_event("response", tells, timeout=REFRESH_MS):
        pass
    drawn(chart(boards, "Top Books by Revenue"))
    assert len(loads) == loaded, loads


def labels(answer: dict[str, Any]) -> set[str]:
    """The books that an answer with a chart's rows names."""
    return {str(row.get("label")) for result in answer["result"] for row in result.get("data") or []}


def test_the_role_of_the_dashboards_only_reads_views(superset: Dashboards, analytics_sql: Sql) -> None:
    """In SQL Lab, where a person could write anything; and in the database itself, whatever Superset allows."""
    number = superset.one("database", "database_name", "Bookstore analytics")["id"]

    def lab(statement: str) -> int:
        body = {"database_id": number, "sql": statement, "client_id": uuid.uuid4().hex[:11], "runAsync": False, "schema": "public"}
        return superset.client.post("/api/v1/sqllab/execute/", json=body, headers=superset.headers).status_code

    assert lab("SELECT count(*) FROM mv_sales_over_time") == 200
    for statement in ("DELETE FROM fact_orders", "SELECT * FROM fact_orders", "CREATE TABLE e2e_was_here (id int)"):
        assert lab(statement) >= 400, statement
    reads, refreshes = "SELECT count(*) FROM fact_orders", "REFRESH MATERIALIZED VIEW mv_sales_over_time"
    for statement in (reads, "UPDATE dim_books SET title = ''", refreshes):
        with pytest.raises(ClusterError, match=r"permission denied|must be owner"):
            analytics_sql(f"SET ROLE superset_ro; {statement}")


