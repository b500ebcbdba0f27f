"""Workloads as Kubernetes sees them: ready pods, restarts, and what is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mesh_map.sources.kubernetes import Object
from mesh_map.texts import shown

KINDS = ("Deployment", "StatefulSet", "DaemonSet")
# Reasons of waiting that do not pass by themselves.
_FAILING = frozenset({
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError", "ErrImageNeverPull",
})  # fmt: skip


@dataclass(slots=True)
class Running:
    """A workload that exists. ``state``: ready, starting, failing, or off (scaled to nothing)."""

    namespace: str
    name: str
    kind: str
    wanted: int
    ready: int
    restarts: int = 0
    state: str = "starting"
    reason: str = ""
    last_restart: float | None = None
    nodes: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"{self.namespace}/{self.name}"


def workloads_of(objects: dict[str, list[Object]]) -> list[Running]:
    """All workloads, with figures of their pods; Jobs only while they have pods."""
    pods: dict[str, list[Object]] = {}
    for pod in objects.get("Pod", []):
        owner = _owner(pod)
        if owner:
            pods.setdefault(f"{_namespace(pod)}/{owner[0]}/{owner[1]}", []).append(pod)
    found = []
    for kind in KINDS:
        for item in objects.get(kind, []):
            key = f"{_namespace(item)}/{kind}/{_name(item)}"
            found.append(_running(kind, item, pods.pop(key, [])))
    for key, left in pods.items():
        namespace, kind, name = key.split("/", 2)
        if kind == "Job":
            one = Running(namespace, name, kind, len(left), sum(map(_is_ready, left)))
            _look_at(one, left)
            one.state = "ready" if one.ready == one.wanted else "starting"
            found.append(one)
    return sorted(found, key=lambda one: one.id)


def nodes_of(items: Iterable[Object]) -> list[dict[str, Any]]:
    """Nodes: name, ready, cordoned, reason."""
    found = []
    for item in items:
        conditions = {one.get("type"): one for one in (item.get("status") or {}).get("conditions") or []}
        ready = conditions.get("Ready") or {}
        pressed = [name for name, one in conditions.items() if name != "Ready" and one.get("status") == "True"]
        is_ready = ready.get("status") == "True"
        found.append({
            "name": _name(item), "ready": is_ready,
            "cordoned": bool((item.get("spec") or {}).get("unschedulable")),
            "reason": shown(", ".join(map(str, pressed)) if is_ready else ready.get("reason") or "not ready"),
        })  # fmt: skip
    return sorted(found, key=lambda one: str(one["name"]))


def _running(kind: str, item: Object, pods: list[Object]) -> Running:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    if kind == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled") or 0, status.get("numberReady") or 0
    else:
        wanted, ready = spec.get("replicas", 1) or 0, status.get("readyReplicas") or 0
    one = Running(_namespace(item), _name(item), kind, int(wanted), int(ready))
    _look_at(one, pods)
    if one.wanted == 0:
        one.state = "off"
    elif one.reason:
        one.state = "failing"
    elif one.ready >= one.wanted:
        one.state = "ready"
    return one


def _look_at(one: Running, pods: list[Object]) -> None:
    for pod in pods:
        status = pod.get("status") or {}
        node = (pod.get("spec") or {}).get("nodeName")
        if node and node not in one.nodes:
            one.nodes.append(str(node))
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            one.restarts += int(container.get("restartCount") or 0)
            ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
            when = _unix(ended)
            if when is not None and (one.last_restart is None or when > one.last_restart):
                one.last_restart = when
            waits = ((container.get("state") or {}).get("waiting") or {}).get("reason")
            if waits in _FAILING and not one.reason:
                one.reason = shown(f"{container.get('name')}: {waits}")
        if status.get("phase") == "Pending" and not one.reason:
            for condition in status.get("conditions") or []:
                if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
                    one.reason = shown(f"no node takes it: {condition.get('message') or 'unschedulable'}")
    one.nodes.sort()


def _owner(pod: Object) -> tuple[str, str] | None:
    for owner in (pod.get("metadata") or {}).get("ownerReferences") or []:
        if owner.get("controller"):
            kind, name = str(owner.get("kind")), str(owner.get("name"))
            # A ReplicaSet is named by its Deployment and a hash.
            return ("Deployment", name.rsplit("-", 1)[0]) if kind == "ReplicaSet" else (kind, name)
    return None


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _unix(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None


def _name(item: Object) -> str:
    return str((item.get("metadata") or {}).get("name"))


def _namespace(item: Object) -> str:
    return str((item.get("metadata") or {}).get("namespace"))
