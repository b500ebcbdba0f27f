# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Decides what of a broken mesh is restarted next (SPEC 10.3); pure, from edges that were probed to one step.

Steps only go up: node proxies, istio-cni, istiod, the gateway, then single workloads. After each the broken edges are probed again, and
what holds then is left alone. Nothing is restarted that no broken edge touches; istiod, which serves every proxy, is touched by all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_run

Object = dict[str, Any]

# What the mesh has to do with. Dropped packets are the network's, and no restart of a proxy brings them about.
KINDS = frozenset({"allowed", "principal", "plaintext", "identity", "port"})
# Of those that hold, only these show that proxies work: what is to be refused is also refused by one that is broken.
ANSWERED = frozenset({"allowed", "identity"})
# A pod that belongs into the mesh and is not in it; no call shows it where only probe pods speak for its account.
ENROLLED = "enrolled"
NODE, CNI, ISTIOD, GATEWAY, WORKLOAD = "node", "cni", "istiod", "gateway", "workload"
# How far up a stage is: the two of a node are alike, for each may keep the other from working.
LEVELS = {NODE: 0, CNI: 0, ISTIOD: 1, GATEWAY: 2, WORKLOAD: 3}


@dataclass(frozen=True)
class Step:
    """``target``: a node for the first two stages, otherwise <namespace>/<workload>. ``pods``: what is restarted, <namespace>/<pod>."""

    stage: str
    target: str
    pods: tuple[str, ...]
    reason: str

    @property
    def key(self) -> tuple[str, str]:
        """What is done once at most."""
        return self.stage, self.target


@dataclass(frozen=True)
class Layout:
    """What there is to restart. ``proxies`` and ``cni``: node to pod; ``unready``: those of them that are not ready.

    ``workloads``: pod to <namespace>/<workload>.

    ``order``: patterns of workload names; of those that are suspected alike, what fits an earlier one comes first.
    """

    mode: str
    proxies: dict[str, str] = field(default_factory=dict)
    cni: dict[str, str] = field(default_factory=dict)
    unready: Collection[str] = ()
    istiod: tuple[str, ...] = ()
    gateway: tuple[str, ...] = ()
    gateway_account: str = ""
    workloads: dict[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()

    def rank(self, workload: str) -> int:
        """Return the place of a workload in the order."""
        name = workload.rpartition("/")[2]
        return next((place for place, pattern in enumerate(self.order) if fnmatchcase(name, pattern)), len(self.order))


def nodes_of(edge: Object) -> set[str]:
    """Return the nodes whose proxies an edge goes through."""
    if edge["kind"] == ENROLLED:
        return set()
    if edge["outcome"] == mesh_run.UNSTARTED:
        return {edge["source_node"]} - {""}
    # Only the destination's proxy has a part in what comes from outside the mesh.
    source = set() if edge["kind"] in ("plaintext", "identity") else {edge["source_node"]}
    return (source | set(edge["destination_nodes"])) - {""}


def pods_of(edge: Object) -> set[str]:
    """Return the pods that take part in an edge; a probe pod stands for none."""
    if edge["outcome"] == mesh_run.UNSTARTED:
        return set()
    return (set(edge["pods"]) | {edge.get("source_pod", "")}) - {""}


def judged(edges: Iterable[Object], ready: Collection[str]) -> tuple[list[Object], list[Object]]:
    """Return the broken edges that tell about the mesh, and those that tell nothing (yet).

    ``ready``: pods that take requests. Where no pod of the destination does, an allowed call fails whatever the mesh does.
    """
    broken: list[Object] = []
    open_ones: list[Object] = []
    for edge in edges:
        if edge["ok"]:
            continue
        away = edge["kind"] == "allowed" and edge["outcome"] != mesh_run.UNSTARTED and not set(edge["pods"]) & set(ready)
        tells = edge["kind"] in KINDS | {ENROLLED} and edge["outcome"] != mesh_run.NOT_TRIED and not away
        (broken if tells else open_ones).append(edge)
    return broken, open_ones


def next_step(broken: list[Object], holding: list[Object], done: Collection[tuple[str, str]], layout: Layout) -> Step | None:
    """Return the next step, None when nothing is left to do. ``done``: keys of the steps of before."""
    if not broken:
        return None
    level = max((LEVELS[one] for one, _ in done), default=0)
    outside = {pod for edge in broken if edge["kind"] == ENROLLED for pod in edge["pods"]}
    # A pod outside the mesh explains its edges, and no restart of a proxy brings it in.
    unexplained = [edge for edge in broken if edge["kind"] != ENROLLED and not pods_of(edge) & outside]
    for stage, choose in ((CNI, _unready_cni), (NODE, _node), (CNI, _cni), (ISTIOD, _istiod), (GATEWAY, _gateway)):
        step = choose(unexplained, holding, done, layout) if unexplained and LEVELS[stage] >= level else None
        if step is not None:
            return step
    return _workload(broken, holding, done, layout, outside)


def _node(broken: list[Object], holding: list[Object], done: Collection[tuple[str, str]], layout: Layout) -> Step | None:
    """A node that all broken edges share, or one of which no edge holds; the one of which most is broken and least holds first."""
    if layout.mode != "ambient":
        return None
    shared = set.intersection(*(nodes_of(edge) for edge in broken))
    touched = set().union(*(nodes_of(edge) for edge in broken))

    def count(edges: list[Object], node: str) -> int:
        return sum(node in nodes_of(edge) for edge in edges)

    working = [edge for edge in holding if edge["kind"] in ANSWERED]
    candidates = [
        node for node in touched
        if node in layout.proxies and (NODE, node) not in done and (node in shared or not count(working, node))
    ]  # fmt: skip
    if not candidates:
        return None
    node = min(candidates, key=lambda one: (count(working, one), -count(broken, one), one))
    bad, good = count(broken, node), count(working, node)
    why = f"all {bad} broken edges touch node {node}" if node in shared else f"{bad} edges of node {node} are broken and none holds"
    return Step(NODE, node, (layout.proxies[node],), f"{why}; {good} hold")


def _cni(broken: list[Object], _holding: list[Object], done: Collection[tuple[str, str]], layout: Layout) -> Step | None:
    """istio-cni of a node that starts no pod of the mesh."""
    nodes = sorted({edge["source_node"] for edge in broken if edge["outcome"] == mesh_run.UNSTARTED} & set(layout.cni))
    node = next((one for one in nodes if (CNI, one) not in done), None)
    return None if node is None else Step(CNI, node, (layout.cni[node],), f"node {node} starts no pod of the mesh")


def _unready_cni(broken: list[Object], holding: list[Object], done: Collection[tuple[str, str]], layout: Layout) -> Step | None:
    """The same, where istio-cni itself is not ready: the node proxy is told by it about pods, and would not become ready either."""
    suspects = {node: pod for node, pod in layout.cni.items() if pod in layout.unready}
    return _cni(broken, holding, done, replace(layout, cni=suspects))


def _istiod(broken: list[Object], _holding: list[Object], done: Collection[tuple[str, str]], layout: Layout) -> Step | None:
    target = "istio-system/istiod"
    if (ISTIOD, target) in done or not layout.istiod:
        return None
    return Step(ISTIOD, target, layout.istiod, f"{len(broken)} edges are still broken, and every proxy gets its configuration here")


def _gateway(broken: list[Object], _holding: list[Object], done: Collection[tuple[str, str]], layout: Layout) -> Step | None:
    touching = [e for e in broken if e["source"] == layout.gateway_account or pods_of(e) & set(layout.gateway)]
    if not touching or (GATEWAY, layout.gateway_account) in done or not layout.gateway:
        return None
    return Step(GATEWAY, layout.gateway_account, layout.gateway, f"{len(touching)} broken edges touch the gateway")


def _workload(
    broken: list[Object], holding: list[Object], done: Collection[tuple[str, str]], layout: Layout, outside: set[str]
) -> Step | None:
    """One workload: first what is outside the mesh, then what all broken edges share, then one of whose edges of that kind none holds;
    of those that are suspected alike the first in the order of the layout.
    """
    pods: dict[str, set[str]] = {}
    for pod in set().union(*(pods_of(edge) for edge in broken)):
        workload = layout.workloads.get(pod)
        if workload is not None and (WORKLOAD, workload) not in done:
            pods.setdefault(workload, set()).add(pod)
    if not pods:
        return None
    good = set().union(*(_roles(edge) for edge in holding))

    def suspected(workload: str) -> tuple[bool, bool, bool, int, str]:
        roles = [(role, kind) for edge in broken for role, kind, pod in _roles(edge) if pod in pods[workload]]
        cleared = all(any((role, kind, pod) in good for pod in pods[workload]) for role, kind in roles)
        shared = all(pods_of(edge) & pods[workload] for edge in broken)
        return not pods[workload] & outside, not shared, cleared, layout.rank(workload), workload

    workload = min(pods, key=suspected)
    mine = pods[workload] & outside or pods[workload]
    count = sum(bool(pods_of(edge) & mine) for edge in broken)
    why = "it is outside the mesh" if mine & outside else f"{count} broken edges touch it"
    return Step(WORKLOAD, workload, tuple(sorted(mine)), why)


def _roles(edge: Object) -> set[tuple[str, str, str]]:
    """Return (role, kind, pod) of the pods of an edge."""
    if edge["outcome"] == mesh_run.UNSTARTED:
        return set()
    source = edge.get("source_pod", "")
    return {("destination", edge["kind"], pod) for pod in edge["pods"]} | ({("source", edge["kind"], source)} if source else set())


def enrolment(pods: Iterable[Object], verdicts: Iterable[bool | None]) -> list[Object]:
    """Return an edge of kind enrolled for each pod that belongs into the mesh."""
    return [
        {
            "kind": ENROLLED, "source": "istio-cni", "destination": _name(pod), "expected": ["in the mesh"],
            "outcome": "in the mesh" if verdict else "outside the mesh", "detail": f"on node {pod['spec'].get('nodeName', '')}",
            "seconds": 0.0, "ok": verdict, "source_node": "", "source_pod": "",
            "destination_nodes": [pod["spec"].get("nodeName", "")], "pods": [_name(pod)],
        }
        for pod, verdict in zip(pods, verdicts, strict=True) if verdict is not None
    ]  # fmt: skip


def workload_of(pod: Object) -> str | None:
    """Return <namespace>/<workload> of a pod that something brings back when it is deleted; None for others."""
    meta = pod["metadata"]
    owners = {owner.get("kind") for owner in meta.get("ownerReferences") or []}
    name = (meta.get("labels") or {}).get("app.kubernetes.io/name")
    returns = owners & {"ReplicaSet", "StatefulSet", "DaemonSet"}
    return f"{meta['namespace']}/{name}" if name and returns and mesh_plan.PROBE_LABEL not in (meta.get("labels") or {}) else None


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
