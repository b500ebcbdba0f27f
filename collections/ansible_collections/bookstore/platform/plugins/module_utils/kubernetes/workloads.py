# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Waits for a list of objects at once and, when one will not become ready, tells why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import KINDS, ClusterError, Object
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.readiness import State, Verdict

EVENT_REASONS = ("FailedCreate",)
FAILED_CREATE_GRACE = 3.0
# Restarts of an older pod are history (a power loss, say): only those seen during the wait count against it.
OLD_POD_SECONDS = 600.0


class Source(Protocol):
    """What is needed of cluster.Cluster."""

    def objects(self, kind: str, namespace: str | None = None, **query: str) -> list[Object]:
        """Return all objects of a kind."""

    def events(self, namespace: str, name: str, limit: int = 5) -> list[str]:
        """Return the last events of an object."""

    def logs(self, namespace: str, pod: str, container: str, lines: int = 10, previous: bool = False) -> list[str]:
        """Return the last log lines of a container."""


@dataclass(frozen=True)
class Wanted:
    """An object to wait for; ``namespace`` is empty for kinds without one."""

    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class NotReadyError(Exception):
    """Something cannot become ready, or did not in time. ``details`` as Waiter.details()."""

    def __init__(self, message: str, details: list[dict[str, Any]], elapsed: float) -> None:
        super().__init__(message)
        self.details = details
        self.elapsed = elapsed


def parse(objects: list[dict[str, Any]]) -> list[Wanted]:
    """Return the objects of a module's parameter; ValueError names the wrong entry and what to write."""
    wanted, known = [], ", ".join(sorted(readiness.PREDICATES))
    for index, entry in enumerate(objects):
        kind, name, namespace = entry.get("kind"), entry.get("name"), entry.get("namespace") or ""
        if kind not in readiness.PREDICATES:
            raise ValueError(f"objects[{index}].kind={kind} cannot be waited for; use one of {known}")
        if not name:
            raise ValueError(f"objects[{index}] ({kind}) has no name; write name: <metadata.name>")
        if KINDS[kind][2] and not namespace:
            raise ValueError(f"objects[{index}] ({kind} {name}) has no namespace; write namespace: <its namespace>")
        wanted.append(Wanted(kind, name, namespace if KINDS[kind][2] else ""))
    return list(dict.fromkeys(wanted))


def owned_by(owner: Object, pods: list[Object], replica_sets: list[Object]) -> list[Object]:
    """Return the pods an object owns now; of a Deployment only those of its newest ReplicaSet."""
    uids = {owner.get("metadata", {}).get("uid")}
    if owner.get("kind") == "Deployment":
        mine = [rs for rs in replica_sets if _owner_uid(rs) in uids]
        newest = max(
            mine,
            key=lambda rs: int(rs["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", 0)),
            default=None,
        )
        uids = {newest["metadata"]["uid"]} if newest else set()
    return [p for p in pods if _owner_uid(p) in uids and not p["metadata"].get("deletionTimestamp")]


def _owner_uid(obj: Object) -> str | None:
    return next(
        (ref.get("uid") for ref in obj.get("metadata", {}).get("ownerReferences") or [] if ref.get("controller")), None
    )


def old_restarts(pod: Object, now: datetime) -> dict[str, int]:
    """Return the restarts so far of each container of a pod that is old; none for a young pod."""
    if readiness.age_seconds(pod, now) < OLD_POD_SECONDS:
        return {}
    status = pod.get("status", {})
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {c["name"]: int(c.get("restartCount") or 0) for c in containers}


class Waiter:
    """One wait for all objects; each poll lists every kind and namespace that is still open once."""

    def __init__(self, source: Source, wanted: list[Wanted], restart_limit: int = readiness.RESTART_LIMIT) -> None:
        self.source = source
        self.wanted = wanted
        self.restart_limit = restart_limit
        self.verdicts: dict[Wanted, Verdict] = {w: readiness.waiting("not looked at yet") for w in wanted}
        self.ready_after: dict[Wanted, float] = {}
        # One line for each object that was not ready at the first look, in the order in which they became ready.
        self.lines: list[str] = []
        self.unreachable = ""
        self._looked = False
        self._pods: dict[Wanted, list[Object]] = {}
        self._rejected_since: dict[Wanted, float] = {}
        self._baselines: dict[str, Mapping[str, int]] = {}

    def poll(self, elapsed: float) -> dict[Wanted, Verdict]:
        """Look at everything that is not ready yet. A server that does not answer is waited for."""
        todo = [w for w in self.wanted if self.verdicts[w].state is not State.READY]
        try:
            found = self._fetch(todo)
            self.unreachable = ""
        except ClusterError as error:
            if error.status and error.status < 500 and error.status != 429:
                raise
            self.unreachable = str(error)
            return self.verdicts
        for want in todo:
            before, self.verdicts[want] = self.verdicts[want], self._judge(want, found, elapsed)
            state = self.verdicts[want].state
            if state is State.READY:
                self.ready_after[want] = round(elapsed, 1)
                if self._looked:
                    self.lines.append(f"{want} is ready after {elapsed:.0f} s")
            elif state is State.FAILED and before.state is not State.FAILED:
                self.lines.append(f"{want} cannot become ready: {self.verdicts[want].reason}")
        self._looked = True
        return self.verdicts

    def _fetch(self, todo: list[Wanted]) -> dict[tuple[str, str], list[Object]]:
        scopes = {(w.kind, w.namespace) for w in todo}
        for want in todo:
            if want.kind in readiness.POD_OWNERS:
                scopes.add(("Pod", want.namespace))
            if want.kind == "Deployment":
                scopes.add(("ReplicaSet", want.namespace))
        return {(kind, ns): self.source.objects(kind, ns or None) for kind, ns in sorted(scopes)}

    def _judge(self, want: Wanted, found: dict[tuple[str, str], list[Object]], elapsed: float) -> Verdict:
        obj = next((o for o in found[(want.kind, want.namespace)] if o["metadata"]["name"] == want.name), None)
        if obj is None:
            return readiness.waiting("it does not exist (yet)")
        obj.setdefault("kind", want.kind)
        pods: list[Object] = []
        if want.kind in readiness.POD_OWNERS:
            pods = owned_by(obj, found[("Pod", want.namespace)], found.get(("ReplicaSet", want.namespace), []))
        self._pods[want] = [obj] if want.kind == "Pod" else pods
        for pod in self._pods[want]:
            self._baselines.setdefault(pod["metadata"]["name"], old_restarts(pod, datetime.now(UTC)))
        verdict = readiness.judge(obj, pods, self.restart_limit, self._baselines)
        if verdict.state is State.WAITING and want.kind in ("StatefulSet", "DaemonSet", "Job") and not pods:
            return self._rejected(want, verdict, elapsed)
        self._rejected_since.pop(want, None)
        return verdict

    def _rejected(self, want: Wanted, verdict: Verdict, elapsed: float) -> Verdict:
        """These kinds have no ReplicaFailure condition: rejected pods show only as FailedCreate events."""
        rejections = [
            e for e in self.source.events(want.namespace, want.name) if any(f" {r}:" in e for r in EVENT_REASONS)
        ]
        if not rejections:
            self._rejected_since.pop(want, None)
            return verdict
        # A service account that is applied in the same breath makes the first try fail; give it one more.
        since = self._rejected_since.setdefault(want, elapsed)
        if elapsed - since < FAILED_CREATE_GRACE:
            return readiness.waiting(f"its pods are rejected: {rejections[-1]}")
        return readiness.failed(f"its pods are rejected: {rejections[-1]}")

    def details(self) -> list[dict[str, Any]]:
        """Return {kind, namespace, name, state, reason, ready_after (s, or None)} of each object."""
        return [
            {
                "kind": w.kind,
                "namespace": w.namespace,
                "name": w.name,
                "state": self.verdicts[w].state.value,
                "reason": self.verdicts[w].reason,
                "ready_after": self.ready_after.get(w),
            }
            for w in self.wanted
        ]

    def evidence(self, want: Wanted) -> list[str]:
        """Return the last events and log lines of an object and its pods that are not ready."""
        lines: list[str] = []
        try:
            lines += [f"  event: {line}" for line in self.source.events(want.namespace or "default", want.name)]
            for pod in self._pods.get(want, [])[:3]:
                name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
                if name != want.name and readiness.pod(pod, self.restart_limit).state is not State.READY:
                    lines += [f"  event of {name}: {line}" for line in self.source.events(namespace, name)]
                lines += self._pod_logs(pod, namespace, name)
        except ClusterError as error:
            lines.append(f"  no further evidence: {error}")
        return lines

    def _pod_logs(self, pod: Object, namespace: str, name: str) -> list[str]:
        lines = []
        status = pod.get("status", {})
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            ended = container.get("state", {}).get("terminated") or {}
            if container.get("ready") or ended.get("exitCode") == 0:
                continue
            crashed = bool(container.get("restartCount")) and not container.get("state", {}).get("running")
            log = self.source.logs(namespace, name, container["name"], previous=crashed)
            lines += [f"  log of {name}/{container['name']}: {line}" for line in log]
        return lines


def unseen(wanted: list[Wanted]) -> list[dict[str, Any]]:
    """Return details as Waiter.details() does, for a check mode that looks at nothing."""
    return [
        {
            "kind": w.kind,
            "namespace": w.namespace,
            "name": w.name,
            "state": State.WAITING.value,
            "reason": "not looked at in check mode",
            "ready_after": None,
        }
        for w in wanted
    ]


def progress(watch: Waiter) -> dict[str, Any]:
    """Return what a wait shows of itself: {lines, ready, total, waiting: [{name, reason}]}."""
    waiting = [want for want in watch.wanted if watch.verdicts[want].state is State.WAITING]
    return {
        "lines": list(watch.lines), "ready": len(watch.ready_after), "total": len(watch.wanted),
        "waiting": [{"name": str(want), "reason": watch.verdicts[want].reason} for want in waiting],
    }  # fmt: skip


def wait(
    source: Source,
    wanted: list[Wanted],
    *,
    timeout: float,
    restart_limit: int = readiness.RESTART_LIMIT,
    interval: float = 0.5,
    clock: waiter.Clock = time,
    tell: Callable[[Waiter], None] = lambda _: None,
) -> tuple[list[dict[str, Any]], float]:
    """Wait until all are ready; return their details and the seconds it took.

    Raises NotReadyError as soon as each is ready or cannot become so, or after ``timeout`` seconds. One that cannot become ready
    keeps none of the others from it, and is looked at again as long as there are others. ``tell`` is called after each look.
    """
    watch = Waiter(source, wanted, restart_limit)
    start = clock.monotonic()

    def poll() -> dict[Wanted, Verdict]:
        verdicts = watch.poll(clock.monotonic() - start)
        tell(watch)
        return verdicts

    def settled(verdicts: dict[Wanted, Verdict]) -> bool:
        return all(verdict.state is not State.WAITING for verdict in verdicts.values())

    outcome = waiter.wait_for(poll, settled, timeout=timeout, interval=interval, clock=clock)
    open_ones = [w for w in wanted if outcome.value[w].state is not State.READY]
    if not open_ones:
        return watch.details(), round(outcome.elapsed, 1)
    raise NotReadyError(_explain(watch, open_ones, outcome.elapsed, timeout), watch.details(), round(outcome.elapsed, 1))


def _explain(watch: Waiter, open_ones: list[Wanted], elapsed: float, timeout: float) -> str:
    total, ready = len(watch.wanted), len(watch.ready_after)
    hopeless = [want for want in open_ones if watch.verdicts[want].state is State.FAILED]
    shown = [*hopeless, *(want for want in open_ones if want not in hopeless)]
    late = len(shown) - len(hopeless)
    if not late:
        lines = [f"BK-211: {len(shown)} of {total} objects cannot become ready (after {elapsed:.0f} s; {ready} are):"]
    else:
        also = f", {len(hopeless)} of them cannot become so" if hopeless else ""
        lines = [f"BK-212: {len(shown)} of {total} objects were not ready within timeout={timeout:.0f} s{also} ({ready} are):"]
    if watch.unreachable:
        lines.append(f"  last poll: {watch.unreachable}")
    for want in shown[:5]:
        lines.append(f"{want}: {watch.verdicts[want].reason}")
        if not watch.unreachable:
            lines += watch.evidence(want)
    if len(shown) > 5:
        lines.append(f"... and {', '.join(str(w) for w in shown[5:])}")
    return "\n".join(lines)
