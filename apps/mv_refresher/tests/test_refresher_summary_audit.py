"""The audit of the summaries: what was counted wrongly is found, told, counted and mended; nothing else is."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from audit_testing import database, variables
from conftest import APP, OWNER, Connect
from oracle import differences, take
from refresher_testing import book, item, order, settle

from bookstore_common.metrics import Metrics
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres
from mv_refresher.settings import Settings
from mv_refresher.summaries.service import SummaryAudit

ORDERS = 25
pytestmark = pytest.mark.anyio


class Bench:
    def __init__(self, settings: Settings, ours: Any) -> None:
        self.metrics = Metrics()
        self.audit = SummaryAudit(settings, ours, self.metrics, lambda: True, batch=10)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"mv_{name}_total", labels) or 0.0

    async def whole_pass(self) -> None:
        """As many looks as all orders need."""
        for _ in range(4):
            await self.audit.look()


@pytest.fixture
async def audit(roles: Postgres, fresh: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    for name, value in variables(roles, APP, fresh).items():
        monkeypatch.setenv(name, value)
    ours = database(roles, APP, fresh)
    yield Bench(load_settings(Settings), ours)
    await ours.close()


@pytest.fixture
def shop(rows: Any) -> Any:
    book(rows, "b1", author="Austen")
    book(rows, "b2", author="Borges")
    for number in range(ORDERS):
        order(rows, f"o{number:02}", status="CANCELLED" if number % 5 == 0 else "CONFIRMED")
        item(rows, f"i{number}", f"o{number:02}", f"b{1 + number % 2}", 1, "1.00")
    order(rows, "probe", user_id="cdc-probe")
    settle(rows)
    return rows


async def test_what_is_right_is_left_alone(shop: Any, audit: Bench) -> None:
    await audit.whole_pass()
    assert audit.count("audited_orders") >= ORDERS
    assert audit.count("divergent_orders") == 0
    passed = shop.execute("SELECT passed_at IS NOT NULL, passed_differing, sums_differing FROM mv_summary_audit")
    assert passed.fetchone() == (True, 0, [])
    assert shop.execute("SELECT mv_waiting()").fetchall() == []


ON_THEIR_WAY: dict[str, Callable[[Any], Any]] = {
    "changed": lambda rows: order(rows, "o03", "99.00"),
    "new": lambda rows: order(rows, "o99", "99.00"),
    "gone": lambda rows: rows.execute("DELETE FROM fact_orders WHERE order_id = 'o07'"),
    "author": lambda rows: book(rows, "b1", author="Another"),
}


@pytest.mark.parametrize("kind", ON_THEIR_WAY)
async def test_orders_on_their_way_are_no_differences(shop: Any, audit: Bench, kind: str) -> None:
    ON_THEIR_WAY[kind](shop)
    await audit.whole_pass()
    assert audit.count("divergent_orders") == 0


WRONG = {
    "sum": "UPDATE counted_orders SET total = total + 1 WHERE order_id = 'o03'",
    "lines": "UPDATE counted_orders SET quantities = '{7}' WHERE order_id = 'o03'",
    "too few": "DELETE FROM counted_orders WHERE order_id = 'o24'",
    "too many": "INSERT INTO counted_orders SELECT 'zz', date_key, day, status, total, books, authors, quantities,"
    " amounts FROM counted_orders WHERE order_id = 'o03'",
}


@pytest.mark.parametrize("kind", WRONG)
async def test_orders_that_were_counted_wrongly_are_counted_again(
    shop: Any, connect: Connect, audit: Bench, log_stream: Any, kind: str
) -> None:
    connect(OWNER).execute(WRONG[kind])
    await audit.whole_pass()
    assert audit.count("divergent_orders") == 1
    line = next(line for line in log_stream.events() if line["event"] == "orders_counted_wrongly")
    assert line["orders"] == 1
    take(shop)
    # The sums were right before the order was counted again, so they are looked at with it.
    await audit.whole_pass()
    settle(shop)
    assert differences(shop) == {}
    assert audit.count("divergent_orders") == 1


async def test_passes_in_a_row_that_find_something_are_counted(shop: Any, connect: Connect, audit: Bench) -> None:
    found = []
    for wrong in (True, True, False):
        # What the last pass found.
        shop.execute("SELECT mv_collect()")
        if wrong:
            connect(OWNER).execute(WRONG["sum"])
        passed = "SELECT passed_at FROM mv_summary_audit"
        before = shop.execute(passed).fetchone()
        while shop.execute(passed).fetchone() == before:
            await audit.audit.look()
        found.append(shop.execute("SELECT passed_differing, passes_in_a_row FROM mv_summary_audit").fetchone())
    assert found == [(1, 1), (1, 2), (0, 0)]


SUMS = {
    "sum_days": "UPDATE sum_days SET revenue = revenue + 1",
    "sum_status": "DELETE FROM sum_status WHERE status = 'CANCELLED'",
    "sum_books": "INSERT INTO sum_books VALUES ('more', 1, 1, 1)",
    "sum_authors": "UPDATE sum_authors SET orders = orders + 1",
}


@pytest.mark.parametrize("table", SUMS)
async def test_sums_that_differ_are_rebuilt(shop: Any, connect: Connect, audit: Bench, table: str) -> None:
    connect(OWNER).execute(SUMS[table])
    await audit.audit.look()
    assert {name: audit.count("divergent_sums", table=name) for name in SUMS} == {
        name: float(name == table) for name in SUMS
    }
    # Looked at again: only what stays is kept for verify.
    assert shop.execute("SELECT sums_differing FROM mv_summary_audit").fetchone() == ([],)
    settle(shop)
    assert differences(shop) == {}


async def test_a_backlog_is_not_audited(shop: Any, audit: Bench) -> None:
    for number in range(ORDERS):
        order(shop, f"o{number:02}", "11.00")
    shop.execute("SELECT mv_apply(5)")
    await audit.audit.look()
    assert audit.count("audited_orders") == 0
    take(shop)
    await audit.whole_pass()
    assert audit.count("audited_orders") >= ORDERS
    assert audit.count("divergent_orders") == 0
