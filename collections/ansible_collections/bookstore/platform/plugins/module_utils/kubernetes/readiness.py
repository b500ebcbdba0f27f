# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Readiness as pure predicates: one function per kind, from an object to a verdict. No cluster is needed.

An object whose status was written for an older generation never counts as ready (Kubernetes API conventions,
``status.observedGeneration``). A verdict may also be terminal: waiting longer cannot make it good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

Object = dict[str, Any]

RESTART_LIMIT = 3
# Waiting reasons that only a changed manifest, image or Secret can cure.
HOPELESS_WAITS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
    }
)
# The kubelet of a busy node has not seen the ConfigMap or Secret yet; it tries again by itself.
PASSING_WAIT = "failed to sync "


class State(Enum):
    """READY; WAITING: may still become ready; FAILED: will not without a change."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """``reason`` says what is missing or wrong, in words an operator can act on; empty when ready."""

    state: State
    reason: str = ""


READY = Verdict(State.READY)


def waiting(reason: str) -> Verdict:
    """Return a verdict that may still change."""
    return Verdict(State.WAITING, reason)


def failed(reason: str) -> Verdict:
    """Return a terminal verdict."""
    return Verdict(State.FAILED, reason)


def age_seconds(obj: Object, now: datetime | None = None) -> float:
    """Return for how many seconds an object exists."""
    created = obj.get("metadata", {}).get("creationTimestamp")
    if not created:
        return 0.0
    born = datetime.fromisoformat(str(created).replace("Z", "+00:00"))
    return ((now or datetime.now(UTC)) - born).total_seconds()


def condition(holder: Object, kind: str) -> Object:
    """Return the condition of a type from ``holder['conditions']``, or an empty one."""
    return next((c for c in holder.get("conditions") or [] if c.get("type") == kind), {})


def _stale(obj: Object) -> Verdict | None:
    generation = obj.get("metadata", {}).get("generation")
    observed = obj.get("status", {}).get("observedGeneration")
    if generation is not None and (observed is None or observed < generation):
        return waiting(f"generation {generation} is not observed yet (status is of {observed})")
    return None


def _count(status: Object, field: str) -> int:
    return int(status.get(field) or 0)


def deployment(obj: Object) -> Verdict:
    """All replicas updated and available, none of an older revision left."""
    status, want = obj.get("status", {}), _replicas(obj)
    replica_failure = condition(status, "ReplicaFailure")
    if replica_failure.get("status") == "True":
        # Seen when Pod Security, a quota or a missing service account rejects the pods.
        return failed(f"its pods are rejected: {replica_failure.get('message', replica_failure.get('reason', ''))}")
    stale = _stale(obj)
    if stale:
        return stale
    progressing = condition(status, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return failed(f"it made no progress: {progressing.get('message', '')}")
    updated, available, total = (
        _count(status, "updatedReplicas"),
        _count(status, "availableReplicas"),
        _count(status, "replicas"),
    )
    if updated < want or available < want or total > updated:
        return waiting(
            f"{updated}/{want} updated, {available}/{want} available, {max(0, total - updated)} of an older revision"
        )
    return READY


def statefulset(obj: Object) -> Verdict:
    """All replicas ready and of the current revision."""
    stale = _stale(obj)
    if stale:
        return stale
    status, want = obj.get("status", {}), _replicas(obj)
    ready, updated = _count(status, "readyReplicas"), _count(status, "updatedReplicas")
    on_delete = obj.get("spec", {}).get("updateStrategy", {}).get("type") == "OnDelete"
    same = on_delete or status.get("currentRevision") == status.get("updateRevision") or updated >= want
    if ready < want or not same:
        return waiting(f"{ready}/{want} ready, {updated}/{want} of the current revision")
    return READY


def daemonset(obj: Object) -> Verdict:
    """One updated, available pod on every node that should run it."""
    stale = _stale(obj)
    if stale:
        return stale
    status = obj.get("status", {})
    want = _count(status, "desiredNumberScheduled")
    available, updated = _count(status, "numberAvailable"), _count(status, "updatedNumberScheduled")
    if available < want or updated < want:
        return waiting(f"{available}/{want} nodes available, {updated}/{want} updated")
    return READY


def job(obj: Object) -> Verdict:
    """Complete; a failed one is terminal."""
    status = obj.get("status", {})
    broken = condition(status, "Failed")
    if broken.get("status") == "True":
        return failed(f"the job failed: {broken.get('reason', '')} {broken.get('message', '')}".strip())
    if condition(status, "Complete").get("status") == "True":
        return READY
    return waiting(
        f"{_count(status, 'active')} active, {_count(status, 'succeeded')} succeeded, {_count(status, 'failed')} failed"
    )


NO_BASELINE: Mapping[str, int] = {}


def pod(obj: Object, restart_limit: int = RESTART_LIMIT, baseline: Mapping[str, int] = NO_BASELINE) -> Verdict:
    """Condition Ready, or phase Succeeded. Containers that cannot start or keep crashing are terminal.

    ``baseline``: restarts by container name that happened earlier and do not count.
    """
    status = obj.get("status", {})
    phase = status.get("phase", "Pending")
    if phase == "Succeeded":
        return READY
    if phase == "Failed":
        return failed(f"the pod failed: {status.get('reason', '')} {status.get('message', '')}".strip())
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        hopeless = _container_fault(container, restart_limit + baseline.get(container.get("name", ""), 0))
        if hopeless:
            return failed(hopeless)
    if obj.get("metadata", {}).get("deletionTimestamp"):
        return waiting("the pod is being deleted")
    if condition(status, "Ready").get("status") == "True":
        return READY
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return waiting(f"not scheduled: {scheduled.get('message', scheduled.get('reason', ''))}")
    return waiting(_pending_reason(status, phase))


def _container_fault(container: Object, restart_limit: int) -> str:
    wait = container.get("state", {}).get("waiting") or {}
    reason, name = wait.get("reason", ""), container.get("name", "?")
    if reason in HOPELESS_WAITS and not wait.get("message", "").startswith(PASSING_WAIT):
        return f"container {name}: {reason}: {wait.get('message', '')}".rstrip(": ")
    restarts = int(container.get("restartCount") or 0)
    if reason == "CrashLoopBackOff" and restarts >= restart_limit:
        last = container.get("lastState", {}).get("terminated") or {}
        ended = f"{last.get('reason', 'ended')} with exit code {last.get('exitCode', '?')}"
        return f"container {name}: CrashLoopBackOff after {restarts} restarts, last one {ended}"
    return ""


def _pending_reason(status: Object, phase: str) -> str:
    open_ones = []
    init = status.get("initContainerStatuses") or []
    for container in [*init, *(status.get("containerStatuses") or [])]:
        # Only an init container has done its work when it ends well.
        done = container in init and (container.get("state", {}).get("terminated") or {}).get("exitCode") == 0
        if container.get("ready") or done:
            continue
        wait = (container.get("state", {}).get("waiting") or {}).get("reason")
        open_ones.append(
            f"{container.get('name', '?')} ({wait or 'not ready'}, {container.get('restartCount', 0)} restarts)"
        )
    return f"phase {phase}" + (f", containers not ready: {', '.join(open_ones)}" if open_ones else "")


def node(obj: Object) -> Verdict:
    """Condition Ready, and its network is up."""
    status = obj.get("status", {})
    ready = condition(status, "Ready")
    if ready.get("status") != "True":
        return waiting(f"Ready is {ready.get('status', 'unknown')}: {ready.get('message', '')}".rstrip(": "))
    if condition(status, "NetworkUnavailable").get("status") == "True":
        return waiting("its network is unavailable")
    return READY


def cordoned(obj: Object) -> str:
    """Return what to say of a node that takes no new pods because an operator said so; empty for others.

    No verdict, so that no wait ends by it: its pods run, and no run of ours may end what an operator began.
    """
    if not obj.get("spec", {}).get("unschedulable"):
        return ""
    name = obj["metadata"]["name"]
    return f"it is cordoned and takes no new pods; `kubectl uncordon {name}` ends it"


def claim(obj: Object) -> Verdict:
    """Phase Bound; Lost is terminal."""
    phase = obj.get("status", {}).get("phase", "Pending")
    if phase == "Bound":
        return READY
    if phase == "Lost":
        return failed(f"the claim lost its volume {obj.get('spec', {}).get('volumeName', '')}".rstrip())
    return waiting(f"phase {phase}")


def gateway(obj: Object) -> Verdict:
    """Condition Programmed of the current generation, and every listener programmed."""
    status = obj.get("status", {})
    for holder, what in [
        (status, "the gateway"),
        *((x, f"listener {x.get('name', '?')}") for x in status.get("listeners") or []),
    ]:
        fault = _observed_true(obj, holder, "Programmed", what)
        if fault:
            return fault
    return READY


def httproute(obj: Object) -> Verdict:
    """Every parent has accepted the route and resolved its references."""
    parents = obj.get("status", {}).get("parents") or []
    if not parents:
        return waiting("no gateway has looked at it yet")
    for parent in parents:
        name = parent.get("parentRef", {}).get("name", "?")
        for kind in ("Accepted", "ResolvedRefs"):
            fault = _observed_true(obj, parent, kind, f"gateway {name}")
            if fault:
                return fault
    return READY


def _observed_true(obj: Object, holder: Object, kind: str, what: str) -> Verdict | None:
    found = condition(holder, kind)
    generation = obj.get("metadata", {}).get("generation") or 0
    if found and (found.get("observedGeneration") or 0) < generation:
        return waiting(f"{what}: {kind} is of an older generation")
    if found.get("status") != "True":
        return waiting(f"{what}: {kind} is {found.get('status', 'unknown')} {found.get('message', '')}".rstrip())
    return None


def namespace(obj: Object) -> Verdict:
    """Phase Active."""
    phase = obj.get("status", {}).get("phase", "Active")
    return READY if phase == "Active" else waiting(f"phase {phase}")


def _replicas(obj: Object) -> int:
    replicas = obj.get("spec", {}).get("replicas")
    return 1 if replicas is None else int(replicas)


PREDICATES: dict[str, Callable[[Object], Verdict]] = {
    "Deployment": deployment,
    "StatefulSet": statefulset,
    "DaemonSet": daemonset,
    "Job": job,
    "Pod": pod,
    "Node": node,
    "PersistentVolumeClaim": claim,
    "Gateway": gateway,
    "HTTPRoute": httproute,
    "Namespace": namespace,
}
# Kinds whose pods are looked at as well, because only they tell why the owner is not ready.
POD_OWNERS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def judge(
    obj: Object,
    pods: list[Object],
    restart_limit: int = RESTART_LIMIT,
    baselines: Mapping[str, Mapping[str, int]] | None = None,
) -> Verdict:
    """Return the verdict on an object, given the pods it owns (empty for kinds without pods).

    A not yet ready owner is failed as soon as one of its current pods is. ``baselines``: by pod name, see pod().
    """
    kind, known = str(obj.get("kind")), baselines or {}
    verdict = (
        pod(obj, restart_limit, known.get(obj["metadata"]["name"], NO_BASELINE))
        if kind == "Pod"
        else PREDICATES[kind](obj)
    )
    if verdict.state is not State.WAITING or kind == "Job":
        return verdict
    for one in pods:
        inner = pod(one, restart_limit, known.get(one["metadata"]["name"], NO_BASELINE))
        if inner.state is State.FAILED and not (kind in POD_OWNERS and one.get("status", {}).get("phase") == "Failed"):
            return failed(f"pod {one['metadata']['name']}: {inner.reason}")
    return verdict
