"""The loop of probing and restarting, in a world whose faults end when the right thing is restarted."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import FakeClock, FakeCluster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import data_plane, mesh_escalation, mesh_recovery, mesh_run

Object = dict[str, Any]
GATEWAY = "gateway/bookstore-gateway-istio"
MATRIX: list[Object] = [{"namespace": "ecom", "workload": "ecom-db", "ports": [5432], "sources": ["ecom/ecom-api"]}]
# Pod to workload, node, owner.
BASE = {
    "istio-system/ztunnel-1": ("ztunnel", "w1", "DaemonSet"), "istio-system/ztunnel-2": ("ztunnel", "w2", "DaemonSet"),
    "istio-system/istio-cni-node-1": ("istio-cni", "w1", "DaemonSet"), "istio-system/istio-cni-node-2": ("istio-cni", "w2", "DaemonSet"),
    "istio-system/istiod-1": ("istiod", "w1", "ReplicaSet"), "gateway/gw-1": ("", "w2", "ReplicaSet"),
    "ecom/api-1": ("ecom-api", "w1", "ReplicaSet"), "ecom/db-0": ("ecom-db", "w2", "StatefulSet"),
    "infra/redis-0": ("redis", "w1", "StatefulSet"), "identity/kc-1": ("keycloak", "w2", "ReplicaSet"),
}  # fmt: skip
# Kind, source (a pod, or probe:<node> for an account whose probe pods run there), destination.
EDGES = [
    ("allowed", "ecom/api-1", "ecom/db-0"), ("allowed", "ecom/api-1", "infra/redis-0"), ("allowed", "probe:w2", "ecom/db-0"),
    ("allowed", "probe:w2", "identity/kc-1"), ("plaintext", "probe:w1", "ecom/db-0"), ("plaintext", "probe:w1", "infra/redis-0"),
    ("principal", "probe:w1", "infra/redis-0"), ("control", "probe:w1", "ecom/db-0"),
]  # fmt: skip


class World(FakeCluster):
    """``faults``: (what, of which): hung node proxy, dead istio-cni, stale istiod, flushed pod, pod outside the mesh, pod network."""

    def __init__(self, faults: set[tuple[str, str]], mode: str = "ambient") -> None:
        label = {"istio.io/dataplane-mode": "ambient"} if mode == "ambient" else {"istio-injection": "enabled"}
        names = sorted({pod.partition("/")[0] for pod in BASE})
        workloads = [name for name in names if name not in ("istio-system", "gateway")]
        super().__init__({"Namespace": [{"metadata": {"name": n, "labels": label if n in workloads else {}}} for n in names]})
        self.faults, self.mode, self.probed = set(faults), mode, list[int]()
        self.generation = 0
        # Pods of before by the place that they take.
        self.places = {pod: pod for pod in BASE if mode == "ambient" or "ztunnel" not in pod}
        self.store["Pod"] = [self.pod(place, place) for place in self.places]

    def pod(self, place: str, name: str) -> Object:
        workload, node, owner = BASE[place]
        labels = {"app.kubernetes.io/name": workload, **({"app": workload} if workload in ("istiod", "ztunnel") else {})}
        inside = ("outside", place) not in self.faults
        sidecar = [{"name": "istio-proxy", "image": "p"}] if self.mode == "sidecar" and inside else []
        return {
            "metadata": {
                "namespace": place.partition("/")[0], "name": name.partition("/")[2], "uid": f"uid of {name} {self.generation}",
                "labels": labels if workload else {}, "ownerReferences": [{"kind": owner, "name": place}],
                "annotations": dict([data_plane.REDIRECTED]) if inside else {},
            },
            "spec": {
                "nodeName": node, "serviceAccountName": "bookstore-gateway-istio" if "gw" in place else workload,
                "containers": [{"name": "app", "image": "i"}, *sidecar],
            },
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(("unready", place) not in self.faults)}]},
        }  # fmt: skip

    def delete(self, kind: str, namespace: str | None, name: str, grace_seconds: int | None = None) -> bool:
        old = f"{namespace}/{name}"
        place = next(place for place, pod in self.places.items() if pod == old)
        self.faults -= {(what, which) for what, which in self.faults if which == place}
        self.generation += 1
        new = old if BASE[place][2] == "StatefulSet" else f"{place}-{self.generation}"
        self.places[place] = new
        self.store["Pod"] = [one for one in self.store["Pod"] if mesh_recovery._name(one) != old] + [self.pod(place, new)]
        self.deleted.append(place)
        return True

    def broken(self, kind: str, source: str, destination: str) -> str:
        """How an edge fails, by what it goes through; empty when it holds."""
        where = {one: BASE[one][1] for one in (source, destination) if one in BASE}
        if source.startswith("probe:"):
            where[source] = source.removeprefix("probe:")
        if kind == "control":
            return "timeout" if ("network", "") in self.faults else ""
        proxied = {where[destination]} | ({where[source]} if kind != "plaintext" else set())
        started_anew = kind != "plaintext" and source.startswith("probe:")
        if started_anew and ("dead", f"istio-system/istio-cni-node-{where[source][1]}") in self.faults:
            return mesh_run.UNSTARTED
        hung = any(("hung", f"istio-system/ztunnel-{node[1]}") in self.faults for node in proxied)
        if hung or ("stale", "istio-system/istiod-1") in self.faults:
            return "timeout"
        gone = {pod for what, pod in self.faults if what in ("flushed", "outside")}
        if kind == "plaintext":
            return "answered" if destination in gone else ""
        return "reset" if source in gone else ""

    def probe(self, cluster: Cluster, matrix: object, using: mesh_run.Settings, clock: object, *, only: Any = None) -> Object:
        assert (using.pinned, using.tolerant) == (True, True)
        edges = []
        for kind, source, destination in EDGES:
            call = SimpleNamespace(kind=kind, source=source, destination=destination)
            if only is not None and not only(None, call):
                continue
            outcome = self.broken(kind, source, destination)
            made = self.places.get(source, "")
            node = source.removeprefix("probe:") if not made else BASE[source][1]
            edges.append({
                "kind": kind, "source": source, "destination": destination, "expected": ["x"], "outcome": outcome or "x", "detail": "",
                "seconds": 0.0, "ok": not outcome, "source_node": node, "source_pod": made,
                "destination_nodes": [BASE[destination][1]], "pods": [self.places[destination]],
            })  # fmt: skip
        self.probed.append(len(edges))
        return {"mode": self.mode, "edges": edges, "broken": [e for e in edges if not e["ok"]]}


def recover(world: World, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Object:
    monkeypatch.setattr(mesh_run, "probe_mesh", world.probe)
    chosen = mesh_recovery.Options(GATEWAY, ["*-db", "redis", "keycloak", "*-api"], settle=5, ready=5, **options)
    return mesh_recovery.Recovery(world, MATRIX, mesh_run.Settings("i"), chosen, FakeClock()).run()  # type: ignore[arg-type]


Z1, Z2, ISTIOD = "istio-system/ztunnel-1", "istio-system/ztunnel-2", "istio-system/istiod-1"


@pytest.mark.parametrize(("faults", "restarted"), [
    pytest.param(set(), [], id="nothing broken, nothing restarted"),
    pytest.param({("hung", Z1)}, [Z1], id="a node proxy hangs"),
    pytest.param({("hung", Z1), ("hung", Z2)}, [Z1, Z2], id="both node proxies hang"),
    pytest.param({("dead", "istio-system/istio-cni-node-2")}, [Z2, "istio-system/istio-cni-node-2"], id="istio-cni does nothing"),
    pytest.param({("stale", ISTIOD)}, [Z1, Z2, ISTIOD], id="istiod"),
    pytest.param({("flushed", "ecom/db-0")}, [Z2, ISTIOD, "ecom/db-0"], id="rules of a destination are gone"),
    pytest.param({("flushed", "ecom/api-1")}, [Z1, ISTIOD, "ecom/api-1"], id="rules of a source are gone"),
    pytest.param({("outside", "identity/kc-1")}, ["identity/kc-1"], id="a pod that started outside the mesh"),
    pytest.param({("network", "")}, [], id="the network is not the mesh's"),
])  # fmt: skip
def test_each_fault_ends_with_the_first_restart_that_mends_it(
    faults: set[tuple[str, str]], restarted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(faults)
    report = recover(world, monkeypatch)
    assert world.deleted == restarted
    assert report["still_broken"] == []
    assert [step["broken_after"] for step in report["steps"]][-1:] in ([], [0])
    assert json.dumps(report)
    # After the first look only what is broken is probed again.
    assert all(count <= len([e for e in report["broken"] if e["kind"] != mesh_escalation.ENROLLED]) for count in world.probed[1:])


def test_a_healthy_mesh_costs_one_look_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(set())
    report = recover(world, monkeypatch)
    assert world.probed == [len(EDGES)]
    assert report["lines"] == [f"mesh: {report['probed']} edges probed, none broken; nothing was restarted"]


def test_sidecar_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({("flushed", "ecom/db-0")}, "sidecar")
    assert recover(world, monkeypatch)["still_broken"] == []
    assert world.deleted == [ISTIOD, "ecom/db-0"]
    outside = World({("outside", "ecom/api-1")}, "sidecar")
    assert recover(outside, monkeypatch)["still_broken"] == []
    assert outside.deleted == ["ecom/api-1"]


def test_what_was_only_slow_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(set())
    monkeypatch.setattr(world, "broken", lambda kind, source, destination: "timeout" if not world.probed and source == "ecom/api-1" else "")
    report = recover(world, monkeypatch)
    assert (world.deleted, world.probed, report["passing"]) == ([], [len(EDGES), 2], 2)
    assert "2 of them held at the second look only" in report["lines"]


def test_istio_cni_may_be_late_for_a_pod_that_runs_already(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(set())
    looks: list[int] = []

    def enrol(self: mesh_recovery.Recovery) -> list[Object]:
        looks.append(1)
        return mesh_escalation.enrolment([world.pod("ecom/api-1", "ecom/api-1")], [len(looks) > 3])

    monkeypatch.setattr(mesh_recovery.Recovery, "_enrolment", enrol)
    assert recover(world, monkeypatch)["steps"] == []


def test_a_destination_that_takes_no_requests_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({("unready", "identity/kc-1")})
    monkeypatch.setattr(world, "broken", lambda kind, source, destination: "unavailable" if destination == "identity/kc-1" else "")
    report = recover(world, monkeypatch)
    assert world.deleted == []
    assert [one["destination"] for one in report["not_judged"]] == ["identity/kc-1"]
    assert any("tell nothing about the mesh" in line for line in report["lines"])


def test_what_no_restart_mends_is_reported_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(set())
    monkeypatch.setattr(world, "broken", lambda kind, source, destination: "reset" if source == "ecom/api-1" else "")
    report = recover(world, monkeypatch)
    assert len(report["still_broken"]) == 2
    # The destinations are the last resort; keycloak has no part in a broken edge.
    assert world.deleted == [Z1, ISTIOD, "ecom/api-1", "infra/redis-0", "ecom/db-0"]


def test_no_step_begins_after_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({("hung", Z1)})
    report = recover(world, monkeypatch, timeout=0.0)
    assert (world.deleted, len(report["still_broken"])) == ([], len(report["broken"]))


def test_what_does_not_come_back_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({("hung", Z1)})
    monkeypatch.setattr(world, "pod", lambda place, name: {**World.pod(world, place, name), "status": {"phase": "Pending"}})
    report = recover(world, monkeypatch)
    assert report["steps"][0]["ready"] is False
    assert any("not ready in time" in line for line in report["lines"])


def test_the_proof_of_before_is_not_taken_for_what_came_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = tmp_path / "mesh-proof.json"
    kept.write_text("{}")
    recover(World({("hung", Z1)}), monkeypatch, proof=kept)
    assert not kept.exists()
    recover(World(set()), monkeypatch, proof=kept)
    assert json.loads(kept.read_text())["result"]["broken"] == []


FAULTS = st.sets(st.sampled_from([
    ("hung", Z1), ("hung", Z2), ("stale", ISTIOD), ("flushed", "ecom/db-0"), ("flushed", "ecom/api-1"), ("flushed", "infra/redis-0"),
    ("outside", "ecom/api-1"), ("outside", "identity/kc-1"), ("dead", "istio-system/istio-cni-node-2"),
]), max_size=4)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=FAULTS)
def test_several_faults_at_once_are_mended_and_healthy_pods_keep_their_uid(faults: set[tuple[str, str]]) -> None:
    world = World(faults)
    before = {mesh_recovery._name(pod): pod["metadata"]["uid"] for pod in world.store["Pod"]}
    with pytest.MonkeyPatch.context() as monkeypatch:
        report = recover(world, monkeypatch)
    assert report["still_broken"] == []
    touched = {pod for step in report["steps"] for pod in step["restarted"]}
    after = {mesh_recovery._name(pod): pod["metadata"]["uid"] for pod in world.store["Pod"]}
    assert {name for name, uid in before.items() if after.get(name) != uid} == touched & set(before)
    # A pod of a workload is renewed only while an edge of its own is broken; keycloak has one fault of its own here.
    if ("outside", "identity/kc-1") not in faults and not any(what in ("hung", "stale", "dead") for what, _ in faults):
        assert "identity/kc-1" not in world.deleted
