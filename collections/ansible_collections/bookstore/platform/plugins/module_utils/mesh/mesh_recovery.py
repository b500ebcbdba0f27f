# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Probes the mesh and restarts what is broken, step by step, as mesh_escalation decides; and tells what was restarted and why."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.readiness import State
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import data_plane, mesh_escalation, mesh_plan, mesh_proof, mesh_run
from ansible_collections.bookstore.platform.plugins.module_utils.mesh.mesh_escalation import Layout, Step

Name = tuple[str, str, str]
# Broken edges that the output names.
SHOWN = 5
# Seconds that istio-cni may take for a pod that runs already, after its namespace joined the mesh.
ENROLS_WITHIN = 15.0


@dataclass(frozen=True)
class Options:
    """Bounds in seconds. ``settle``: how long pods that start may make no progress before it is probed; ``ready``: for what was
    restarted; ``timeout``: no step begins later. ``order`` as mesh_escalation.Layout.
    """

    gateway_account: str
    order: list[str]
    settle: float = 45.0
    ready: float = 120.0
    timeout: float = 900.0
    proof: Path | None = None


class Recovery:
    """One run."""

    def __init__(
        self, cluster: Cluster, matrix: list[Object], settings: mesh_run.Settings, options: Options, clock: waiter.Clock = time
    ) -> None:
        self.cluster = cluster
        self.matrix = matrix
        self.settings = replace(settings, pinned=True, tolerant=True)
        self.options = options
        self.clock = clock

    def run(self) -> Object:
        """Return the report: {started, seconds, mode, probed, broken, steps, still_broken, not_judged, network, passing, lines}.

        ``passing``: how many edges were broken at the first look only.
        """
        started, begun = datetime.now(UTC), self.clock.monotonic()
        self._settle()
        result = self._first()
        edges = [*result["edges"], *self._enrolled()]
        broken, open_ones = mesh_escalation.judged(edges, self._ready())
        network = [edge for edge in open_ones if edge["kind"] == "control" and edge["outcome"] != mesh_run.NOT_TRIED]
        seen = broken
        if broken and not network:
            # What was only slow, as after a start of the machine, holds at the second look.
            broken = self._again(broken)
        first, steps, done = broken, [], set[tuple[str, str]]()
        holding = [edge for edge in edges if edge["ok"]]
        # Where pods reach nothing at all, no proxy is to blame.
        while not network and self.clock.monotonic() - begun < self.options.timeout:
            step = mesh_escalation.next_step(broken, holding, done, self._layout(result["mode"]))
            if step is None:
                break
            done.add(step.key)
            before, since = len(broken), self.clock.monotonic()
            came_back = self._restart(step)
            broken = self._again(broken)
            steps.append({
                "stage": step.stage, "target": step.target, "restarted": list(step.pods), "reason": step.reason, "ready": came_back,
                "broken_before": before, "broken_after": len(broken), "seconds": round(self.clock.monotonic() - since, 1),
            })  # fmt: skip
        report: Object = {
            "started": started.isoformat(timespec="seconds"), "seconds": round(self.clock.monotonic() - begun, 1),
            "mode": result["mode"], "probed": len(edges), "broken": first, "steps": steps, "still_broken": broken, "not_judged": open_ones,
            "network": not network, "passing": len(seen) - len(first),
        }  # fmt: skip
        return {**report, "lines": lines(report)}

    def _first(self) -> Object:
        """Probe everything. What holds is kept as a proof, which `verify` takes over if nothing changes until then."""
        if self.options.proof is None:
            return mesh_run.probe_mesh(self.cluster, self.matrix, self.settings, self.clock)
        # One of before is no proof of what came back now.
        self.options.proof.unlink(missing_ok=True)
        return mesh_proof.prove(self.cluster, self.matrix, self.settings, mesh_proof.Store(self.options.proof, 0), self.clock)

    def _again(self, broken: list[Object]) -> list[Object]:
        """Probe these edges again; return those that do not hold. One of which nothing was learnt stays as it was."""
        self._settle()
        names = {mesh_run.name_of(edge) for edge in broken}
        calls = {name for name in names if name[0] != mesh_escalation.ENROLLED}
        edges: list[Object] = []
        if calls:
            edges = mesh_run.probe_mesh(
                self.cluster, self.matrix, self.settings, self.clock,
                only=lambda _probe, call: (call.kind, call.source, call.destination) in calls,
            )["edges"]  # fmt: skip
        seen = {mesh_run.name_of(edge): edge for edge in edges if edge["outcome"] != mesh_run.NOT_TRIED}
        kept = [seen.get(mesh_run.name_of(edge), edge) for edge in broken if edge["kind"] != mesh_escalation.ENROLLED]
        # A pod that was renewed has another name or none: all are looked at.
        pods = {pod for edge in broken if edge["kind"] == mesh_escalation.ENROLLED for pod in edge["pods"]}
        outside = [edge for edge in self._enrolment() if edge["pods"][0] in pods or not edge["ok"]] if pods else []
        return [edge for edge in [*kept, *outside] if not edge["ok"]]

    def _enrolled(self) -> list[Object]:
        """Look at all pods, and again for a while where one is outside the mesh."""
        look = waiter.wait_for(
            self._enrolment, lambda edges: all(edge["ok"] for edge in edges), timeout=ENROLS_WITHIN, interval=1, clock=self.clock
        )
        return look.value

    def _enrolment(self) -> list[Object]:
        namespaces = {n["metadata"]["name"]: n for n in self.cluster.objects("Namespace")}
        mode = mesh_plan.mesh_mode(list(namespaces.values()))
        pods = [pod for pod in self._pods() if pod["status"].get("phase") == "Running"]
        return mesh_escalation.enrolment(pods, [data_plane.enrolled(pod, namespaces, mode) for pod in pods])

    def _pods(self) -> list[Object]:
        """Pods of workloads that go on running and are not ending."""
        return [
            pod for pod in self.cluster.objects("Pod")
            if mesh_escalation.workload_of(pod) and not pod["metadata"].get("deletionTimestamp")
        ]  # fmt: skip

    def _ready(self) -> set[str]:
        return {_name(pod) for pod in self._pods() if readiness.pod(pod).state is State.READY}

    def _settle(self) -> None:
        """Wait while pods of the matrix become ready, one after another; what then is not, may be what is to be mended."""
        namespaces = {row["namespace"] for row in self.matrix} | {text.partition("/")[0] for row in self.matrix for text in row["sources"]}

        def unready() -> int:
            mine = [pod for pod in self._pods() if pod["metadata"]["namespace"] in namespaces]
            return sum(readiness.pod(pod).state is not State.READY for pod in mine)

        waiter.wait_for(unready, lambda left: left == 0, timeout=self.options.settle, interval=1, clock=self.clock, left=float)

    def _layout(self, mode: str) -> Layout:
        pods = self._pods()
        system = [pod for pod in pods if pod["metadata"]["namespace"] == data_plane.NAMESPACE]
        gateway = self.options.gateway_account

        def on_nodes(name: str) -> dict[str, str]:
            mine = [pod for pod in system if mesh_escalation.workload_of(pod) == f"{data_plane.NAMESPACE}/{name}"]
            return {pod["spec"].get("nodeName", ""): _name(pod) for pod in mine}

        namespace, _, account = gateway.partition("/")
        own = [
            pod for pod in self.cluster.objects("Pod", namespace)
            if pod["spec"].get("serviceAccountName") == account and "ownerReferences" in pod["metadata"]
            and not pod["metadata"].get("deletionTimestamp")
        ]  # fmt: skip
        workloads = {_name(pod): mesh_escalation.workload_of(pod) for pod in pods if pod["metadata"]["namespace"] != data_plane.NAMESPACE}
        return Layout(
            mode, on_nodes(data_plane.NODE_PROXY), on_nodes("istio-cni"),
            {_name(pod) for pod in system if readiness.pod(pod).state is not State.READY},
            tuple(sorted(_name(pod) for pod in system if (pod["metadata"].get("labels") or {}).get("app") == "istiod")),
            tuple(sorted(map(_name, own))), gateway,
            {pod: name for pod, name in workloads.items() if name is not None and pod not in set(map(_name, own))},
            self.options.order,
        )  # fmt: skip

    def _restart(self, step: Step) -> bool:
        """Delete the pods of a step; return whether as many others became ready in time."""
        old = [pod for pod in self.cluster.objects("Pod") if _name(pod) in step.pods]
        uids = {pod["metadata"]["uid"] for pod in old}
        like = [_likeness(pod, step.stage) for pod in old]
        for pod in old:
            self.cluster.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"])

        def back() -> bool:
            pods = self.cluster.objects("Pod")
            fresh = [
                _likeness(pod, step.stage) for pod in pods
                if pod["metadata"]["uid"] not in uids and readiness.pod(pod).state is State.READY
            ]  # fmt: skip
            return not uids & {pod["metadata"]["uid"] for pod in pods} and all(fresh.count(one) >= like.count(one) for one in like)

        return waiter.wait_for(back, bool, timeout=self.options.ready, interval=1, clock=self.clock).done


def _likeness(pod: Object, stage: str) -> tuple[str, ...]:
    """Return what a pod and the one that takes its place have in common."""
    meta = pod["metadata"]
    labels = meta.get("labels") or {}
    owner = (meta.get("ownerReferences") or [{}])[0].get("name", "")
    node = pod["spec"].get("nodeName", "") if stage in (mesh_escalation.NODE, mesh_escalation.CNI) else ""
    return meta["namespace"], labels.get("app.kubernetes.io/name", ""), owner, node


def lines(report: Object) -> list[str]:
    """Return the report as lines for people."""
    if not report["broken"]:
        told = [f"mesh: {report['probed']} edges probed, none broken; nothing was restarted"]
        told += [f"{report['passing']} of them held at the second look only"] if report["passing"] else []
    else:
        told = [f"mesh: {len(report['broken'])} of {report['probed']} edges are broken:", *_some(report["broken"])]
    for step in report["steps"]:
        end = f"{step['broken_after']} of {step['broken_before']} are still broken" if step["broken_after"] else "all hold"
        late = "" if step["ready"] else ", not ready in time"
        told.append(f"restarted {', '.join(step['restarted'])} ({step['stage']} {step['target']}): {step['reason']}; then {end}{late}")
    if not report["network"]:
        told.append("nothing was restarted for them: the pod network itself does not work; look at the node-network agent")
    if report["not_judged"]:
        told.append(f"{len(report['not_judged'])} calls failed that tell nothing about the mesh:")
        told += _some(report["not_judged"])
    return told


def _some(edges: Collection[Object]) -> list[str]:
    more = [f"  and {len(edges) - SHOWN} more"] if len(edges) > SHOWN else []
    return [f"  {mesh_plan.describe(edge)}" for edge in list(edges)[:SHOWN]] + more


def _name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
