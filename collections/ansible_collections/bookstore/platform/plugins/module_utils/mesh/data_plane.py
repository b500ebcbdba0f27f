# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Names what carries the mesh's traffic: sidecars, or a node proxy, each with the version of its image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.images import ledger
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan

Object = dict[str, Any]

NAMESPACE, NODE_PROXY, SIDECAR = "istio-system", "ztunnel", "istio-proxy"
# By the name of their image; the DaemonSet has the same name for both.
NODE_PROXIES = {"ztunnel": "ztunnel", "node-proxy": "node proxy of our own"}
# istio-cni says so of a pod whose traffic it redirects.
REDIRECTED = ("ambient.istio.io/redirection", "enabled")


@dataclass
class DataPlane:
    """``mode`` as mesh_plan.mesh_mode(). ``faults``: what contradicts it."""

    mode: str
    name: str = ""
    versions: list[str] = field(default_factory=list)
    pods: int = 0
    faults: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Return it as words for people."""
        if not self.name:
            return f"mode {self.mode}, nothing carries it"
        return f"mode {self.mode}, {self.name} {', '.join(self.versions) or 'of no version'} in {self.pods} pods"


def look(namespaces: list[Object], pods: list[Object]) -> DataPlane:
    """Return what runs, from all namespaces and pods."""
    found = DataPlane(mesh_plan.mesh_mode(namespaces))
    alive = [pod for pod in pods if _stays(pod) and mesh_plan.PROBE_LABEL not in _labels(pod)]
    if found.mode == "none":
        found.faults.append("no namespace takes part in the mesh")
        return found
    proxies = [pod for pod in alive if pod["metadata"]["namespace"] == NAMESPACE and _labels(pod).get("app") == NODE_PROXY]
    sidecars = [pod for pod in alive if _sidecar(pod) is not None and not _is_proxy_only(pod)]
    if found.mode == "ambient":
        images = [pod["spec"]["containers"][0]["image"] for pod in proxies]
        found.faults += [f"pod {_name(pod)} has a sidecar in ambient mode" for pod in sidecars]
        found.faults += [] if proxies else ["no node proxy runs, so nothing carries the traffic"]
    else:
        images = [image for pod in sidecars if (image := _sidecar(pod)) is not None]
        found.faults += [] if sidecars else ["no pod has a sidecar, so nothing carries the traffic"]
    kinds = sorted({ledger.repository(image).rpartition("/")[2] for image in images})
    found.versions = sorted({ledger.bare(image).rpartition(":")[2] for image in images})
    found.pods = len(images)
    if images:
        found.name = "sidecars" if found.mode == "sidecar" else " and ".join(NODE_PROXIES.get(kind, kind) for kind in kinds)
    if len(set(images)) > 1:
        found.faults.append(f"{len(set(images))} images carry the traffic at once: {', '.join(sorted(set(images)))}")
    return found


def enrolled(pod: Object, namespaces: dict[str, Object], mode: str) -> bool | None:
    """Tell whether a pod that belongs into the mesh is in it; None for one that does not belong there."""
    wanted = (namespaces.get(pod["metadata"]["namespace"]) or {}).get("metadata", {}).get("labels") or {}
    own = _labels(pod)
    if mode == "ambient":
        choice = own.get("istio.io/dataplane-mode", wanted.get("istio.io/dataplane-mode"))
        if choice != "ambient" or pod["spec"].get("hostNetwork"):
            return None
        name, value = REDIRECTED
        return bool((pod["metadata"].get("annotations") or {}).get(name) == value)
    if wanted.get("istio-injection") != "enabled" or own.get("sidecar.istio.io/inject") == "false" or pod["spec"].get("hostNetwork"):
        return None
    return _sidecar(pod) is not None


def _sidecar(pod: Object) -> str | None:
    """Return the image of a pod's sidecar: a container, or an init container that goes on running."""
    spec = pod["spec"]
    return next((c["image"] for c in [*(spec.get("initContainers") or []), *spec["containers"]] if c["name"] == SIDECAR), None)


def _is_proxy_only(pod: Object) -> bool:
    """Gateways and the node proxies themselves: their own container has the sidecars' name."""
    return "gateway.networking.k8s.io/gateway-name" in _labels(pod) or pod["metadata"]["namespace"] == NAMESPACE


def _stays(pod: Object) -> bool:
    """One that ends has, after a change of the mode, the data plane of before until it is gone."""
    return pod.get("status", {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")


def _labels(pod: Object) -> dict[str, str]:
    return pod["metadata"].get("labels") or {}


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
