"""What the map shows: recorded answers of both sources through the real application."""

import json
from typing import Any

import httpx2
import pytest
from map_testing import RECORDED, TOKEN, Cluster, Figures

pytestmark = pytest.mark.anyio
Row = dict[str, Any]


async def look(client: httpx2.AsyncClient) -> Row:
    response = await client.get("/api/map")
    assert response.status_code == 200
    return dict(response.json())


def edge(found: Row, source: str, target: str) -> Row:
    [one] = [row for row in found["edges"] if (row["source"], row["target"]) == (source, target)]
    return dict(one)


def workload(found: Row, name: str) -> Row:
    [one] = [row for row in found["workloads"] if row["id"] == name]
    return dict(one)


def ends(source: str, target: str) -> dict[str, str]:
    """Labels of a series between two workloads."""
    (source_space, source_name), (target_space, target_name) = source.split("/"), target.split("/")
    return {
        "source_workload_namespace": source_space, "source_workload": source_name,
        "destination_workload_namespace": target_space, "destination_workload": target_name,
    }  # fmt: skip


async def test_an_edge_has_its_figures_and_its_lock(client: httpx2.AsyncClient) -> None:
    found = edge(await look(client), "ecom/ecom-api", "inventory/inventory-api")
    assert found == {
        "source": "ecom/ecom-api", "target": "inventory/inventory-api", "state": "active", "ports": [8001],
        "scrape": False, "identity": "mutual", "rate": 4.2, "errors": 0.6, "p50": 12.0, "p95": 210.0,
        "connections": None, "sent": 8400.0, "received": 3900.0,
    }  # fmt: skip


async def test_a_declared_edge_without_traffic_is_idle(client: httpx2.AsyncClient) -> None:
    found = await look(client)
    # No series at all; and one that does not move, whose identity was proved when it did.
    silent = edge(found, "inventory/inventory-api", "infra/redis")
    assert (silent["state"], silent["rate"], silent["identity"]) == ("idle", None, "unknown")
    still = edge(found, "inventory/inventory-worker", "inventory/inventory-db")
    assert (still["state"], still["identity"]) == ("idle", "mutual")
    # An account that several workloads share is each of them; a Job is there in the namespace of what it reaches.
    assert edge(found, "analytics/flink-jobmanager", "analytics/flink-taskmanager")["ports"] == [6120, 6121, 6122]
    assert edge(found, "ecom/db-ops", "ecom/ecom-db")["state"] == "idle"


async def test_undeclared_traffic_stands_out(client: httpx2.AsyncClient, figures: Figures) -> None:
    assert edge(await look(client), "storefront/storefront-web", "ecom/ecom-db")["state"] == "undeclared"
    # Gone when it stops; a workload that nobody declared is a node of its own.
    figures.edges = [
        {"metric": {"__name__": "edge:requests:rate1m", **ends("shadow/x", "ecom/ecom-api")}, "value": [0, "1"]},
        {"metric": {"__name__": "edge:requests:rate1m", **ends("kube-system/y", "ecom/ecom-api")}, "value": [0, "1"]},
        {"metric": {"__name__": "edge:requests:rate1m", **ends("storefront/storefront-web", "ecom/ecom-db")},
         "value": [0, "0"]},
    ]  # fmt: skip
    found = await look(client)
    states = {(row["source"], row["state"]) for row in found["edges"] if row["state"] not in ("idle", "active")}
    assert states == {("shadow/x", "undeclared"), ("kube-system/y", "platform")}
    assert (workload(found, "shadow/x")["declared"], workload(found, "shadow/x")["state"]) == (False, "unknown")


async def test_what_comes_through_a_node_port_is_the_doors(client: httpx2.AsyncClient, figures: Figures) -> None:
    found = await look(client)
    assert edge(found, "host/node-port", "analytics/superset")["state"] == "active"
    assert workload(found, "host/node-port")["kind"] == "Door"
    labels = ends("unknown/unknown", "ecom/ecom-db")
    figures.edges = [{"metric": {"__name__": "edge:sent_bytes:rate1m", **labels}, "value": [0, "5"]}]
    assert edge(await look(client), "unknown/unknown", "ecom/ecom-db")["state"] == "undeclared"


async def test_identity_needs_proof(client: httpx2.AsyncClient) -> None:
    found = await look(client)
    assert edge(found, "analytics/superset", "analytics/analytics-db")["identity"] == "unproven"
    assert edge(found, "host/node-port", "analytics/superset")["identity"] == "unknown"


async def test_scrapes_can_be_told_from_calls(client: httpx2.AsyncClient) -> None:
    found = await look(client)
    scrapes = {row["source"] for row in found["edges"] if row["scrape"]}
    assert scrapes == {"observability/prometheus"}
    assert edge(found, "observability/mesh-map", "observability/prometheus")["scrape"] is False


async def test_workloads_are_as_kubernetes_sees_them(client: httpx2.AsyncClient, cluster: Cluster) -> None:
    found = await look(client)
    kafka = workload(found, "infra/kafka")
    assert (kafka["kind"], kafka["state"], kafka["wanted"], kafka["ready"]) == ("StatefulSet", "ready", 1, 1)
    assert workload(found, "gateway/bookstore-gateway-istio")["declared"]
    # Declared, and not there; may be absent; runs when it is needed.
    assert workload(found, "observability/mesh-map")["state"] == "absent"
    assert workload(found, "observability/kiali")["state"] == "off"
    assert workload(found, "ecom/db-ops")["state"] == "off"
    assert [node["ready"] for node in found["nodes"]] == [True, True, True]
    # Whatever the pages of the lists.
    kept = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in cluster.objects["Deployment"]}
    runs = [row for row in found["workloads"] if row["kind"] == "Deployment" and row["wanted"]]
    shown = {(row["namespace"], row["name"]) for row in runs}
    assert kept == shown


async def test_a_failing_pod_says_why(client: httpx2.AsyncClient, cluster: Cluster) -> None:
    [pod] = [one for one in cluster.objects["Pod"] if one["metadata"]["name"].startswith("ecom-api-")]
    [container, *_] = pod["status"]["containerStatuses"]
    container.update(
        restartCount=7, state={"waiting": {"reason": "CrashLoopBackOff", "message": "password=hunter2"}},
        lastState={"terminated": {"finishedAt": "2026-11-28T17:00:00Z", "reason": "OOMKilled"}},
    )  # fmt: skip
    [deployment] = [one for one in cluster.objects["Deployment"] if one["metadata"]["name"] == "ecom-api"]
    deployment["status"]["readyReplicas"] = 0
    response = await client.get("/api/map")
    one = workload(response.json(), "ecom/ecom-api")
    assert (one["state"], one["ready"], one["restarts"] >= 7) == ("failing", 0, True)
    assert one["reason"] == f"{container['name']}: CrashLoopBackOff"
    assert one["last_restart"] == 1795885200
    assert "hunter2" not in response.text


async def test_alerts_come_with_their_remedy_and_the_worst_first(client: httpx2.AsyncClient) -> None:
    found = await look(client)
    assert [(one["name"], one["state"], one["remedy"]) for one in found["alerts"]] == [
        ("ChangeRecordsQuarantined", "firing", "BK-366"), ("EdgeFails", "firing", "BK-302"),
        ("MemoryNearLimit", "pending", "BK-302"),
    ]  # fmt: skip
    assert found["alerts"][0]["since"] == pytest.approx(1795885385.123, abs=0.01)
    assert found["alerts"][0]["about"] == {"table": "fact_orders"}
    # Pending ones are not counted.
    assert workload(found, "inventory/inventory-api")["alerts"] == 1
    assert workload(found, "infra/kafka")["alerts"] == 0


async def test_freshness_of_each_table_and_view(client: httpx2.AsyncClient) -> None:
    rows = {(row["kind"], row["name"]): row for row in (await look(client))["freshness"]}
    assert rows["table", "orders"] == {
        "kind": "table",
        "name": "orders",
        "lag_records": 6.0,
        "audit_age_seconds": 182.0,
    }
    assert rows["view", "mv_bestsellers"]["age_seconds"] == 29.0
    assert ("table", "nothing") not in rows


async def test_the_last_proof_is_told(client: httpx2.AsyncClient, cluster: Cluster) -> None:
    proof = (await look(client))["proof"]
    assert proof["counts"] == {"passed": 38, "failed": 1, "skipped": 1}
    assert [check["error"] for check in proof["checks"] if check["status"] == "failed"] == ["BK-327"]
    for wrong in (None, "", "[]", "{}", '{"checks": 3}', '{"checks": [], "started": "x", "seconds": 1, "counts": {}}'):
        cluster.summary = wrong
        assert (await look(client))["proof"] is None


@pytest.mark.parametrize(
    "text",
    ['a "quoted" \\ title', "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "{{ x }} \n\0 end"],
)
async def test_whatever_a_label_holds_breaks_nothing(client: httpx2.AsyncClient, figures: Figures, text: str) -> None:
    labels = ends("ecom/ecom-api", f"shop/{text.replace('/', '|')}")
    figures.edges += [{"metric": {"__name__": "edge:requests:rate1m", **labels}, "value": [0, "2"]}]
    labels = {"alertname": text, "table": text, "severity": text}
    figures.alerts += [{"labels": labels, "annotations": {"summary": text}, "state": "firing", "activeAt": text}]
    figures.fresh += [{"metric": {"__name__": "view:age:seconds", "view": text}, "value": [0, "1"]}]
    response = await client.get("/api/map")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    found = response.json()
    assert len(found["alerts"]) == 4
    assert any(row["target"].startswith("shop/") for row in found["edges"])


async def test_no_address_of_a_person_and_no_secret_is_shown(client: httpx2.AsyncClient, figures: Figures) -> None:
    figures.alerts = [{
        "labels": {"alertname": "X", "email": "jane@shop.test", "reason": "jane.doe@shop.test", "path": "/?q=jane"},
        "annotations": {"summary": "mail to <jane@shop.test>, password: hunter2", "action": "Bearer eyJhbGciOi.x.y"},
        "state": "firing",
    }]  # fmt: skip
    text = (await client.get("/api/map")).text
    for secret in ("jane", "hunter2", "eyJ", TOKEN):
        assert secret not in text
    assert "(hidden)" in text


async def test_blind_since_prometheus_went_and_the_cluster_is_still_shown(
    client: httpx2.AsyncClient, figures: Figures
) -> None:
    assert (await look(client))["figures"] == {"state": "seen"}
    figures.stop()
    first = await look(client)
    assert first["figures"]["state"] == "blind"
    assert first["figures"]["reason"] == "Prometheus does not answer"
    assert abs(first["figures"]["since"] - first["time"]) < 30
    assert first["alerts"] == []
    assert {row["state"] for row in first["edges"]} == {"idle"}
    assert workload(first, "infra/kafka")["state"] == "ready"
    assert (await look(client))["figures"]["since"] == first["figures"]["since"]


async def test_sight_comes_back(client: httpx2.AsyncClient, figures: Figures) -> None:
    whole = figures.answers
    figures.answers = {path: lambda _query: (503, {"status": "error"}) for path in whole}
    assert (await look(client))["figures"]["state"] == "blind"
    figures.answers = whole
    assert (await look(client))["figures"] == {"state": "seen"}


@pytest.mark.parametrize(
    ("age", "reason"), [(None, "Prometheus holds no figures"), (600.0, "Prometheus has no new figures")]
)
async def test_a_prometheus_without_new_figures_is_blindness(
    client: httpx2.AsyncClient, figures: Figures, age: float | None, reason: str
) -> None:
    await look(client)
    figures.age = age
    found = await look(client)
    assert found["figures"]["reason"].startswith(reason)
    if age:
        assert found["time"] - found["figures"]["since"] == pytest.approx(600, abs=5)


@pytest.mark.parametrize(
    "body", [b"<html>", {"status": "error"}, [], {"status": "success", "data": {"resultType": "scalar"}}]
)
async def test_nonsense_of_prometheus_is_blindness(client: httpx2.AsyncClient, figures: Figures, body: Any) -> None:
    figures.answers["/api/v1/query"] = lambda _query: (200, body)
    assert (await look(client))["figures"]["state"] == "blind"


async def test_without_recorded_edges_that_is_told(client: httpx2.AsyncClient, figures: Figures) -> None:
    assert (await look(client))["recorded"] is True
    figures.edges = []
    found = await look(client)
    assert (found["recorded"], found["figures"]["state"]) == (False, "seen")


@pytest.mark.parametrize("status", [401, 403, 500])
async def test_without_the_api_server_the_traffic_is_still_shown(
    client: httpx2.AsyncClient, cluster: Cluster, status: int
) -> None:
    cluster.answers["/api/v1/pods"] = lambda _query: (status, {"message": "no"})
    found = await look(client)
    assert found["cluster"]["state"] == "blind"
    assert f"status {status}" in found["cluster"]["reason"]
    assert workload(found, "infra/kafka")["state"] == "unknown"
    assert edge(found, "ecom/ecom-api", "infra/redis")["state"] == "active"
    cluster.stop()
    assert (await look(client))["cluster"]["reason"] == "the API server does not answer"


async def test_only_questions_are_asked_and_with_the_accounts_token(
    client: httpx2.AsyncClient, figures: Figures, cluster: Cluster
) -> None:
    await look(client)
    await client.get("/api/workloads/ecom/ecom-api")
    assert {method for method, *_ in figures.asked + cluster.asked} == {"GET"}
    assert {headers["authorization"] for *_, headers in cluster.asked} == {f"Bearer {TOKEN}"}
    assert not [headers for *_, headers in figures.asked if "authorization" in headers]
    assert not [path for _, path, *_ in cluster.asked if "secret" in path]


async def test_the_recorded_declaration_is_that_of_the_inventory() -> None:
    """The role writes the file from the inventory; the recorded one is a copy of it at its time, of the same form."""
    content = json.loads((RECORDED / "declared.json").read_text())
    assert set(content) == {"workloads", "edges"}
    assert {"name", "namespace", "kind", "account", "metrics", "optional"} == set(content["workloads"][0])
