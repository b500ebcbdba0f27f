# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Carries out a plan of probes in the cluster and leaves nothing behind."""

from __future__ import annotations

import inspect
import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, Object, look
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_pod, probe_script
from ansible_collections.bookstore.platform.plugins.module_utils.mesh.mesh_plan import Plan, Probe

# What a killed run left is removed by the next one; a run beside this one is not disturbed.
STALE_SECONDS = 300
# Each probe pod starts a proxy: more of them at once only take the processor from one another and from what is probed.
AT_ONCE = 6
# A probe that a tolerant run pinned to a node starts within this time, or the node starts none.
START_SECONDS = 30.0
# Outcomes of a tolerant run: the node starts no pod of the mesh, which tells about the mesh; the call was not made, which tells nothing.
UNSTARTED, NOT_TRIED = "unstarted", "not_tried"
READY_URL = ("127.0.0.1", 15021, "/healthz/ready")


class ProbeError(Exception):
    """The probes themselves could not run, so nothing is known about the mesh."""


@dataclass(frozen=True)
class Settings:
    """``image`` holds python3 (``interpreter``); ``timeout`` bounds all probes together, in seconds.

    ``pinned``: as mesh_plan.Planner. ``tolerant``: a probe that cannot run is an outcome of its calls, and no error of all.
    """

    image: str
    interpreter: str = "python3"
    timeout: float = 180.0
    outsider: str = "storefront"
    exec_sources: list[str] = field(default_factory=list)
    trust_domain: str = "cluster.local"
    full: bool = True
    pinned: bool = False
    tolerant: bool = False


def probe_mesh(
    cluster: Cluster, matrix: list[Object], settings: Settings, clock: waiter.Clock = time, *,
    only: Callable[[Probe, mesh_plan.Call], bool] = lambda _probe, _call: True,
) -> Object:  # fmt: skip
    """Return {mode, edges, broken, left, shared_nodes, shared_pods, skipped, seconds}; edges as mesh_plan.judge().

    ``only``: which calls are made. ``left``: kind, source and destination of the others.
    """
    start = clock.monotonic()
    mode = mesh_plan.mesh_mode(cluster.objects("Namespace"))
    if mode == "none":
        raise ProbeError("BK-221: no namespace has a label istio-injection or istio.io/dataplane-mode; run `make up`")
    scene = mesh_plan.Scene(cluster.objects("Pod"), cluster.objects("Service"), mode, settings.trust_domain)
    exec_sources = [mesh_plan.Account.parse(text) for text in settings.exec_sources]
    plan = mesh_plan.Planner(scene, exec_sources, settings.outsider, settings.pinned).build(matrix, settings.full)
    left: list[tuple[str, str, str]] = []
    for probe in plan.probes:
        left += [(call.kind, call.source, call.destination) for call in probe.calls if not only(probe, call)]
        probe.calls = [call for call in probe.calls if only(probe, call)]
    plan.probes = [probe for probe in plan.probes if probe.calls]
    results = Runner(cluster, settings, mode, clock).run(plan)
    edges = [
        mesh_plan.judge(call, probe, results.get(call.id), plan.destinations)
        for probe in plan.probes
        for call in probe.calls
    ]
    broken = [edge for edge in edges if not edge["ok"]]
    nodes, pods = mesh_plan.shared(broken)
    return {
        "mode": mode,
        "edges": edges,
        "broken": broken,
        "left": left,
        "shared_nodes": nodes,
        "shared_pods": pods,
        "skipped": plan.skipped,
        "seconds": round(clock.monotonic() - start, 1),
    }


def name_of(edge: Object) -> tuple[str, str, str]:
    """Return what names an edge, as mesh_plan.judge() gives it."""
    return edge["kind"], edge["source"], edge["destination"]


def unmade(probe: Probe, outcome: str, detail: str) -> dict[str, Object]:
    """Return results for calls that were not made."""
    return {call.id: {"outcome": outcome, "detail": detail[:200], "seconds": 0.0} for call in probe.calls}


def workload_image(cluster: Cluster, workload: str) -> str:
    """Return the image of <namespace>/<workload>'s own container; empty when no such pod runs."""
    namespace, _, name = workload.partition("/")
    if not name:
        return ""
    for pod in cluster.objects("Pod", namespace, labelSelector=f"app.kubernetes.io/name={name}"):
        if mesh_plan.PROBE_LABEL not in pod["metadata"]["labels"]:
            return str(next(c["image"] for c in pod["spec"]["containers"] if c["name"] != "istio-proxy"))
    return ""


class Runner:
    """One run; probe pods follow one another, up to AT_ONCE side by side."""

    def __init__(self, cluster: Cluster, settings: Settings, mode: str, clock: waiter.Clock) -> None:
        self.cluster = cluster
        self.settings = settings
        self.mode = mode
        self.clock = clock
        self.run_id = uuid.uuid4().hex[:8]
        self.script = inspect.getsource(probe_script)
        self._authority = ""

    def run(self, plan: Plan) -> dict[str, Object]:
        """Return the results by call id; ProbeError when a probe could not run."""
        self._clean_stale()
        pods = [p for p in plan.probes if not p.pod]
        inside = [p for p in plan.probes if p.pod]
        if any(call.protocol == "tls" for probe in plan.probes for call in probe.calls):
            self._authority = self._mesh_authority(plan.probes)
        try:
            with ThreadPoolExecutor(max_workers=4) as pool:
                execs = [pool.submit(self._execute, probe) for probe in inside]
                results = self._collect({f"mesh-probe-{self.run_id}-{i}": probe for i, probe in enumerate(pods)})
                for future in execs:
                    results.update(future.result())
            return results
        finally:
            self._remove(self.cluster.objects("Pod", labelSelector=f"{mesh_plan.PROBE_LABEL}={self.run_id}"))

    def _request(self, probe: Probe) -> str:
        request: dict[str, Any] = {"calls": [call.request(self._authority) for call in probe.calls]}
        if probe.meshed and self.mode == "sidecar" and not probe.pod:
            request.update(ready_url=READY_URL, ready_timeout=30)
        return json.dumps(request)

    def _mesh_authority(self, probes: list[Probe]) -> str:
        """Return the mesh's root certificates, which istiod writes into every namespace."""
        holder = self.cluster.get("ConfigMap", probes[0].namespace, "istio-ca-root-cert") or {}
        text = str(holder.get("data", {}).get("root-cert.pem", ""))
        if not text:
            raise ProbeError(
                f"BK-222: ConfigMap {probes[0].namespace}/istio-ca-root-cert has no root-cert.pem; is istiod running?"
            )
        return text

    def _create(self, name: str, probe: Probe) -> Object:
        body = mesh_pod.pod_manifest(
            probe,
            name,
            self.run_id,
            self.settings.image,
            self.settings.interpreter,
            self.script,
            self._request(probe),
            self.mode,
        )
        return self.cluster.create("Pod", body)

    def _execute(self, probe: Probe) -> dict[str, Object]:
        command = [self.settings.interpreter, "-c", self.script, self._request(probe)]
        try:
            text = look(self.cluster, probe.namespace, probe.pod, probe.container, command, self.settings.timeout)
            return self._parse(text.splitlines(), f"{probe.namespace}/{probe.pod}")
        except (ClusterError, ProbeError) as error:
            # A container that does not run tells nothing about the mesh.
            if not self.settings.tolerant:
                raise
            return unmade(probe, NOT_TRIED, str(error))

    def _collect(self, probes: dict[str, Probe]) -> dict[str, Object]:
        """Run all probe pods; each is read and removed as soon as its container has ended, which makes room for the next."""
        waiting = list(probes)
        results: dict[str, Object] = {}
        # Node to why no pod of the mesh starts there: the others that are pinned to it need not be tried.
        dead: dict[str, str] = {}

        def poll() -> list[Object]:
            running = []
            for pod in self.cluster.objects("Pod", labelSelector=f"{mesh_plan.PROBE_LABEL}={self.run_id}"):
                verdict = readiness.pod(pod)
                if ended(pod):
                    results.update(self._read(pod, probes[pod["metadata"]["name"]]))
                    self._remove([pod])
                elif self.settings.tolerant and (given_up := self._given_up(pod, verdict)):
                    probe = probes[pod["metadata"]["name"]]
                    starts_none = given_up[0] == UNSTARTED and probe.meshed and probe.pin
                    results.update(unmade(probe, UNSTARTED if starts_none else NOT_TRIED, given_up[1]))
                    if starts_none:
                        dead[probe.pin] = given_up[1]
                    self._remove([pod])
                elif verdict.state is readiness.State.FAILED:
                    raise ProbeError(f"BK-223: probe {_name(pod)} cannot run: {verdict.reason}")
                else:
                    running.append(pod)
            for name in [name for name in waiting if probes[name].pin in dead]:
                waiting.remove(name)
                results.update(unmade(probes[name], UNSTARTED, dead[probes[name].pin]))
            while waiting and len(running) < AT_ONCE:
                running.append(self._create(waiting[0], probes[waiting.pop(0)]))
            return running

        outcome = waiter.wait_for(
            poll, lambda running: not running, timeout=self.settings.timeout, interval=0.5, clock=self.clock
        )
        if not outcome.done:
            if not self.settings.tolerant:
                raise ProbeError(self._late(outcome.value))
            for probe in probes.values():
                late = unmade(probe, NOT_TRIED, f"not made within timeout={self.settings.timeout:.0f} s")
                results.update({call: result for call, result in late.items() if call not in results})
        return results

    def _given_up(self, pod: Object, verdict: readiness.Verdict) -> tuple[str, str] | None:
        """Return outcome and reason for a probe that is waited for no longer. Its network is what istio-cni and the node proxy give it."""
        if verdict.state is readiness.State.FAILED:
            return NOT_TRIED, f"the probe cannot run: {verdict.reason}"
        if pod.get("status", {}).get("podIP") or readiness.age_seconds(pod) < START_SECONDS:
            return None
        events = self.cluster.events(pod["metadata"]["namespace"], pod["metadata"]["name"], limit=1)
        return UNSTARTED, f"no network within {START_SECONDS:.0f} s: {' '.join(events) or verdict.reason}"

    def _read(self, pod: Object, probe: Probe) -> dict[str, Object]:
        probe.node = pod["spec"].get("nodeName", "")
        lines = self.cluster.logs(probe.namespace, pod["metadata"]["name"], "probe", lines=40)
        try:
            return self._parse(lines, _name(pod))
        except ProbeError as error:
            if not self.settings.tolerant:
                raise
            # A proxy that does not become ready is the mesh's, one without python3 is not.
            return unmade(probe, UNSTARTED if probe.pin and "BK-226" in str(error) else NOT_TRIED, str(error))

    def _late(self, late: list[Object]) -> str:
        lines = [f"BK-224: {len(late)} probe pods did not finish within timeout={self.settings.timeout:.0f} s:"]
        for pod in late[:3]:
            lines.append(f"{_name(pod)}: {readiness.pod(pod).reason}")
            lines += [
                f"  event: {line}"
                for line in self.cluster.events(pod["metadata"]["namespace"], pod["metadata"]["name"])
            ]
        return "\n".join(lines)

    @staticmethod
    def _parse(lines: list[str], where: str) -> dict[str, Object]:
        answer = next((line for line in reversed(lines) if line.startswith("{")), None)
        if answer is None:
            raise ProbeError(f"BK-225: probe {where} printed no result: {' '.join(lines)[-400:] or 'nothing at all'}")
        parsed: Object = json.loads(answer)
        if not parsed["ready"]:
            raise ProbeError(
                f"BK-226: the mesh proxy of probe {where} did not become ready within 30 s; is istiod reachable?"
            )
        results: dict[str, Object] = parsed["results"]
        return results

    def _clean_stale(self) -> None:
        old = []
        for pod in self.cluster.objects("Pod", labelSelector=mesh_plan.PROBE_LABEL):
            if readiness.age_seconds(pod) > STALE_SECONDS:
                old.append(pod)
        self._remove(old)

    def _remove(self, pods: list[Object]) -> None:
        failed: list[ClusterError] = []
        for pod in pods:
            try:
                self.cluster.delete("Pod", pod["metadata"]["namespace"], pod["metadata"]["name"], grace_seconds=0)
            except ClusterError as error:
                failed.append(error)  # the others are removed all the same
        if failed:
            raise failed[0]


def ended(pod: Object) -> bool:
    """Return whether the container of a probe pod has ended."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return any(s.get("name") == "probe" and (s.get("state") or {}).get("terminated") for s in statuses)


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
