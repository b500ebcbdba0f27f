# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps what a full probe of the mesh proved, so that a run that finds nothing changed need not start its pods again.

A proof counts for as long as everything stays that it depended on: the matrix and this code, the nodes and their boots, each
running pod and its containers, Services, the policies of mesh and network, and all else by which the mesh's proxies are told
what to do. Where nothing but pods of workloads of the matrix changed, the calls to these are made anew, and the calls from those whose
labels or account changed, for probe pods take over both. What none of these shows (rules that somebody removed by hand inside a pod's
network namespace) ends with the proof's age at the latest; calls from pods that are there are made in every run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import time
from dataclasses import dataclass

from ansible_collections.bookstore.platform.plugins.module_utils.base import proof_store, waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_pod, mesh_run, probe_script

POLICIES = ("NetworkPolicy", "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")
# What decides how a proxy treats a connection, beside policies; the last one gives pods their proxy.
PROXIES = (
    "DestinationRule", "VirtualService", "ServiceEntry", "WorkloadEntry", "Sidecar", "EnvoyFilter", "ProxyConfig", "Telemetry",
    "WasmPlugin", "TrafficExtension", "Gateway", "HTTPRoute", "MutatingWebhookConfiguration",
)  # fmt: skip
NAME_LABEL = "app.kubernetes.io/name"
# The mesh's settings, its root certificate, and what it puts into a pod.
CONFIG_MAPS = (("istio-system", "istio"), ("istio-system", "istio-ca-root-cert"), ("istio-system", "istio-sidecar-injector"))


class Store(proof_store.Store):
    """A proof whose result has edges."""

    def recall(self, fingerprint: str) -> Object | None:
        """Return {proven_at, result} of this fingerprint, or None; a file that cannot be read is no proof."""
        kept = super().recall(fingerprint)
        return kept if kept and isinstance(kept["result"].get("edges"), list) else None

    def remember(self, fingerprint: str, result: Object, proven_at: float | None = None) -> None:
        """Keep a result in which every edge is as it should be; one with a broken edge ends the proof of before."""
        if result["broken"]:
            self.forget()
        else:
            super().remember(fingerprint, result, proven_at)


@dataclass(frozen=True)
class Facts:
    """All that a proof depends on. ``whole``: a hash of all but pods; ``pods``: by workload, as <namespace>/<name>, a hash of its pods,
    and one of what a probe takes over from them.
    """

    whole: str
    pods: dict[str, list[str]]

    def changed(self, kept: Object, matrix: list[Object]) -> dict[str, bool] | None:
        """Return the workloads whose pods are others than ``kept`` has, and whether a probe would take over other things from them.

        None where that is not told, or is about a part that every call depends on.
        """
        if not isinstance(kept, dict):
            return None
        both = {name: (kept.get(name) or ["", ""], self.pods.get(name) or ["", ""]) for name in {*kept, *self.pods}}
        found = {name: old[1] != new[1] for name, (old, new) in both.items() if old != new}
        workloads = {f"{row['namespace']}/{row['workload']}" for row in matrix}
        return found if found.keys() <= workloads else None


def prove(
    cluster: Cluster, matrix: list[Object], settings: mesh_run.Settings, store: Store, clock: waiter.Clock = time
) -> Object:
    """Return what mesh_run.probe_mesh() returns; with ``proven_at`` (seconds since the epoch) when a part is from then.

    ``renewed``: the workloads whose part is from now.
    """
    before = facts(cluster, matrix, settings)
    kept = store.recall(before.whole)
    changed = before.changed(kept["result"].get("pods"), matrix) if kept else None
    result: Object | None = None
    if kept is not None and changed is not None:
        result = _renewed(cluster, matrix, settings, clock, kept, changed)
    proven_at = result["proven_at"] if result else None
    if result is None:
        result = mesh_run.probe_mesh(cluster, matrix, settings, clock)
    if result["broken"]:
        store.forget()
    # What changed while it was probed was perhaps not what was probed. Of an unchanged platform there is nothing to keep.
    elif changed != {} and facts(cluster, matrix, settings) == before:
        of_this_run = ("left", "proven_at", "renewed")
        store.remember(before.whole, {**{k: v for k, v in result.items() if k not in of_this_run}, "pods": before.pods}, proven_at)
    return result


def _renewed(
    cluster: Cluster, matrix: list[Object], settings: mesh_run.Settings, clock: waiter.Clock, kept: Object, changed: dict[str, bool]
) -> Object | None:
    """Prove anew what has to do with changed workloads, and take over the rest; None when a call of the rest was not made then."""

    def touched(probe: mesh_plan.Probe, call: mesh_plan.Call) -> bool:
        source = f"{probe.namespace}/{probe.labels.get(NAME_LABEL, '')}"
        # Those from pods that are there cost nothing.
        return bool(probe.pod) or call.destination.rpartition(":")[0] in changed or changed.get(source, False)

    fresh = mesh_run.probe_mesh(cluster, matrix, settings, clock, only=touched)
    known = {_name(edge): edge for edge in kept["result"]["edges"]}
    if not known.keys() >= set(fresh["left"]):
        return None
    edges = [*fresh["edges"], *(known[name] for name in fresh["left"])]
    return {**fresh, "edges": edges, "proven_at": kept["proven_at"], "renewed": sorted(changed)}


def facts(cluster: Cluster, matrix: list[Object], settings: mesh_run.Settings) -> Facts:
    """Return all that a proof depends on."""
    seen = {
        "code": [inspect.getsource(module) for module in (mesh_plan, mesh_pod, mesh_run, probe_script)],
        "matrix": matrix,
        # How long and how patiently it was probed is no part of what was proven, and a pinned probe proves as much. The image only
        # holds Python: with the services' code it is another one, and its calls are the same.
        "settings": repr(dataclasses.replace(settings, timeout=0.0, pinned=False, tolerant=False, image="")),
        "nodes": sorted(node_facts(node) for node in cluster.objects("Node")),
        "namespaces": sorted([_name_of(n), sorted((n["metadata"].get("labels") or {}).items())] for n in cluster.objects("Namespace")),
        "specs": [[kind, sorted(declared(one) for one in cluster.objects(kind))] for kind in ("Service", *POLICIES, *PROXIES)],
        "config": [(cluster.get("ConfigMap", namespace, name) or {}).get("data") for namespace, name in CONFIG_MAPS],
    }
    workloads: dict[str, list[Object]] = {}
    for pod in cluster.objects("Pod"):
        if counts(pod):
            meta = pod["metadata"]
            # One without the label is none of the matrix's.
            name = (meta.get("labels") or {}).get(NAME_LABEL) or f"pod {meta['name']}"
            workloads.setdefault(f"{meta.get('namespace', '')}/{name}", []).append(pod)
    return Facts(_hash(seen), {
        name: [_hash(sorted(pod_facts(pod) for pod in pods)), _hash(sorted(_source_facts(pod) for pod in pods))]
        for name, pods in workloads.items()
    })  # fmt: skip


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _source_facts(pod: Object) -> list[object]:
    return [pod["spec"].get("serviceAccountName", ""), sorted(mesh_plan.workload_labels(pod).items())]


def counts(pod: Object) -> bool:
    """Pods that run; those of Jobs come and go, and probes are this program's own."""
    meta = pod["metadata"]
    owners = {owner.get("kind") for owner in meta.get("ownerReferences") or []}
    return (
        pod.get("status", {}).get("phase") == "Running" and "Job" not in owners
        and mesh_plan.PROBE_LABEL not in (meta.get("labels") or {})
    )  # fmt: skip


def declared(found: Object) -> list[str]:
    """Return an object's name and contents; labels and annotations count, for one of them makes a policy a mere trial (a dry run)."""
    meta = found["metadata"]
    body = {key: value for key, value in found.items() if key not in ("metadata", "status")}
    return [_name_of(found), json.dumps([body, meta.get("labels"), meta.get("annotations")], sort_keys=True)]


def pod_facts(pod: Object) -> list[object]:
    """Return all that tells one run of a pod and its containers from another."""
    # A pod's proxy is one of its init containers that go on running.
    statuses = [*(pod["status"].get("initContainerStatuses") or []), *(pod["status"].get("containerStatuses") or [])]
    return [
        _name_of(pod), pod["metadata"].get("uid", ""), pod["spec"].get("nodeName", ""), pod["spec"].get("serviceAccountName", ""),
        pod["status"].get("podIP", ""), bool(pod["metadata"].get("deletionTimestamp")),
        sorted((pod["metadata"].get("labels") or {}).items()), sorted((pod["metadata"].get("annotations") or {}).items()),
        sorted([s["name"], s.get("containerID", ""), s.get("imageID", "")] for s in statuses),
    ]  # fmt: skip


def node_facts(node: Object) -> list[str]:
    """Return all that tells one boot of a node from another."""
    info = node.get("status", {}).get("nodeInfo") or {}
    return [node["metadata"]["name"], node["metadata"].get("uid", ""), info.get("bootID", ""), info.get("kernelVersion", "")]


def _name_of(found: Object) -> str:
    return f"{found['metadata'].get('namespace', '')}/{found['metadata']['name']}"


def _name(edge: Object) -> tuple[str, str, str]:
    return edge["kind"], edge["source"], edge["destination"]
