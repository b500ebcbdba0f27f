"""The mesh is broken on purpose, and `make recover` restarts what is broken and nothing else: each step of the escalation."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from ..waiting import until
from .breakage import Breakage
from .conftest import report
from .mesh import REPORT, Mesh, flush, hung, name_of, recovered
from .operating import operator
from .stream import Stream

pytestmark = pytest.mark.timeout(2400)

RECOVER_S = 1500.0
WORKER = "bookstore-worker2"
READY_S = 300.0


@pytest.fixture
def mesh(cluster: Cluster) -> Mesh:
    """The mesh, all of whose pods are ready before a fault."""
    found = Mesh(cluster)
    until(found.all_ready, "all pods to be ready", READY_S, pause=1)
    return found


@pytest.fixture
def ambient(mesh: Mesh) -> Mesh:
    """The mesh in ambient mode."""
    if mesh.mode() != "ambient":
        pytest.skip(f"the mesh is in mode {mesh.mode()}, which has no node proxy; run it with bookstore_mesh_mode=ambient")
    return mesh


def recover(name: str, request: pytest.FixtureRequest) -> list[dict[str, object]]:
    """Run `make recover`, which verifies at its end; returns the steps of its report of the mesh."""
    REPORT.unlink(missing_ok=True)
    seconds = operator(f"mesh-{name}", "make", "recover", timeout=RECOVER_S)
    steps = recovered()
    report(request.node.name, {"make_recover_seconds": round(seconds, 1), "steps": [f"{one['stage']} {one['target']}" for one in steps]})
    return steps


def restarted(steps: list[dict[str, object]]) -> set[str]:
    """The pods of all steps."""
    return {str(pod) for step in steps for pod in step["restarted"]}  # type: ignore[attr-defined]


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Pods of before that are gone or have another uid."""
    return {name for name, uid in before.items() if after.get(name) != uid}


def test_nothing_is_broken_and_nothing_is_restarted(mesh: Mesh, request: pytest.FixtureRequest) -> None:
    before = mesh.uids()
    assert recover("healthy", request) == []
    assert mesh.uids() == before


def test_node_proxy_hangs(ambient: Mesh, stream: Stream, converges: Callable[[float], None], request: pytest.FixtureRequest) -> None:
    """It stands still: connections are accepted by the kernel and nobody reads. Only that node's proxy is restarted."""
    before, proxy = ambient.uids(), ambient.on(WORKER, "ztunnel")
    with hung(proxy):
        broken_at = time.monotonic()
        steps = recover("hung", request)
        assert [(step["stage"], step["target"], step["restarted"]) for step in steps] == [("node", WORKER, [name_of(proxy)])]
        assert changed(before, ambient.uids()) == {name_of(proxy)}
    stream.wait(3)
    converges(broken_at)


@pytest.mark.parametrize(("namespace", "name"), [("ecom", "ecom-api"), ("ecom", "ecom-db")], ids=["of_a_source", "of_a_destination"])
def test_rules_in_a_pod_are_flushed(
    mesh: Mesh, breakage: Breakage, stream: Stream, converges: Callable[[float], None], request: pytest.FixtureRequest,
    namespace: str, name: str,
) -> None:  # fmt: skip
    """What the pod sends is refused by others, or what others send in plaintext gets in: the last step renews that pod, no other one."""
    before, pod = mesh.uids(), breakage.pod(namespace, name)
    flush(pod)
    broken_at = time.monotonic()
    steps = recover(f"flushed-{name}", request)
    stages = [str(step["stage"]) for step in steps]
    assert (steps[-1]["stage"], steps[-1]["target"], steps[-1]["restarted"]) == ("workload", f"{namespace}/{name}", [name_of(pod)])
    assert stages.count("workload") == 1, "one workload was enough"
    assert stages == sorted(stages, key=["node", "istiod", "gateway", "workload"].index), "it only goes up"
    assert ("node" in stages) == (mesh.mode() == "ambient")
    assert changed(before, mesh.uids()) <= restarted(steps)
    stream.wait(3)
    converges(broken_at)


@pytest.fixture
def pinned(cluster: Cluster) -> Iterator[str]:
    """A node to which the scheduler sends every pod inside of the test."""
    others = [node["metadata"]["name"] for node in cluster.objects("Node") if node["metadata"]["name"] != WORKER]

    def cordon(on: bool) -> None:
        for name in others:
            body = {"spec": {"unschedulable": on or None}}
            cluster.raw(f"/api/v1/nodes/{name}", "PATCH", body, content_type="application/merge-patch+json")

    cordon(True)
    yield WORKER
    cordon(False)


def test_istio_cni_hangs_while_a_pod_starts(
    mesh: Mesh, cluster: Cluster, breakage: Breakage, pinned: str, request: pytest.FixtureRequest
) -> None:
    """The pod gets no network rather than one outside the mesh; istio-cni is restarted, and the pod starts inside."""
    before, agent = mesh.uids(), mesh.on(pinned, "istio-cni")
    pod = breakage.pod("storefront", "storefront-web")
    with hung(agent):
        cluster.delete("Pod", "storefront", pod["metadata"]["name"])
        until(lambda: breakage.pod("storefront", "storefront-web")["spec"].get("nodeName") == pinned, "the new pod to have a node", 60)
        steps = recover("cni", request)
    assert ("cni", pinned, [name_of(agent)]) in [(step["stage"], step["target"], step["restarted"]) for step in steps]
    until(lambda: breakage.is_ready("storefront", "storefront-web"), "the new pod to be ready", READY_S)
    fresh = breakage.pod("storefront", "storefront-web")
    if mesh.mode() == "ambient":
        assert fresh["metadata"]["annotations"]["ambient.istio.io/redirection"] == "enabled"
    assert changed(before, mesh.uids()) <= restarted(steps) | {name_of(pod)}


def test_a_node_reboots(
    mesh: Mesh, stream: Stream, converges: Callable[[float], None], request: pytest.FixtureRequest, cluster: Cluster
) -> None:
    """Its pods come back with their uids; whatever of them is not in the mesh as before is found."""
    there = {name_of(pod) for pod in cluster.objects("Pod") if pod["spec"].get("nodeName") == WORKER}
    before = mesh.uids()
    subprocess.run(["docker", "restart", WORKER], check=True, capture_output=True, timeout=120)
    broken_at = time.monotonic()
    steps = recover("reboot", request)
    renewed = changed(before, mesh.uids())
    assert renewed <= restarted(steps), "only what the recovery names was renewed"
    assert not {pod for pod in renewed if pod not in there and not pod.startswith(("istio-system/", "gateway/"))}
    stream.wait(3)
    converges(broken_at)
