"""All 16 charts show right numbers: each one's own query, compared with the source databases (issue 5, SPEC 8)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from .chart_numbers import CHARTS, Sources
from .conftest import CONSOLE, PLACES
from .dashboards import Dashboards, signed_in
from .goods import Goods, Sql
from .people import People
from .signin import Hidden, Shopper, body_of
from .tls import Trust
from .waiting import until

pytestmark = pytest.mark.timeout(600)
# Others may order meanwhile: chart and sources agree as soon as they rest for a moment.
PATIENCE_S = 90.0
# Books whose numbers lead every chart that shows the first ones only.
COPIES, SOLD, PRICE = 120, 90, "999.99"


@pytest.fixture(scope="module")
def superset(cluster: Cluster) -> Iterator[Dashboards]:
    """The administrator's session."""
    with signed_in(cluster) as session:
        yield session


@pytest.fixture(scope="module")
def sources(ecom_sql: Sql, inventory_sql: Sql) -> Sources:
    """The two source databases."""
    return Sources(ecom_sql, inventory_sql)


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, admin1: Shopper, ecom_sql: Sql, inventory_sql: Sql) -> Iterator[dict[str, Any]]:
    """A book that was sold, one that is scarce, one that is gone; an order, one that was cancelled and one that was sent."""
    trust, secret = request.getfixturevalue("trust"), request.getfixturevalue("secret")
    people = new_people(trust, secret("keycloak-clients", "e2e-provisioner"))
    goods = Goods(admin1, ecom_sql, inventory_sql)
    try:
        best, scarce = goods.book(copies=COPIES, price=PRICE), goods.book(copies=3, price="15.00")
        goods.book(copies=0, price="35.00")
        customers = people.customers(3)
        orders = [ordered(customers[0], best, SOLD), ordered(customers[1], best, 5), ordered(customers[2], scarce, 1)]
        assert customers[1].send("POST", f"/ecom/orders/{orders[1]['id']}/cancel").status_code == 200
        sent = admin1.send("PATCH", f"/admin/orders/{orders[2]['id']}/status", {"status": "SHIPPED"})
        assert sent.status_code == 200, sent.text
        # A hold that no order has taken yet.
        inventory_sql(f"UPDATE inventory SET reserved = 7 WHERE book_id = '{best['id']}'")
        yield best
    finally:
        people.close()
        goods.close()


def new_people(trust: Trust, secret: Hidden) -> People:
    """Makes users for a module's tests."""
    return People(trust, PLACES, CONSOLE, secret)


def ordered(customer: Shopper, book: dict[str, Any], copies: int) -> dict[str, Any]:
    """An order of one book."""
    return body_of(customer.checkout(str(uuid.uuid4()), customer.add(book["id"], copies)["total"]))


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_shows_the_numbers_of_the_sources(chart: str, superset: Dashboards, sources: Sources, shop: dict[str, Any]) -> None:
    expected = CHARTS[chart]
    told: list[str] = []

    def right() -> bool:
        told[:] = expected.faults(sources, superset.data(chart))
        return not told

    try:
        until(right, f"{chart} to agree with the sources", PATIENCE_S, pause=1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {told}") from error
    shown = superset.data(chart)
    assert shown, "a chart without numbers shows nothing"
    if expected.by == "label":
        assert f"{shop['title']} (A Test)" in {row["label"] for row in shown}, "what was made for this test is not among the first"


def test_every_chart_is_compared(superset: Dashboards) -> None:
    assert {row["slice_name"] for row in superset.every("chart")} >= set(CHARTS)
    assert len(CHARTS) == 16
