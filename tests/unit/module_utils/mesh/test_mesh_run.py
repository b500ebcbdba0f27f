"""Carrying out a plan against a stand-in for the cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import FakeClock, FakeCluster
from mesh_scene import MATRIX, PODS, SERVICES

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_run

NAMESPACES = [{"metadata": {"name": "ecom", "labels": {"istio-injection": "enabled"}}}]
AUTHORITY = [
    {"metadata": {"name": "istio-ca-root-cert", "namespace": ns}, "data": {"root-cert.pem": "PEM"}}
    for ns in ("gateway", "ecom", "storefront", "default")
]


class MeshCluster(FakeCluster):
    """Probe pods end at once; each call gets the outcome that ``answer`` gives."""

    def __init__(self, answer: Any, state: dict[str, Any] | None = None) -> None:
        super().__init__({"Namespace": NAMESPACES, "Pod": list(PODS), "Service": SERVICES, "ConfigMap": AUTHORITY})
        self.answer = answer
        self.state = state or {"terminated": {"exitCode": 0}}
        self.most = 0

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        super().create(kind, body)
        request = json.loads(body["spec"]["containers"][0]["command"][-1])
        results = {c["id"]: self.answer(body, c) for c in request["calls"]}
        self.log_lines[(body["metadata"]["name"], "probe")] = ["noise", json.dumps({"ready": True, "results": results})]
        status = {"phase": "Running", "containerStatuses": [{"name": "probe", "state": self.state}]}
        self.store["Pod"].append({**body, "spec": {**body["spec"], "nodeName": "worker"}, "status": status})
        self.most = max(self.most, len(self.store["Pod"]) - len(PODS))
        return body

    def delete(self, kind: str, namespace: str | None, name: str, grace_seconds: int | None = None) -> bool:
        self.store[kind] = [found for found in self.store[kind] if found["metadata"]["name"] != name]
        return super().delete(kind, namespace, name, grace_seconds)


def as_it_should_be(body: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """Answer as a healthy platform would."""
    labels, account = body["metadata"]["labels"], body["spec"]["serviceAccountName"]
    if call["protocol"] == "tls":
        name = call["host"].split(".")[0]
        return {"outcome": "answered", "detail": f"spiffe://cluster.local/ns/ecom/sa/{name}", "seconds": 0.1}
    if call["host"].startswith("kubernetes.default"):
        outcome = "answered" if body["metadata"]["namespace"] == "default" else "timeout"
    elif len(labels) == 2:  # only the probe's own labels: an outsider
        outcome = "timeout"
    elif labels["sidecar.istio.io/inject"] == "false":
        outcome = "reset"
    else:
        outcome = "rbac_denied" if account == "default" or call["port"] == 8001 else "answered"
    return {"outcome": outcome, "detail": "", "seconds": 0.1}


def run(cluster: FakeCluster, **settings: Any) -> dict[str, Any]:
    return mesh_run.probe_mesh(cluster, MATRIX, mesh_run.Settings(image="i", **settings), FakeClock())


def test_healthy_mesh_has_no_broken_edge_and_nothing_is_left() -> None:
    cluster = MeshCluster(as_it_should_be)
    result = run(cluster)
    assert result["broken"] == []
    assert {e["kind"] for e in result["edges"]} == set(mesh_plan.EXPECTED)
    assert sorted(cluster.deleted) == sorted(body["metadata"]["name"] for body in cluster.created)


def test_a_probe_that_cannot_be_removed_leaves_no_other_behind() -> None:
    """The last look at the cluster finds all that still run; one that stays is told, and the next run removes it."""

    class Stubborn(MeshCluster):
        def delete(self, kind: str, namespace: str | None, name: str, grace_seconds: int | None = None) -> bool:
            if name == self.created[0]["metadata"]["name"]:
                raise ClusterError("BK-203: DELETE was refused with 500")
            return super().delete(kind, namespace, name, grace_seconds)

    cluster = Stubborn(as_it_should_be)
    with pytest.raises(ClusterError, match="refused with 500"):
        run(cluster)
    left = [pod["metadata"]["name"] for pod in cluster.store["Pod"] if pod["metadata"]["name"].startswith("mesh-probe-")]
    assert left == [cluster.created[0]["metadata"]["name"]]
    assert len(cluster.created) > 1


def test_only_so_many_probes_run_side_by_side() -> None:
    cluster = MeshCluster(as_it_should_be)
    run(cluster)
    assert cluster.most == mesh_run.AT_ONCE < len(cluster.created)


def test_open_mesh_is_seen() -> None:
    result = run(MeshCluster(lambda body, call: {"outcome": "answered", "detail": "", "seconds": 0.1}))
    assert {e["kind"] for e in result["broken"]} == {"principal", "plaintext", "identity", "port", "dropped"}


def test_only_edges() -> None:
    cluster = MeshCluster(as_it_should_be)
    assert {e["kind"] for e in run(cluster, full=False)["edges"]} == {"allowed"}
    assert len(cluster.created) == 2


def test_probe_without_its_image_ends_the_run_and_is_removed() -> None:
    cluster = MeshCluster(as_it_should_be, {"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    with pytest.raises(mesh_run.ProbeError, match="BK-223: probe .* container probe: ErrImagePull: not found"):
        run(cluster)
    assert len(cluster.deleted) == len(cluster.created)


def test_probe_that_never_ends_is_told_after_the_timeout() -> None:
    with pytest.raises(mesh_run.ProbeError, match="BK-224: .* within timeout=3 s"):
        run(MeshCluster(as_it_should_be, {"running": {}}), timeout=3)


def test_remains_of_a_killed_run_are_removed_but_not_those_of_a_run_beside() -> None:
    cluster = MeshCluster(as_it_should_be)
    for name, created in (("old", "2026-01-01T00:00:00Z"), ("beside", "2999-01-01T00:00:00Z")):
        labels = {mesh_plan.PROBE_LABEL: "other"}
        cluster.store["Pod"].append(
            {
                "metadata": {"namespace": "ecom", "name": name, "labels": labels, "creationTimestamp": created},
                "spec": {},
                "status": {},
            }
        )
    run(cluster, full=False)
    assert "old" in cluster.deleted
    assert "beside" not in cluster.deleted


def test_no_mesh_is_an_error_with_a_remedy() -> None:
    with pytest.raises(mesh_run.ProbeError, match="BK-221: .* run `make up`"):
        mesh_run.probe_mesh(FakeCluster({"Namespace": []}), MATRIX, mesh_run.Settings(image="i"), FakeClock())


def test_proxy_that_never_becomes_ready_is_an_error() -> None:
    with pytest.raises(mesh_run.ProbeError, match="BK-226"):
        mesh_run.Runner._parse(['{"ready": false, "results": {}}'], "ecom/x")
    with pytest.raises(mesh_run.ProbeError, match="BK-225: .* Traceback"):
        mesh_run.Runner._parse(["Traceback"], "ecom/x")


@pytest.mark.parametrize(("lost", "broken"), [(1, ""), (2, ""), (3, "BK-204: .* succeeded 3 times and printed nothing: python3")])
def test_output_that_was_lost_on_its_way_is_asked_for_again(lost: int, broken: str) -> None:
    cluster = MeshCluster(as_it_should_be)
    asked: list[str] = []

    def execute(namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        asked.append(pod)
        results = {c["id"]: {"outcome": "answered", "detail": "", "seconds": 0.1} for c in json.loads(command[-1])["calls"]}
        return json.dumps({"ready": True, "results": results}) if len(asked) > lost else "\n"

    cluster.execute = execute  # type: ignore[method-assign]
    if broken:
        with pytest.raises(ClusterError, match=broken):
            run(cluster, exec_sources=["ecom/ecom-api"])
    else:
        assert run(cluster, exec_sources=["ecom/ecom-api"])["broken"] == []
    assert len(asked) == min(lost + 1, 3)


TOLERANT = {"tolerant": True, "pinned": True, "timeout": 90.0}


def test_pinned_probes_run_where_the_pod_runs_for_which_they_stand() -> None:
    cluster = MeshCluster(as_it_should_be)
    run(cluster, pinned=True)
    nodes = {(body["metadata"]["namespace"], body["spec"]["serviceAccountName"]): body["spec"].get("nodeName") for body in cluster.created}
    assert nodes["ecom", "ecom-api"] == "worker"
    assert nodes["gateway", "bookstore-gateway-istio"] == "worker"
    # What comes from outside the mesh proves nothing about a node.
    assert nodes["storefront", "default"] is None
    assert all("nodeName" not in body["spec"] for body in _created(pinned=False))


def _created(**settings: Any) -> list[dict[str, Any]]:
    cluster = MeshCluster(as_it_should_be)
    run(cluster, **settings)
    return cluster.created


def test_only_the_named_edges() -> None:
    cluster = MeshCluster(as_it_should_be)
    whole = run(cluster)
    wanted = {mesh_run.name_of(edge) for edge in whole["edges"] if edge["kind"] == "plaintext"}
    again = MeshCluster(as_it_should_be)
    part = mesh_run.probe_mesh(
        again,  # type: ignore[arg-type]
        MATRIX,
        mesh_run.Settings("i"),
        FakeClock(),
        only=lambda _probe, call: (call.kind, call.source, call.destination) in wanted,
    )
    assert {mesh_run.name_of(edge) for edge in part["edges"]} == wanted
    assert len(again.created) < len(cluster.created)


class StartsNone(MeshCluster):
    """Node ``worker`` starts no pod of the mesh, for as long as it is waited for."""

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        made = super().create(kind, body)
        meshed = body["metadata"]["labels"].get("sidecar.istio.io/inject") == "true"
        if meshed:
            pod = self.store["Pod"][-1]
            pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "probe", "state": {"waiting": {}}}]}
            pod["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
            self.event_lines[pod["metadata"]["name"]] = ["Warning FailedCreatePodSandBox: istio-cni does not answer"]
        return made


def test_a_node_that_starts_no_pod_of_the_mesh_is_an_outcome_and_tried_once() -> None:
    cluster = StartsNone(as_it_should_be)
    result = run(cluster, **TOLERANT)
    lost = [edge for edge in result["edges"] if edge["outcome"] == mesh_run.UNSTARTED]
    assert {edge["source_node"] for edge in lost} == {"worker"}
    assert {edge["kind"] for edge in lost} == {"allowed", "principal", "port"}
    assert all("istio-cni does not answer" in edge["detail"] for edge in lost)
    # What is outside the mesh is probed all the same, and nothing is left.
    assert {edge["outcome"] for edge in result["edges"] if edge["kind"] == "dropped"} == {"timeout"}
    assert sorted(cluster.deleted) == sorted(body["metadata"]["name"] for body in cluster.created)


def test_a_tolerant_run_ends_in_time_with_what_it_has() -> None:
    cluster = MeshCluster(as_it_should_be, state={"running": {}})
    for_long = run(cluster, **TOLERANT)
    assert {edge["outcome"] for edge in for_long["edges"]} == {mesh_run.NOT_TRIED}
    assert sorted(cluster.deleted) == sorted(body["metadata"]["name"] for body in cluster.created)


def test_a_container_that_does_not_run_tells_nothing_about_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> str:
        raise ClusterError("BK-204: container not found")

    monkeypatch.setattr(mesh_run, "look", refuse)
    result = run(MeshCluster(as_it_should_be), exec_sources=["ecom/ecom-api"], **TOLERANT)
    [edge] = [edge for edge in result["edges"] if edge["source_pod"]]
    assert (edge["outcome"], edge["source_pod"]) == (mesh_run.NOT_TRIED, "ecom/api-1")
    with pytest.raises(ClusterError, match="container not found"):
        run(MeshCluster(as_it_should_be), exec_sources=["ecom/ecom-api"])
