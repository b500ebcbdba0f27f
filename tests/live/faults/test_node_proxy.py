"""kill -9 of each node's proxy in ambient mode, under orders: nothing is lost, and the node's pods are in the mesh again at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan

from ..waiting import until
from .breakage import KILL, on_node
from .conftest import report
from .stream import Stream

pytestmark = pytest.mark.timeout(600)

# Seconds without one answer: the proxy starts, reads its configuration from istiod and opens its pods' sockets. It takes one to three;
# a pod that stayed outside of the mesh, or a pool of dead tunnels, takes minutes.
GAP_S = 20.0
PAUSE_S = 0.1


@dataclass
class Watched:
    """What somebody saw who asked all the time."""

    asked: int = 0
    failed: int = 0
    longest_s: float = 0.0


def watch(ask: Callable[[], httpx2.Response], over: Event) -> Watched:
    """Ask until ``over``; the longest time is from one good answer to the next."""
    seen, good = Watched(), time.monotonic()
    while not over.wait(PAUSE_S):
        seen.asked += 1
        try:
            answered = ask().is_success
        except httpx2.HTTPError:
            answered = False
        if answered:
            seen.longest_s, good = max(seen.longest_s, time.monotonic() - good), time.monotonic()
        else:
            seen.failed += 1
    seen.longest_s = max(seen.longest_s, time.monotonic() - good)
    return seen


def proxies(cluster: Cluster) -> dict[str, Object]:
    """Return the node proxy's pod on each worker."""
    found = {pod["spec"]["nodeName"]: pod for pod in cluster.objects("Pod", "istio-system", labelSelector="app=ztunnel")}
    return {node: pod for node, pod in sorted(found.items()) if "control-plane" not in node}


def restarts(cluster: Cluster, name: str) -> int:
    """How often the proxy's container was started again."""
    pod = cluster.get("Pod", "istio-system", name)
    return int(pod["status"]["containerStatuses"][0]["restartCount"]) if pod else -1


@pytest.mark.parametrize("worker", [0, 1])
def test_killed_node_proxy(
    cluster: Cluster, api: httpx2.Client, stream: Stream, converges: Callable[[float], None], worker: int, request: pytest.FixtureRequest
) -> None:
    if mesh_plan.mesh_mode(cluster.objects("Namespace")) != "ambient":
        pytest.skip("sidecar mode has no node proxy")
    node, pod = list(proxies(cluster).items())[worker]
    name = pod["metadata"]["name"]
    before = restarts(cluster, name)
    over = Event()
    with ThreadPoolExecutor(1) as pool:
        # By way of the gateway, the service and its database: nothing of it is cached.
        watching = pool.submit(watch, lambda: api.get("/inven/stock/" + stream.ids[0]), over)
        try:
            stream.wait(2)
            broken_at = time.monotonic()
            on_node(node, "sh", "-c", KILL, "sh", pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2])
            until(lambda: restarts(cluster, name) > before, f"{name} to be started again", 120, pause=0.5)
            stream.wait(6)
        finally:
            over.set()
        seen = watching.result()
    converges(broken_at)
    report(f"{request.node.name} gap", {"node": node, "asked": seen.asked, "failed": seen.failed, "longest_s": round(seen.longest_s, 2)})
    assert seen.longest_s < GAP_S, seen
