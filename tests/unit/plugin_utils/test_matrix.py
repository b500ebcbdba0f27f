"""Policies generated from the authorization matrix: complete, L4 only, and never open by accident."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils import matrix, workload_table

ROOT = Path(__file__).parents[3]
VARIABLES = ROOT / "inventory/local/group_vars/all"
CIDR = "172.30.0.0/16"
NAMESPACES = [{"name": "gateway", "mesh": False}, {"name": "ecom", "mesh": True}, {"name": "admin", "mesh": True}]
FACTS = matrix.Facts(gateways=("bookstore-gateway",), gateway_ports=(8443, 8080))
ROWS: list[dict[str, Any]] = [
    {"namespace": "ecom", "workload": "api", "ports": [8000], "sources": ["gateway/bookstore-gateway-istio"]},
    {"namespace": "ecom", "workload": "api", "ports": [8001], "sources": ["admin/tool"]},
    {"namespace": "admin", "workload": "tool", "ports": [8080], "sources": [], "node_blocks": True},
]


def load(name: str) -> Any:
    return yaml.safe_load((VARIABLES / f"{name}.yml").read_text(encoding="utf-8"))


def made(rows: list[dict[str, Any]] | None = None, mode: str = "sidecar") -> list[dict[str, Any]]:
    return matrix.policies(ROWS if rows is None else rows, FACTS, NAMESPACES, CIDR, mode)


def inventory(mode: str) -> list[dict[str, Any]]:
    workloads = load("workloads")["bookstore_workloads"]
    edges = workload_table.edges(load("matrix")["bookstore_matrix"], workloads)
    return matrix.policies(edges, matrix.Facts(**workload_table.facts(workloads)), load("network")["bookstore_namespaces"], CIDR, mode)


def one(kind: str, name: str, policies: list[dict[str, Any]]) -> dict[str, Any]:
    found = [p["spec"] for p in policies if p["kind"] == kind and p["metadata"]["name"] == name]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    spec: dict[str, Any] = found[0]
    return spec


def keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for entry in value.values() for key in keys(entry)}
    return {key for entry in value for key in keys(entry)} if isinstance(value, list) else set()


@pytest.mark.parametrize("mode", ["sidecar", "ambient"])
def test_authorization_policies_of_the_inventory_hold_no_l7_field(mode: str) -> None:
    # What ztunnel understands; any other field would make it deny everything (SPEC 4).
    l4 = {"action", "selector", "matchLabels", "rules", "from", "to"}
    l4 |= {"source", "operation", "namespaces", "principals", "ipBlocks", "ports"}
    specs = [p["spec"] for p in inventory(mode) if p["kind"] == "AuthorizationPolicy"]
    labels = {"app.kubernetes.io/name", matrix.GATEWAY_LABEL, matrix.ACCOUNT_LABEL}
    assert specs
    assert keys(specs) <= l4 | labels


@pytest.mark.parametrize("mode", ["sidecar", "ambient"])
def test_no_rule_of_the_inventory_is_open_to_all(mode: str) -> None:
    for policy in inventory(mode):
        spec, name = policy["spec"], policy["metadata"]["name"]
        for rule in spec.get("rules", []):
            assert rule["from"], name
            assert all(entry["source"].get("principals") or entry["source"].get("ipBlocks") for entry in rule["from"]), name
            assert rule["to"][0]["operation"]["ports"], name
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction, []) if policy["kind"] == "NetworkPolicy" else []:
                assert rule.get("from") or rule.get("to"), name


@pytest.mark.parametrize("mode", ["sidecar", "ambient"])
def test_names_are_unique_within_kind_and_namespace(mode: str) -> None:
    # Two objects of one name would overwrite each other on every run.
    counted = Counter((p["kind"], p["metadata"]["namespace"], p["metadata"]["name"]) for p in inventory(mode))
    assert [key for key, count in counted.items() if count > 1] == []


def test_hand_written_objects_do_not_share_a_generated_name() -> None:
    template = (ROOT / "roles/istio/templates/gateway.yml.j2").read_text(encoding="utf-8")
    generated = {p["metadata"]["name"] for p in inventory("sidecar") if p["kind"] == "AuthorizationPolicy"}
    own = {part.split("name: ")[1].split(",")[0] for part in template.split("---") if "kind: AuthorizationPolicy" in part}
    assert own
    assert own.isdisjoint(generated)


def test_plaintext_is_accepted_on_one_port_of_seven_workloads() -> None:
    """As SPEC 4 counts them; which ones follows from the node ports of the table."""
    exceptions = [p for p in inventory("sidecar") if p["kind"] == "PeerAuthentication"]
    assert len(exceptions) == 7
    assert {p["spec"]["mtls"]["mode"] for p in exceptions} == {"STRICT"}
    assert {len(p["spec"]["portLevelMtls"]) for p in exceptions} == {1}


def test_each_namespace_starts_with_allow_nothing() -> None:
    nothing = [p for p in made() if p["metadata"]["name"] == "allow-nothing"]
    assert [p["metadata"]["namespace"] for p in nothing] == ["gateway", "ecom", "admin"]
    assert all(p["spec"] == {} for p in nothing)


def test_each_port_keeps_its_own_sources() -> None:
    rules = one("AuthorizationPolicy", "api", made())["rules"]
    assert [(r["to"][0]["operation"]["ports"], r["from"][0]["source"]["principals"]) for r in rules] == [
        (["8000"], ["cluster.local/ns/gateway/sa/bookstore-gateway-istio"]),
        (["8001"], ["cluster.local/ns/admin/sa/tool"]),
    ]


def test_node_blocks_are_the_only_source_of_a_nodeport_target() -> None:
    assert one("AuthorizationPolicy", "tool", made())["rules"][0]["from"] == [{"source": {"ipBlocks": [CIDR]}}]
    assert one("NetworkPolicy", "tool-in", made())["ingress"][0]["from"] == [{"ipBlock": {"cidr": CIDR}}]


def test_ingress_of_the_destination_has_its_egress_at_the_source() -> None:
    ingress = one("NetworkPolicy", "api-in", made())["ingress"][0]
    egress = one("NetworkPolicy", "bookstore-gateway-istio-out", made())
    # Pods of the gateway are named by istiod, not by us.
    gateway = {"matchLabels": {matrix.GATEWAY_LABEL: "bookstore-gateway"}}
    assert ingress["from"][0]["podSelector"] == egress["podSelector"] == gateway
    assert egress["egress"][0]["to"][0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "api"}}
    assert ingress["ports"] == egress["egress"][0]["ports"] == [{"protocol": "TCP", "port": 8000}]


def test_ambient_adds_hbone_and_probes_and_no_sidecars() -> None:
    ambient, sidecar = made(mode="ambient"), made()
    assert {"protocol": "TCP", "port": 15008} in one("NetworkPolicy", "api-in", ambient)["ingress"][0]["ports"]
    assert sum(p["metadata"]["name"] == "probes" for p in ambient) == len(NAMESPACES)
    assert not any(p["metadata"]["name"] == "probes" for p in sidecar)
    assert not any(p["kind"] == "Sidecar" for p in ambient)


def test_sidecars_know_their_own_and_the_called_namespaces() -> None:
    scopes = {p["metadata"]["namespace"]: p["spec"]["egress"][0]["hosts"] for p in made() if p["kind"] == "Sidecar"}
    # The gateway's namespace has none: a gateway must see every backend.
    assert scopes == {"ecom": ["./*"], "admin": ["./*", "ecom/*"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": ["gateway"]}, "source 'gateway' must be <namespace>/<service account>"),
        ({"sources": ["nowhere/x"]}, "namespace 'nowhere'"),
        ({"namespace": "nowhere"}, "namespace 'nowhere'"),
        ({"sources": []}, "ecom/api has sources=\\[\\] and no node_blocks"),
        ({"ports": []}, "ecom/api has ports=\\[\\]"),
    ],
)
def test_a_wrong_row_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made([{**ROWS[0], **change}])


def test_pods_of_a_shared_account_are_selected_by_its_label() -> None:
    policies = inventory("sidecar")
    account = {"matchLabels": {matrix.ACCOUNT_LABEL: "flink"}}
    assert one("NetworkPolicy", "flink-out", policies)["podSelector"] == account
    rules = one("NetworkPolicy", "flink-taskmanager-in", policies)["ingress"]
    assert [r["from"][0]["podSelector"] for r in rules if {"protocol": "TCP", "port": 6122} in r["ports"]] == [account]
    # As a destination each workload keeps its own name.
    assert one("NetworkPolicy", "flink-taskmanager-in", policies)["podSelector"] == {
        "matchLabels": {"app.kubernetes.io/name": "flink-taskmanager"}
    }


@pytest.mark.parametrize("mode", ["sidecar", "ambient"])
def test_only_declared_clients_reach_the_api_server(mode: str) -> None:
    reaching = {
        (policy["metadata"]["namespace"], policy["metadata"]["name"])
        for policy in inventory(mode)
        for rule in policy["spec"].get("egress", []) if policy["kind"] == "NetworkPolicy"
        if rule["to"] == [{"ipBlock": {"cidr": CIDR}}]
    }  # fmt: skip
    assert reaching == {("analytics", "flink-out"), ("observability", "prometheus-out"), ("observability", "mesh-map-out")}
    rule = one("NetworkPolicy", "flink-out", inventory(mode))["egress"][-1]
    assert rule == {"to": [{"ipBlock": {"cidr": CIDR}}], "ports": [{"protocol": "TCP", "port": matrix.API_SERVER_PORT}]}
