"""T-18: what is measured and where a person sees it: Prometheus' targets and series, the mesh map and its source, PgAdmin's servers."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan
from ansible_collections.bookstore.platform.plugins.module_utils.verification import scraping
from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table
from tests.live.declared import WORKLOADS, door
from tests.live.tls import plain_client
from tests.live.waiting import until

from .boards import ONE_AT_A_TIME
from .pictures import Pictures, pictures  # noqa: F401 (fixture)
from .window import Window

Open = Callable[..., Window]
MAP, PGADMIN = f"http://127.0.0.1:{door('N4')}", f"http://127.0.0.1:{door('N2')}"
PROMETHEUS = {
    "namespace": WORKLOADS["prometheus"]["namespace"], "workload": "prometheus",
    "port": WORKLOADS["prometheus"]["ports"]["http"]["number"],
}  # fmt: skip
# Two scrapes, two evaluations of the rules, and a refresh of the map.
SEEN_S = 60
GATEWAY, SHOP = "gateway/bookstore-gateway-istio", "ecom/ecom-api"
SERVERS = ("ecom-db", "inventory-db", "keycloak-db", "analytics-db")
# PgAdmin's page is heavy.
PATIENCE_MS = 90_000


class Series:
    """Prometheus, which has no door: it is asked where it runs, as ``verify`` asks it."""

    def __init__(self, cluster: Cluster) -> None:
        self.ask = scraping.asker(cluster, PROMETHEUS)

    def values(self, query: str) -> list[float]:
        """The values of a query, one for each series."""
        return [float(one["value"][1]) for one in self.ask(f"query?query={quote(query)}")["result"]]

    def one(self, query: str) -> float:
        """The value of a query that gives one at most; nothing counts as none."""
        found = self.values(query)
        assert len(found) <= 1, f"{query}: {len(found)} series"
        return found[0] if found else 0.0


@pytest.fixture
def series(cluster: Cluster) -> Series:
    """Asks Prometheus."""
    return Series(cluster)


@pytest.fixture
def mesh_map(window: Open, cluster: Cluster) -> Page:
    """The map's page, loaded."""
    if cluster.objects("Deployment", "observability", labelSelector="app.kubernetes.io/name=kiali"):
        pytest.skip("Kiali is deployed, and has the map's door: these tests are of the map")
    page = window(origin=MAP).page()
    page.goto("/")
    expect(page.get_by_role("heading", name="Mesh map")).to_be_visible()
    return page


def shop_a_little(api: httpx2.Client) -> None:
    """Traffic from the gateway to the shop's service."""
    for _ in range(5):
        assert api.get("/ecom/books", params={"size": 1}).status_code == 200


def edge(page: Page, source: str, target: str) -> Locator:
    """A row of the table that says the same as the drawing."""
    return page.locator(f'section#edges tbody tr:has(th button:text-is("{source}")):has(td button:text-is("{target}"))')


def shown(api: httpx2.Client) -> dict[str, Any]:
    """What the map's page is made of."""
    found: dict[str, Any] = api.get("/api/map").json()
    return found


def test_every_target_is_up(cluster: Cluster, series: Series) -> None:
    """All that the table of workloads declares and that runs, the mesh's own parts, and each node."""
    wanted = scraping.expected(workload_table.metrics(WORKLOADS), cluster.objects("Pod"), cluster.objects("Node"))
    assert {"istiod", "kubelet", "ecom-api", "kafka", "ecom-db", "flink-jobmanager"} <= {job for job, _ in wanted}
    found = scraping.observe(series.ask, wanted, time.monotonic() + scraping.PATIENCE)
    assert found["down"] == []
    assert wanted - {(job, name) for job, name in found["scraped"]} == set()


def test_control_plane_proxies_and_services_tell_their_figures(cluster: Cluster, series: Series, api: httpx2.Client) -> None:
    """istiod how many proxies it serves, the data plane each connection's identities, a service each request."""
    assert series.one('sum(pilot_xds{job="istiod"})') > 0
    proxies = "ztunnel" if mesh_plan.mesh_mode(cluster.objects("Namespace")) == "ambient" else "istio-proxy"
    assert len(series.values(f'group by (pod) ({{job="{proxies}"}})')) >= len(cluster.objects("Node")) - 1
    proven = 'istio_tcp_connections_opened_total{destination_workload="ecom-db", connection_security_policy="mutual_tls"}'
    assert series.one(f"sum({proven})") > 0
    requests = 'sum(http_requests_total{job="ecom-api", namespace="ecom"})'
    before = series.one(requests)
    shop_a_little(api)
    until(lambda: series.one(requests) >= before + 5, "the requests to be counted", SEEN_S, pause=2)


def test_the_map_shows_who_calls_whom(mesh_map: Page, api: httpx2.Client, pictures: Pictures) -> None:  # noqa: F811
    """Edges with their rate and a proven identity, as a table and as a drawing; a click shows the workload."""
    shop_a_little(api)
    row = edge(mesh_map, GATEWAY, SHOP)
    expect(row).to_contain_text("active", timeout=SEEN_S * 1000)
    expect(row).to_contain_text("/s")
    expect(row).to_contain_text("both ends proved their identity")
    drawing = mesh_map.get_by_role("region", name="Drawing of the mesh")
    expect(drawing.locator(".edge.active.mutual").filter(has_text=f"{GATEWAY} calls {SHOP}")).to_have_count(1)
    if pictures.folder:
        # All of it in one picture.
        for _ in range(2):
            mesh_map.get_by_role("button", name="Smaller").click()
        pictures.keep_one(mesh_map, "mesh-map")
    drawing.locator(f'.node[data-key="{SHOP}"]').click()
    detail = mesh_map.get_by_role("complementary")
    expect(detail.locator("#detail-title")).to_contain_text("ecom-api")
    expect(detail.locator("figure").first).to_be_visible()


def test_the_map_says_what_prometheus_says(mesh_map: Page, series: Series) -> None:
    """It is not blind, and its figures are the recorded ones; its own questions are an edge, too."""
    expect(mesh_map.get_by_text("As of")).to_be_visible()
    expect(mesh_map.locator(".notice p")).to_have_count(0)
    with plain_client(base_url=MAP, timeout=20) as client:

        def agree() -> bool:
            found = shown(client)
            assert (found["figures"]["state"], found["recorded"]) == ("seen", True)
            told = {(one["source"], one["target"]): one["rate"] for one in found["edges"] if one["rate"] is not None}
            rows = series.ask(f"query?query={quote('edge:requests:rate1m')}")["result"]
            names = ("source_workload_namespace", "source_workload", "destination_workload_namespace", "destination_workload")
            for row in rows:
                labels = [row["metric"][name] for name in names]
                pair = ("/".join(labels[:2]), "/".join(labels[2:]))
                if pair not in told or abs(told[pair] - float(row["value"][1])) > 0.001:
                    return False
            return len(rows) > 0

        until(agree, "the map to show what Prometheus records, within one evaluation", SEEN_S, pause=1)
    asking = edge(mesh_map, "observability/mesh-map", "observability/prometheus")
    expect(asking).to_contain_text("active", timeout=SEEN_S * 1000)


@ONE_AT_A_TIME
def test_pgadmin_shows_the_four_servers(window: Open, cluster: Cluster, pictures: Pictures) -> None:  # noqa: F811
    """To who signs in; one opens without a password, for PgAdmin has it from its Secret."""
    secret = cluster.get("Secret", "admin-tools", "pgadmin-admin")
    assert secret is not None, "admin-tools/pgadmin-admin does not exist; run make up"
    name, password = (base64.b64decode(secret["data"][key]).decode("utf-8") for key in ("username", "password"))
    page = window(origin=PGADMIN, ours=False).page()
    page.goto("/browser/", wait_until="commit", timeout=PATIENCE_MS)
    page.locator('input[name="email"]').fill(name, timeout=PATIENCE_MS)
    page.locator('input[name="password"]').fill(password)
    page.get_by_role("button", name="Login").click()
    page.get_by_text("Bookstore", exact=True).dblclick(timeout=PATIENCE_MS)
    for server in SERVERS:
        expect(page.get_by_text(server, exact=True)).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_text(SERVERS[0], exact=True).dblclick()
    expect(page.get_by_text("Databases")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator('input[type="password"]').locator("visible=true")).to_have_count(0)
    if pictures.folder:
        # The first tab has charts, which are empty for some seconds.
        page.get_by_text("Properties", exact=True).click()
        expect(page.get_by_text("PostgreSQL 17").first).to_be_visible(timeout=PATIENCE_MS)
        pictures.keep_one(page, "pgadmin")
