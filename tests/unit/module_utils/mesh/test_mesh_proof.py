"""What a run proved of the mesh is taken over exactly as long as nothing that it depended on has changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeClock
from mesh_scene import MATRIX

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_proof, mesh_run

from .test_mesh_run import MeshCluster, as_it_should_be

SETTINGS = mesh_run.Settings(image="i")
HOUR = 3600.0
WATCHED = (*mesh_proof.POLICIES, *mesh_proof.PROXIES)


def platform(answer: Any = as_it_should_be) -> MeshCluster:
    cluster = MeshCluster(answer)
    cluster.store = copy.deepcopy(cluster.store)
    for index, pod in enumerate(cluster.store["Pod"]):
        pod["metadata"]["uid"] = f"u{index}"
        pod["status"]["containerStatuses"] = [{"name": "app", "containerID": f"c{index}", "imageID": "i", "restartCount": 0}]
        pod["status"]["initContainerStatuses"] = [{"name": "istio-proxy", "containerID": f"p{index}", "imageID": "i"}]
    cluster.store["Node"] = [{"metadata": {"name": "worker", "uid": "n1"}, "status": {"nodeInfo": {"bootID": "b1"}}}]
    for kind in WATCHED:
        cluster.store[kind] = [{"metadata": {"namespace": "ecom", "name": "p"}, "spec": {"rules": [1]}}]
    return cluster


@pytest.fixture
def store(tmp_path: Path) -> mesh_proof.Store:
    return mesh_proof.Store(tmp_path / "reports/proof.json", 12, lambda: 1000.0)


def prove(cluster: MeshCluster, store: mesh_proof.Store, matrix: list[dict[str, Any]] = MATRIX) -> dict[str, Any]:
    cluster.created.clear()
    return mesh_proof.prove(cluster, matrix, SETTINGS, store, FakeClock())


def test_an_unchanged_platform_starts_no_probe_and_shows_the_same_edges(store: mesh_proof.Store) -> None:
    cluster = platform()
    first = prove(cluster, store)
    assert cluster.created
    assert "proven_at" not in first
    second = prove(cluster, store)
    assert not cluster.created
    assert second["proven_at"] == 1000.0
    assert [e["destination"] for e in second["edges"]] == [e["destination"] for e in first["edges"]]


# Of ecom-api and ecom-db, which are workloads of the matrix.
RENEWED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a pod made anew": lambda s: s["Pod"][1]["metadata"].update(uid="other"),
    "a container restarted": lambda s: s["Pod"][1]["status"]["containerStatuses"][0].update(containerID="other"),
    "a proxy restarted": lambda s: s["Pod"][1]["status"]["initContainerStatuses"][0].update(containerID="other"),
    "a pod taken out of the mesh": lambda s: s["Pod"][1]["metadata"].update(annotations={"ambient.istio.io/redirection": "disabled"}),
    "a pod with another label": lambda s: s["Pod"][1]["metadata"]["labels"].update(extra="1"),
    "a pod with another account": lambda s: s["Pod"][1]["spec"].update(serviceAccountName="default"),
    "a pod that ended": lambda s: s["Pod"][2]["status"].update(phase="Succeeded"),
    "a pod that is being deleted": lambda s: s["Pod"][2]["metadata"].update(deletionTimestamp="now"),
}
GONE = ("a pod with another account", "a pod that ended", "a pod that is being deleted")
CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a pod of the mesh itself": lambda s: s["Pod"][0]["metadata"].update(uid="other"),
    "a pod more": lambda s: s["Pod"].append({**copy.deepcopy(s["Pod"][1]), "metadata": {"namespace": "x", "name": "new", "uid": "9"}}),
    "a node that booted": lambda s: s["Node"][0]["status"]["nodeInfo"].update(bootID="b2"),
    "a node replaced": lambda s: s["Node"][0]["metadata"].update(uid="n2"),
    "a namespace out of the mesh": lambda s: s["Namespace"].append({"metadata": {"name": "new", "labels": {}}}),
    "a service's port": lambda s: s["Service"][0]["spec"].update(ports=[]),
    **{f"a changed {kind}": (lambda s, kind=kind: s[kind][0].update(spec={})) for kind in WATCHED},  # type: ignore[misc]
    **{f"a {kind} less": (lambda s, kind=kind: s[kind].clear()) for kind in WATCHED},  # type: ignore[misc]
    "a policy that is only tried": lambda s: s["AuthorizationPolicy"][0]["metadata"].update(annotations={"istio.io/dry-run": "true"}),
    "a service behind a waypoint": lambda s: s["Service"][0]["metadata"].update(labels={"istio.io/use-waypoint": "w"}),
    "another webhook": lambda s: s["MutatingWebhookConfiguration"][0].update(webhooks=[]),
    "other contents of new pods": lambda s: s["ConfigMap"].append(
        {"metadata": {"namespace": "istio-system", "name": "istio-sidecar-injector"}, "data": {"config": "new"}}
    ),
    "the mesh's root": lambda s: s["ConfigMap"].append(
        {"metadata": {"namespace": "istio-system", "name": "istio-ca-root-cert"}, "data": {"root-cert.pem": "new"}}
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_proof_depends_on_ends_it(store: mesh_proof.Store, change: str) -> None:
    cluster = platform()
    prove(cluster, store)
    CHANGES[change](cluster.store)
    assert "proven_at" not in prove(cluster, store)
    assert cluster.created


def _called(cluster: MeshCluster) -> list[str]:
    """Hosts of the calls of the pods that were started."""
    requests = [json.loads(pod["spec"]["containers"][0]["command"][-1]) for pod in cluster.created]
    return [call["host"] for request in requests for call in request["calls"]]


@pytest.mark.parametrize("change", RENEWED)
def test_a_workload_that_changed_is_proven_anew_and_the_others_are_taken_over(store: mesh_proof.Store, change: str) -> None:
    cluster = platform()
    first = prove(cluster, store)
    calls = len(_called(cluster))
    RENEWED[change](cluster.store)
    second = prove(cluster, store)
    assert second["proven_at"] == 1000.0
    (renewed,) = second["renewed"]
    assert renewed in ("ecom/ecom-api", "ecom/ecom-db")
    assert len(_called(cluster)) < calls
    there, before = ({edge["destination"] for edge in result["edges"]} for result in (second, first))
    # No database runs any more, or nobody that may call it.
    assert before - there == ({"ecom/ecom-db:5432"} if change in GONE else set())
    assert cluster.created or change in GONE


def test_only_calls_that_have_to_do_with_it_are_made_anew(store: mesh_proof.Store) -> None:
    cluster = platform()
    prove(cluster, store)
    cluster.store["Pod"][2]["metadata"]["uid"] = "other"
    assert prove(cluster, store)["renewed"] == ["ecom/ecom-db"]
    assert set(_called(cluster)) == {"ecom-db.ecom.svc.cluster.local"}
    # What was renewed is kept, and the whole ends with its oldest part.
    assert prove(cluster, store)["renewed"] == []
    assert not cluster.created
    assert json.loads(store.path.read_text())["proven_at"] == 1000.0


def test_a_source_that_probes_are_made_like_counts_with_its_labels_and_its_account(store: mesh_proof.Store) -> None:
    cluster = platform()
    prove(cluster, store)
    cluster.store["Pod"][1]["metadata"]["labels"].update(extra="1")
    prove(cluster, store)
    assert "ecom-db.ecom.svc.cluster.local" in set(_called(cluster))


def test_the_age_is_that_of_the_oldest_part(tmp_path: Path) -> None:
    cluster, now = platform(), [1e6]
    store = mesh_proof.Store(tmp_path / "p", 12, lambda: now[0])
    prove(cluster, store)
    now[0] += 11 * HOUR
    cluster.store["Pod"][2]["metadata"]["uid"] = "other"
    assert prove(cluster, store)["renewed"] == ["ecom/ecom-db"]
    now[0] += 2 * HOUR
    assert "proven_at" not in prove(cluster, store)


def test_a_proof_that_tells_nothing_of_pods_is_none(store: mesh_proof.Store) -> None:
    cluster = platform()
    prove(cluster, store)
    kept = json.loads(store.path.read_text())
    del kept["result"]["pods"]
    store.path.write_text(json.dumps(kept))
    assert "proven_at" not in prove(cluster, store)


def test_a_call_that_was_not_made_then_is_made_now(store: mesh_proof.Store) -> None:
    cluster = platform()
    prove(cluster, store)
    kept = json.loads(store.path.read_text())
    kept["result"]["edges"] = kept["result"]["edges"][1:]
    store.path.write_text(json.dumps(kept))
    assert "proven_at" not in prove(cluster, store)


def test_another_image_with_python_does_not_end_it(store: mesh_proof.Store) -> None:
    cluster = platform()
    prove(cluster, store)
    found = mesh_proof.prove(cluster, MATRIX, mesh_run.Settings(image="other"), store, FakeClock())
    assert (found["proven_at"], found["renewed"]) == (1000.0, [])
    assert "proven_at" not in mesh_proof.prove(cluster, MATRIX, mesh_run.Settings(image="i", outsider="ecom"), store, FakeClock())


def test_another_matrix_ends_it(store: mesh_proof.Store) -> None:
    cluster = platform()
    prove(cluster, store)
    assert "proven_at" not in prove(cluster, store, MATRIX[:2])


def test_a_status_or_a_job_does_not_end_it(store: mesh_proof.Store) -> None:
    cluster = platform()
    prove(cluster, store)
    cluster.store["Pod"][1]["status"]["conditions"] = [{"type": "Ready", "lastProbeTime": "later"}]
    job = copy.deepcopy(cluster.store["Pod"][1])
    job["metadata"].update(name="backup", uid="j", ownerReferences=[{"kind": "Job"}])
    cluster.store["Pod"].append(job)
    assert prove(cluster, store)["proven_at"] == 1000.0


@pytest.mark.parametrize(("hours", "later"), [(12, 13 * HOUR), (0, 0.0), (12, -HOUR)])
def test_a_proof_ends_with_its_hours_and_with_a_clock_that_was_set_back(tmp_path: Path, hours: float, later: float) -> None:
    cluster = platform()
    prove(cluster, mesh_proof.Store(tmp_path / "p", 12, lambda: 1e6))
    assert "proven_at" not in prove(cluster, mesh_proof.Store(tmp_path / "p", hours, lambda: 1e6 + later))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"fingerprint": "x", "proven_at": "soon", "result": {}}'])
def test_a_file_that_is_no_proof_is_none(store: mesh_proof.Store, text: str) -> None:
    store.path.parent.mkdir()
    store.path.write_text(text)
    assert "proven_at" not in prove(platform(), store)
    assert json.loads(store.path.read_text())["result"]["broken"] == []


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_no_proof(store: mesh_proof.Store, mode: int) -> None:
    cluster = platform()
    prove(cluster, store)
    assert store.path.stat().st_mode & 0o777 == 0o600
    store.path.chmod(mode)
    assert "proven_at" not in prove(cluster, store)
    assert prove(cluster, store)["proven_at"] == 1000.0


def test_a_file_of_somebody_else_is_no_proof(store: mesh_proof.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = platform()
    prove(cluster, store)
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    assert "proven_at" not in prove(cluster, store)


def test_a_broken_edge_is_never_kept(store: mesh_proof.Store) -> None:
    def wide_open(body: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        return {"outcome": "answered", "detail": "", "seconds": 0.1}

    cluster = platform()
    prove(cluster, store)
    cluster.answer = wide_open
    cluster.store["Pod"][1]["metadata"]["uid"] = "other"
    assert prove(cluster, store)["broken"]
    assert not store.path.exists()


def test_what_changed_during_the_probes_is_not_kept(store: mesh_proof.Store) -> None:
    cluster = platform()

    def restarted(body: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        cluster.store["Pod"][1]["metadata"]["uid"] = "restarted meanwhile"
        return as_it_should_be(body, call)

    cluster.answer = restarted
    prove(cluster, store)
    assert not store.path.exists()


def test_calls_from_pods_that_are_there_are_made_in_every_run(store: mesh_proof.Store) -> None:
    cluster = platform()
    settings = mesh_run.Settings(image="i", exec_sources=["ecom/ecom-api"])
    answers = ["answered", "reset"]

    def execute(namespace: str, pod: str, container: str, command: list[str], timeout: float) -> str:
        calls = json.loads(command[-1])["calls"]
        outcome = answers[0]
        return json.dumps({"ready": True, "results": {c["id"]: {"outcome": outcome, "detail": "", "seconds": 0.1} for c in calls}})

    cluster.execute = execute  # type: ignore[method-assign, assignment]
    assert mesh_proof.prove(cluster, MATRIX, settings, store, FakeClock())["broken"] == []
    answers.pop(0)
    cluster.created.clear()
    found = mesh_proof.prove(cluster, MATRIX, settings, store, FakeClock())
    assert not cluster.created
    assert [mesh_plan.describe(edge) for edge in found["broken"]] == [
        "allowed: ecom/ecom-api -> ecom/ecom-db:5432: expected answered, got reset ()"
    ]
    assert not store.path.exists()
