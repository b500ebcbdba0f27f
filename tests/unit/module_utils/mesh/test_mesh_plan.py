"""What is probed, and how results are judged; no cluster."""

from __future__ import annotations

from typing import Any

import pytest
from mesh_scene import MATRIX, PODS, SERVICES

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_pod
from ansible_collections.bookstore.platform.plugins.module_utils.mesh.mesh_plan import Account, Plan, Scene
from ansible_collections.bookstore.platform.plugins.module_utils.verification import security_checks


def build(mode: str = "sidecar", full: bool = True, exec_sources: tuple[str, ...] = ()) -> Plan:
    sources = [Account.parse(text) for text in exec_sources]
    return mesh_plan.Planner(Scene(PODS, SERVICES, mode), sources, "storefront").build(MATRIX, full)


def edges(plan: Plan, kind: str) -> list[tuple[str, str, str]]:
    return [(c.source, c.destination, f"{c.host}:{c.port}") for p in plan.probes for c in p.calls if c.kind == kind]


def test_allowed_edges_are_those_with_both_ends_deployed() -> None:
    plan = build(full=False)
    assert edges(plan, "allowed") == [
        ("gateway/bookstore-gateway-istio", "ecom/ecom-api:8000", "ecom-api.ecom.svc.cluster.local:8000"),
        ("ecom/ecom-api", "ecom/ecom-db:5432", "ecom-db.ecom.svc.cluster.local:5432"),
    ]
    assert {c.kind for p in plan.probes for c in p.calls} == {"allowed"}
    assert "storefront/storefront-web:8080 is not deployed" in plan.skipped
    assert "ecom/ecom-worker -> ecom/ecom-db:5432: the source is not deployed" in plan.skipped


def test_forbidden_calls_differ_from_the_allowed_one_in_one_thing_each() -> None:
    plan = build()
    by_kind = {
        call.kind: probe for probe in plan.probes for call in probe.calls if call.destination == "ecom/ecom-api:8000"
    }
    allowed, principal, plaintext = by_kind["allowed"], by_kind["principal"], by_kind["plaintext"]
    assert (
        allowed.labels
        == principal.labels
        == plaintext.labels
        == {"gateway.networking.k8s.io/gateway-name": "bookstore-gateway"}
    )
    assert (allowed.account, allowed.meshed) == ("bookstore-gateway-istio", True)
    assert (principal.account, principal.meshed) == ("default", True)
    assert (plaintext.account, plaintext.meshed) == ("default", False)


def test_right_account_is_tried_on_a_port_of_others() -> None:
    assert edges(build(), "port") == [
        ("gateway/bookstore-gateway-istio", "ecom/ecom-api:8001", "ecom-api.ecom.svc.cluster.local:8001")
    ]


def test_dropped_packets_come_with_a_control() -> None:
    plan = build()
    assert [(s, d) for s, d, _ in edges(plan, "dropped")] == [
        ("namespace storefront", "ecom/ecom-api:8000"), ("namespace storefront", "ecom/ecom-db:5432"),
        ("namespace storefront", "API server"),
        ("namespace default", "ecom/ecom-api:8000"), ("namespace default", "ecom/ecom-db:5432"),
    ]  # fmt: skip
    assert [(s, d) for s, d, _ in edges(plan, "control")] == [("namespace default", "API server")]


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        ("principal", ["timeout"]), ("plaintext", ["timeout"]), ("identity", ["timeout"]),
        ("allowed", None), ("dropped", None), ("port", None),
    ],
)
def test_silence_is_waited_for_where_it_proves_nothing(kind: str, again: list[str] | None) -> None:
    request = mesh_plan.Call("c1", kind, "a/b", "c/d:1", "d.c", 1, "http").request("PEM")
    assert request.get("while") == again
    assert (request["patience"] > 0) is (again is not None)


@pytest.mark.parametrize(
    ("mode", "address"), [("sidecar", "ecom-db.ecom.svc.cluster.local:5432"), ("ambient", "10.244.1.5:15008")]
)
def test_identity_is_read_where_the_mode_terminates_tls(mode: str, address: str) -> None:
    plan = build(mode)
    assert address in {a for _, _, a in edges(plan, "identity")}
    call = next(
        c for p in plan.probes for c in p.calls if c.kind == "identity" and c.destination == "ecom/ecom-db:5432"
    )
    assert call.identity == "spiffe://cluster.local/ns/ecom/sa/ecom-db"
    assert call.request("PEM")["ca"] == "PEM"


def test_exec_source_uses_its_own_pod_and_not_the_proxy_container() -> None:
    plan = build(exec_sources=("ecom/ecom-api",))
    probe = next(p for p in plan.probes for c in p.calls if c.kind == "allowed" and c.source == "ecom/ecom-api")
    assert (probe.pod, probe.container, probe.node) == ("api-1", "app", "worker")


def test_manifest_is_restricted_short_lived_and_in_no_service() -> None:
    probe = next(p for p in build().probes if not p.meshed and p.labels)
    body = mesh_pod.pod_manifest(probe, "x", "run", "image", "python3", "script", "{}", "sidecar")
    assert security_checks.pod_faults(body["spec"]) == []
    assert body["spec"]["readinessGates"] == [{"conditionType": mesh_pod.NEVER_READY}]
    assert body["spec"]["activeDeadlineSeconds"] <= 180
    assert body["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    body = mesh_pod.pod_manifest(probe, "x", "run", "image", "python3", "script", "{}", "ambient")
    assert body["metadata"]["labels"]["istio.io/dataplane-mode"] == "none"


@pytest.mark.parametrize(
    ("kind", "outcome", "ok"),
    [
        ("allowed", "answered", True), ("allowed", "rbac_denied", False), ("allowed", "timeout", False),
        ("principal", "rbac_denied", True), ("principal", "reset", True), ("principal", "answered", False),
        ("principal", "timeout", False), ("principal", "unresolved", False),
        ("plaintext", "reset", True), ("plaintext", "answered", False), ("plaintext", "timeout", False),
        ("dropped", "timeout", True), ("dropped", "port_closed", False), ("dropped", "reset", False),
        ("port", "timeout", True), ("port", "answered", False), ("control", "timeout", False),
    ],
)  # fmt: skip
def test_judgement(kind: str, outcome: str, ok: bool) -> None:
    call = mesh_plan.Call("c1", kind, "a/b", "ecom/ecom-db:5432", "h", 1, "http")
    probe = mesh_plan.Probe("a", "b", True, {}, node="worker")
    edge = mesh_plan.judge(
        call, probe, {"outcome": outcome, "detail": "d", "seconds": 0.1}, {"ecom/ecom-db:5432": [PODS[2]]}
    )
    assert edge["ok"] is ok
    assert (edge["source_node"], edge["destination_nodes"], edge["pods"]) == ("worker", ["worker2"], ["ecom/ecom-db-0"])


def test_wrong_identity_is_broken() -> None:
    call = mesh_plan.Call(
        "c1", "identity", "a", "d", "h", 1, "tls", identity="spiffe://cluster.local/ns/ecom/sa/ecom-db"
    )
    seen = {"outcome": "answered", "detail": "spiffe://cluster.local/ns/ecom/sa/default", "seconds": 0}
    edge = mesh_plan.judge(call, mesh_plan.Probe("a", "b", False, {}), seen, {})
    assert not edge["ok"]
    assert "expected spiffe://cluster.local/ns/ecom/sa/ecom-db" in mesh_plan.describe(edge)


def test_missing_result_is_broken() -> None:
    call = mesh_plan.Call("c1", "dropped", "a", "d", "h", 1, "http")
    assert not mesh_plan.judge(call, mesh_plan.Probe("a", "b", False, {}), None, {})["ok"]


def test_shared_nodes_and_pods_of_broken_edges() -> None:
    def edge(kind: str, source: str, nodes: list[str], pods: list[str]) -> dict[str, Any]:
        return {"kind": kind, "source_node": source, "destination_nodes": nodes, "pods": pods}

    broken = [
        edge("allowed", "w1", ["w2"], ["ecom/db"]),
        edge("allowed", "w2", ["w3"], ["ecom/x"]),
        edge("dropped", "w9", [], []),
    ]
    assert mesh_plan.shared(broken) == (["w2"], [])
    assert mesh_plan.shared([broken[0]]) == (["w1", "w2"], ["ecom/db"])
    assert mesh_plan.shared([]) == ([], [])


@pytest.mark.parametrize("text", ["ecom", "ecom/", "/x", "a/b/c"])
def test_wrong_source_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"source={text} must be <namespace>/<service account>"):
        Account.parse(text)


@pytest.mark.parametrize(
    ("labels", "mode"),
    [({"istio-injection": "enabled"}, "sidecar"), ({"istio.io/dataplane-mode": "ambient"}, "ambient"), ({}, "none")],
)
def test_mesh_mode(labels: dict[str, str], mode: str) -> None:
    assert mesh_plan.mesh_mode([{"metadata": {"name": "a"}}, {"metadata": {"name": "b", "labels": labels}}]) == mode
