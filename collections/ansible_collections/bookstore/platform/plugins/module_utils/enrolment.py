# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Which running pods have not the data plane that their namespace asks for. No cluster is needed.

A namespace's label tells what becomes of pods that are made from then on; those that run keep what they were made with. So after a
change of the mesh mode, or when a pod was made while istiod's webhook or istio-cni was away, its workload has to be rolled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .cluster import Object

# What the webhook writes on a pod that it has given a sidecar, and istio-cni on one whose traffic it redirects.
SIDECAR = "sidecar.istio.io/status"
REDIRECTED = "ambient.istio.io/redirection"
# A gateway's proxy is its program, not a part of the mesh's data plane beside one.
GATEWAY = "gateway.networking.k8s.io/gateway-name"
MODES = ("ambient", "sidecar")

# Where the API server keeps what owns a pod of a Deployment: the ReplicaSet in between has the Deployment's name and a hash.
_OWNERS = {"ReplicaSet": "Deployment", "StatefulSet": "StatefulSet", "DaemonSet": "DaemonSet"}


def wanted_of(labels: dict[str, str]) -> str:
    """Return the mode that a namespace's labels ask for; empty for one that is outside of the mesh."""
    if labels.get("istio.io/dataplane-mode") == "ambient":
        return "ambient"
    return "sidecar" if labels.get("istio-injection") == "enabled" else ""


def misfit(pod: Object, wanted: str) -> str:
    """Return why a pod is not in the data plane ``wanted`` (one of MODES); empty when it is, or when it cannot be judged yet."""
    metadata: Object = pod.get("metadata") or {}
    annotations: dict[str, str] = metadata.get("annotations") or {}
    labels: dict[str, str] = metadata.get("labels") or {}
    if metadata.get("deletionTimestamp") or GATEWAY in labels or (pod.get("spec") or {}).get("hostNetwork"):
        return ""
    if wanted == "sidecar":
        if SIDECAR in annotations or "false" in (labels.get("sidecar.istio.io/inject"), annotations.get("sidecar.istio.io/inject")):
            return ""
        return "has no sidecar"
    if SIDECAR in annotations:
        return "has a sidecar"
    if labels.get("istio.io/dataplane-mode") == "none":
        return ""
    # istio-cni redirects a pod before its first container starts, when it has its address.
    running = (pod.get("status") or {}).get("phase") == "Running"
    return "is not redirected to the node proxy" if running and annotations.get(REDIRECTED) != "enabled" else ""


def owner_of(pod: Object) -> tuple[str, str] | None:
    """Return kind and name of the workload that makes a pod; None for a pod that nothing would make again."""
    for reference in (pod.get("metadata") or {}).get("ownerReferences") or []:
        kind = _OWNERS.get(str(reference.get("kind")))
        if kind:
            name = str(reference["name"])
            return kind, name.rpartition("-")[0] if kind == "Deployment" else name
    return None


def misfits(pods: Iterable[Object], wanted: dict[str, str]) -> dict[tuple[str, str, str], str]:
    """Return each workload with a pod that does not fit, as (kind, namespace, name), with the reason.

    ``wanted``: mode by namespace. A pod that no workload owns is left alone: its maker makes it anew, or it ends.
    """
    found: dict[tuple[str, str, str], str] = {}
    for pod in pods:
        namespace = str(pod["metadata"].get("namespace"))
        mode = wanted.get(namespace)
        owner = owner_of(pod)
        if not mode or owner is None:
            continue
        reason = misfit(pod, mode)
        if reason:
            found.setdefault((owner[0], namespace, owner[1]), f"{pod['metadata']['name']} {reason}")
    return found


def restart_patch(moment: str) -> dict[str, Any]:
    """Return the patch that rolls a workload, as ``kubectl rollout restart`` does; ``moment``: RFC 3339."""
    return {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": moment}}}}}
