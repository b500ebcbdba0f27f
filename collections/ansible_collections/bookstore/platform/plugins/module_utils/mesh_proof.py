# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps what a full probe of the mesh proved, so that a run that finds nothing changed need not start its pods again.

A proof counts for as long as everything stays that it depended on: the matrix and this code, the nodes and their boots, each
running pod and its containers, Services, the policies of mesh and network, and all else by which the mesh's proxies are told
what to do. What none of these shows (rules that somebody removed by hand inside a pod's network namespace) ends with the proof's age at
the latest; calls from pods that are there are made in every run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time

from ansible_collections.bookstore.platform.plugins.module_utils import mesh_plan, mesh_run, probe_script, proof_store, waiter
from ansible_collections.bookstore.platform.plugins.module_utils.cluster import Cluster, Object

POLICIES = ("NetworkPolicy", "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")
# What decides how a proxy treats a connection, beside policies; the last one gives pods their proxy.
PROXIES = (
    "DestinationRule", "VirtualService", "ServiceEntry", "WorkloadEntry", "Sidecar", "EnvoyFilter", "ProxyConfig", "Telemetry",
    "WasmPlugin", "TrafficExtension", "Gateway", "HTTPRoute", "MutatingWebhookConfiguration",
)  # fmt: skip
# The mesh's settings, its root certificate, and what it puts into a pod.
CONFIG_MAPS = (("istio-system", "istio"), ("istio-system", "istio-ca-root-cert"), ("istio-system", "istio-sidecar-injector"))


class Store(proof_store.Store):
    """A proof whose result has edges."""

    def recall(self, fingerprint: str) -> Object | None:
        """Return {proven_at, result} of this fingerprint, or None; a file that cannot be read is no proof."""
        kept = super().recall(fingerprint)
        return kept if kept and isinstance(kept["result"].get("edges"), list) else None

    def remember(self, fingerprint: str, result: Object) -> None:
        """Keep a result in which every edge is as it should be; one with a broken edge ends the proof of before."""
        if result["broken"]:
            self.forget()
        else:
            super().remember(fingerprint, result)


def prove(
    cluster: Cluster, matrix: list[Object], settings: mesh_run.Settings, store: Store, clock: waiter.Clock = time
) -> Object:
    """Return what mesh_run.probe_mesh() returns; with ``proven_at`` (seconds since the epoch) when the probe pods' part is from then."""
    before = fingerprint(cluster, matrix, settings)
    kept = store.recall(before)
    if kept is not None:
        fresh = mesh_run.probe_mesh(cluster, matrix, settings, clock, inside_only=True)
        tried = {_name(edge) for edge in fresh["edges"]}
        edges = [*fresh["edges"], *(edge for edge in kept["result"]["edges"] if _name(edge) not in tried)]
        result = {**fresh, "edges": edges, "proven_at": kept["proven_at"]}
        if result["broken"]:
            store.forget()
        return result
    result = mesh_run.probe_mesh(cluster, matrix, settings, clock)
    # What changed while it was probed was perhaps not what was probed.
    if fingerprint(cluster, matrix, settings) == before:
        store.remember(before, result)
    return result


def fingerprint(cluster: Cluster, matrix: list[Object], settings: mesh_run.Settings) -> str:
    """Return a hash of all that a proof depends on."""
    seen = {
        "code": [inspect.getsource(module) for module in (mesh_plan, mesh_run, probe_script)],
        "matrix": matrix,
        "settings": repr(settings),
        "nodes": sorted(node_facts(node) for node in cluster.objects("Node")),
        "namespaces": sorted([_name_of(n), sorted((n["metadata"].get("labels") or {}).items())] for n in cluster.objects("Namespace")),
        "pods": sorted(pod_facts(pod) for pod in cluster.objects("Pod") if counts(pod)),
        "specs": [[kind, sorted(declared(one) for one in cluster.objects(kind))] for kind in ("Service", *POLICIES, *PROXIES)],
        "config": [(cluster.get("ConfigMap", namespace, name) or {}).get("data") for namespace, name in CONFIG_MAPS],
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


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
