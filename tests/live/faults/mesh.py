"""Breaking the mesh on its nodes, and what the recovery said that it restarted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan

from ..conftest import STATE
from .breakage import on_node

REPORT = STATE / "reports/mesh-recovery.json"
PROCESSES = """
for one in /proc/[0-9]*/cgroup; do
  if grep -q "$1" "$one" 2>/dev/null; then one=${one#/proc/}; echo "${one%/cgroup}"; fi
done
"""
# istio-cni's rules may be in either of the two; a table that the kernel does not have holds none.
FLUSH = """
for kind in nft legacy; do
  if nsenter -t "$1" -n "iptables-$kind-save" 2>/dev/null | grep -q ISTIO; then
    for table in nat mangle raw; do nsenter -t "$1" -n "iptables-$kind" -w 10 -t "$table" -F; done
  fi
done
nsenter -t "$1" -n iptables-save | grep -c -- '-j ISTIO' || :
"""


def name_of(pod: Object) -> str:
    """<namespace>/<name>."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def processes(pod: Object, container: str = "") -> list[str]:
    """The processes of a pod's container, its first one without a name, as the node numbers them; they run."""
    status = next(one for one in pod["status"]["containerStatuses"] if container in ("", one["name"]))
    found = on_node(pod["spec"]["nodeName"], "sh", "-c", PROCESSES, "sh", status["containerID"].rpartition("/")[2]).split()
    assert found, f"{name_of(pod)} has no process on {pod['spec']['nodeName']}"
    return found


def signal(pod: Object, name: str, numbers: list[str]) -> None:
    """Send a signal to processes of a pod; those that have ended are left out."""
    script = 'signal=$1; shift; for one; do [ ! -d "/proc/$one" ] || kill -s "$signal" "$one"; done'
    on_node(pod["spec"]["nodeName"], "sh", "-c", script, "sh", name, *numbers)


@contextmanager
def hung(pod: Object) -> Iterator[None]:
    """The processes of a pod stand still inside of the block; whichever is still there afterwards goes on."""
    numbers = processes(pod)
    signal(pod, "STOP", numbers)
    try:
        yield
    finally:
        signal(pod, "CONT", numbers)


def flush(pod: Object) -> None:
    """Take all redirection rules out of a pod's network namespace."""
    node, [number, *_] = pod["spec"]["nodeName"], processes(pod)
    rules = "iptables-save | grep -c -- '-j ISTIO' || :"
    before = on_node(node, "nsenter", "-t", number, "-n", "sh", "-c", rules).strip()
    assert int(before) > 0, f"{name_of(pod)} has no rules of Istio: {before}"
    assert on_node(node, "sh", "-c", FLUSH, "sh", number).split()[-1] == "0", f"rules of {name_of(pod)} are left"


class Mesh:
    """What of the mesh runs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def mode(self) -> str:
        """As mesh_plan.mesh_mode()."""
        return mesh_plan.mesh_mode(self._cluster.objects("Namespace"))

    def on(self, node: str, workload: str) -> Object:
        """The pod of a DaemonSet of istio-system on a node."""
        pods = self._cluster.objects("Pod", "istio-system", labelSelector=f"app.kubernetes.io/name={workload}")
        [found] = [pod for pod in pods if pod["spec"].get("nodeName") == node and not pod["metadata"].get("deletionTimestamp")]
        return found

    def uids(self) -> dict[str, str]:
        """Pod to uid, of what runs and belongs to nobody's tests or Jobs."""
        return {
            name_of(pod): pod["metadata"]["uid"]
            for pod in self._cluster.objects("Pod")
            if pod["status"].get("phase") == "Running"
            and mesh_plan.PROBE_LABEL not in (pod["metadata"].get("labels") or {})
            and not pod["metadata"].get("deletionTimestamp")
            and "Job" not in {owner["kind"] for owner in pod["metadata"].get("ownerReferences") or []}
        }

    def all_ready(self) -> bool:
        """Whether each of these pods is ready."""
        pods = {name_of(pod): pod for pod in self._cluster.objects("Pod")}
        return all(name in pods and readiness.pod(pods[name]).state is readiness.State.READY for name in self.uids())


def recovered() -> list[dict[str, Any]]:
    """The steps of the last recovery, after which nothing was broken."""
    report: dict[str, Any] = json.loads(REPORT.read_text("utf-8"))
    assert report["still_broken"] == [], report["still_broken"]
    steps: list[dict[str, Any]] = report["steps"]
    return steps
