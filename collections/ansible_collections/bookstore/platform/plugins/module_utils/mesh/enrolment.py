# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Which workloads have running pods outside of the data plane that their namespace asks for. No cluster is needed.

A namespace's label tells what becomes of pods that are made from then on; those that run keep what they were made with. So after a
change of the mesh mode, or when a pod was made while istiod's webhook or istio-cni was away, its workload has to be rolled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..kubernetes.cluster import Object
from . import data_plane, mesh_plan

# What makes a pod, and what of that can be rolled: a ReplicaSet has its Deployment's name and a hash.
_OWNERS = {"ReplicaSet": "Deployment", "StatefulSet": "StatefulSet", "DaemonSet": "DaemonSet"}


def owner_of(pod: Object) -> tuple[str, str] | None:
    """Return kind and name of the workload that makes a pod; None for a pod that nothing would make again."""
    for reference in pod["metadata"].get("ownerReferences") or []:
        kind = _OWNERS.get(str(reference.get("kind")))
        if kind:
            name = str(reference["name"])
            return kind, name.rpartition("-")[0] if kind == "Deployment" else name
    return None


def outside(pods: Iterable[Object], namespaces: Iterable[Object]) -> dict[tuple[str, str, str], str]:
    """Return each workload with a running pod outside of the mesh, as (kind, namespace, name), with the name of such a pod."""
    by_name = {one["metadata"]["name"]: one for one in namespaces}
    mode = mesh_plan.mesh_mode(list(by_name.values()))
    found: dict[tuple[str, str, str], str] = {}
    for pod in pods:
        owner, meta = owner_of(pod), pod["metadata"]
        if owner is None or meta.get("deletionTimestamp") or (pod.get("status") or {}).get("phase") != "Running":
            continue
        if data_plane.enrolled(pod, by_name, mode) is False:
            found.setdefault((owner[0], meta["namespace"], owner[1]), meta["name"])
    return found


def restart_patch(moment: str) -> dict[str, Any]:
    """Return the patch that rolls a workload, as ``kubectl rollout restart`` does; ``moment``: RFC 3339."""
    return {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": moment}}}}}
