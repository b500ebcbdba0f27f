# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of pods' security settings and of what the mesh and the network refuse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError
from ansible_collections.bookstore.platform.plugins.module_utils.kind import certificates
from ansible_collections.bookstore.platform.plugins.module_utils.kind.certificates import CertificateError
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import data_plane, mesh_plan, mesh_run
from ansible_collections.bookstore.platform.plugins.module_utils.verification.cluster_checks import (
    containers,
    label,
    workload_pods,
)
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    FAILED,
    Context,
    Finding,
    Object,
    skipped,
    verdict,
)

ENFORCE = "pod-security.kubernetes.io/enforce"
# Volume types that the level restricted allows (Kubernetes Pod Security Standards).
VOLUME_TYPES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)


def pod_security(context: Context) -> Finding:
    """Every workload namespace enforces the level restricted."""
    found = {n["metadata"]["name"]: n["metadata"].get("labels") or {} for n in context.objects["Namespace"]}
    faults = []
    for name in context.params["namespaces"]:
        if name not in found:
            faults.append(f"namespace {name} does not exist")
        elif found[name].get(ENFORCE) != "restricted":
            faults.append(f"namespace {name} has {ENFORCE}={found[name].get(ENFORCE)}, expected restricted")
    return verdict(faults, f"{len(context.params['namespaces'])} namespaces enforce restricted")


def restricted_pods(context: Context) -> Finding:
    """Every workload pod keeps the product's rules, which go beyond the level restricted (SPEC 2)."""
    pods = workload_pods(context)
    faults = [f"pod {label(pod)}: {fault}" for pod in pods for fault in pod_faults(pod["spec"])]
    return verdict(faults, f"{len(pods)} pods: non-root, read-only, no capabilities, requests and limits")


def pod_faults(spec: Object) -> list[str]:
    """Return what a pod's spec lacks of: non-root with a fixed uid, read-only root, no capability, seccomp, limits."""
    faults = [f"{name} is true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    for volume in spec.get("volumes") or []:
        kind = next((key for key in volume if key != "name"), "emptyDir")
        if kind not in VOLUME_TYPES:
            faults.append(f"volume {volume['name']} is of type {kind}")
    for container in containers({"spec": spec}):
        for fault in _container_faults(container, spec.get("securityContext") or {}):
            faults.append(f"container {container['name']}: {fault}")
    return faults


def _container_faults(container: Object, pod: Object) -> list[str]:
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    seccomp = own.get("seccompProfile") or pod.get("seccompProfile") or {}
    uid = own.get("runAsUser", pod.get("runAsUser"))
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    rules = [
        (own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True, "runAsNonRoot is not true"),
        (isinstance(uid, int) and uid > 0, f"runAsUser={uid} is not a fixed uid above 0"),
        (own.get("readOnlyRootFilesystem") is True, "readOnlyRootFilesystem is not true"),
        (own.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation is not false"),
        (not own.get("privileged"), "privileged is true"),
        ("ALL" in (capabilities.get("drop") or []), "capabilities.drop lacks ALL"),
        (not capabilities.get("add"), f"capabilities.add={capabilities.get('add')}"),
        (seccomp.get("type") in ("RuntimeDefault", "Localhost"), f"seccompProfile.type={seccomp.get('type')}"),
        ("cpu" in requests and "memory" in requests, "resources.requests lacks cpu or memory"),
        # No limit of cpu is asked for: requests share the cores fairly, a limit would only slow a bursty service down.
        ("memory" in limits, "resources.limits lacks memory"),
    ]
    return [fault for good, fault in rules if not good]


def bootstrap_tokens(context: Context) -> Finding:
    """No bootstrap token exists: its holder could join as a node, and a node reads Secrets."""
    names = [label(secret) for secret in context.objects["BootstrapToken"]]
    faults = [f"Secret {name} is a bootstrap token; who knows it can become a node of this cluster" for name in names]
    return verdict(faults, "none: nobody can join as a node")


def certificates_last(context: Context) -> Finding:
    """No certificate of nodes, kubeconfig, gateway or mesh ends within the renewal window, or was forgotten by its owner."""
    if context.certificates is None:
        return skipped("not read in check mode")
    try:
        found = context.certificates.result()
    except (CertificateError, ClusterError, DockerError) as error:
        return Finding(FAILED, str(error).splitlines()[0], [str(error)])
    now = certificates.now()
    faults = [one.describe(now) for one in certificates.due(found, now, timedelta(days=context.params["certificate_days"]))]
    first = min(found, key=lambda one: one.ends, default=None)
    return verdict(faults, f"{len(found)} read; the first to end: {first.describe(now) if first else 'none'}")


def strict_policy(context: Context) -> Finding:
    """PeerAuthentication STRICT for the whole mesh; exceptions only for ports of declared NodePort targets."""
    policies = context.objects["PeerAuthentication"]
    root = [p for p in policies if p["metadata"]["namespace"] == "istio-system" and not p["spec"].get("selector")]
    faults = []
    if not any((p["spec"].get("mtls") or {}).get("mode") == "STRICT" for p in root):
        faults.append("no PeerAuthentication of istio-system sets mode STRICT for the mesh")
    for policy in policies:
        mode = (policy["spec"].get("mtls") or {}).get("mode", "UNSET")
        if mode in ("PERMISSIVE", "DISABLE"):
            faults.append(f"PeerAuthentication {label(policy)} sets mode {mode}; only single ports may be excepted")
    return verdict(faults, "STRICT for the whole mesh")


def what_carries_traffic(context: Context) -> Finding:
    """Sidecars or one node proxy carry the mesh's traffic, and it is named; never a mixture."""
    found = data_plane.look(context.objects["Namespace"], context.objects["Pod"])
    data = {"mode": found.mode, "name": found.name, "versions": found.versions}
    return verdict(found.faults, found.describe(), {"data_plane": data})


def mesh_edges(*kinds: str, empty: str) -> Callable[[Context], Finding]:
    """Return a check of the probes of the given kinds; ``empty``: what to say when there was none."""

    def check(context: Context) -> Finding:
        if context.mesh is None:
            return skipped(
                "there is no image to probe with: the workload of probe_from does not run, or this is check mode"
            )
        try:
            result = context.mesh.result()
        except (mesh_run.ProbeError, ClusterError, ValueError) as error:
            return Finding(FAILED, str(error).splitlines()[0], [str(error)])
        edges = [e for e in result["edges"] if e["kind"] in kinds]
        if not edges:
            return skipped(empty)
        faults = [mesh_plan.describe(e) for e in edges if not e["ok"]]
        if faults and result["shared_nodes"]:
            faults.append(f"all broken edges share node {', '.join(result['shared_nodes'])}")
        calls = "; ".join(f"{e['source']} -> {e['destination']} {e['outcome']}" for e in edges)
        renewed = f"; now those of {', '.join(result['renewed'])}" if result.get("renewed") else ", nothing changed since"
        since = f" at {_clock(result['proven_at'])}{renewed}" if "proven_at" in result else ""
        return verdict(faults, f"{len(edges)} proven{since}: {calls}", {"edges": edges, "proven_at": result.get("proven_at")})

    return check


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M UTC")
