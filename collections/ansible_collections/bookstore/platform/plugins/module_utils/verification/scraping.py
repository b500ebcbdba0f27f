# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Whether Prometheus scrapes what the table of workloads declares: its own answers, asked for in its own pod."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, look
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Context, Finding, Object, skipped, verdict

CALL_TIMEOUT = 30.0
INTERVAL = 3.0
# Two scrapes, and what a pod of today's run may take to be found.
PATIENCE = 60.0
# The image holds nothing that speaks HTTP but Prometheus itself, and a shell that opens sockets.
ASK = r"""exec 3<>"/dev/tcp/127.0.0.1/$0" && printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3 && sed '1,/^\r*$/d' <&3"""
# When a target that is down was up last.
SINCE = "max by (job, instance) (max_over_time(timestamp(up == 1)[1d:1m]))"
# Parts that no row of the table declares ports of: job, namespace and label of their pods.
PARTS = (("istiod", "istio-system", "istiod"), ("ztunnel", "istio-system", "ztunnel"))
NODE_JOBS = ("kubelet", "cadvisor")
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
# What is scraped, by job and the name of a pod or node.
Target = tuple[str, str]
Ask = Callable[[str], Any]


def expected(workloads: list[Object], pods: list[Object], nodes: list[Object]) -> set[Target]:
    """Return what has to be scraped of what runs: each ready pod of the workloads with metrics, parts of the mesh, every node."""
    found = {(job, node["metadata"]["name"]) for node in nodes for job in NODE_JOBS}
    wanted = {(row["namespace"], row["workload"]): row["workload"] for row in workloads}
    parts = {(namespace, label): job for job, namespace, label in PARTS}
    for pod in pods:
        metadata = pod["metadata"]
        labels, namespace = metadata.get("labels") or {}, metadata["namespace"]
        if mesh_plan.PROBE_LABEL in labels or metadata.get("deletionTimestamp") or not _ready(pod):
            continue
        name = labels.get(GATEWAY_LABEL) or labels.get("app.kubernetes.io/name", "")
        job = wanted.get((namespace, name)) or parts.get((namespace, labels.get("app", "")))
        if job:
            found.add((job, metadata["name"]))
    return found


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def asker(cluster: Cluster, wanted: Object) -> Ask:
    """Return a function that asks Prometheus' API for a path and returns the answer's data."""

    def ask(path: str) -> Any:
        pod = f"{wanted['workload']}-0"
        command = ["bash", "-c", ASK, str(wanted["port"]), f"/api/v1/{path}"]
        answer = look(cluster, wanted["namespace"], pod, wanted["workload"], command, CALL_TIMEOUT)
        try:
            return json.loads(answer)["data"]
        except (ValueError, KeyError) as error:
            raise ClusterError(f"BK-465: {wanted['namespace']}/{pod} answered {path.split('?')[0]} with {answer.strip()[:200]}") from error

    return ask


def observe(ask: Ask, targets: set[Target], patient_until: float, clock: waiter.Clock = time) -> Object:
    """Return {scraped: [target, ...], down: [{job, name, since, error}]}, when all are up, or not by ``patient_until`` (monotonic)."""

    def poll() -> dict[Target, Object]:
        return {_target(one["metric"]): one for one in ask(f"query?query={quote('up')}")["result"]}

    def whole(seen: dict[Target, Object]) -> bool:
        return targets <= seen.keys() and all(float(one["value"][1]) == 1 for one in seen.values())

    seen = waiter.wait_for(poll, whole, timeout=max(0.0, patient_until - clock.monotonic()), interval=INTERVAL, clock=clock).value
    down = {target: one["metric"] for target, one in seen.items() if float(one["value"][1]) != 1}
    return {"scraped": sorted(seen), "down": _reasons(ask, down) if down else []}


def _target(labels: Object) -> Target:
    return labels["job"], labels.get("pod") or labels.get("instance", "")


def _reasons(ask: Ask, down: dict[Target, Object]) -> list[Object]:
    last = {_instance(one["metric"]): float(one["value"][1]) for one in ask(f"query?query={quote(SINCE)}")["result"]}
    errors = {_instance(one["labels"]): one["lastError"] for one in ask("targets?state=active")["activeTargets"]}
    return [
        {"job": job, "name": name, "since": last.get(_instance(labels)), "error": errors.get(_instance(labels), "")}
        for (job, name), labels in sorted(down.items())
    ]


def _instance(labels: Object) -> Target:
    return labels["job"], labels["instance"]


def targets(context: Context) -> Finding:
    """Everything that the table declares is scraped: what is not is named, with the reason and since when."""
    if context.scraping is None:
        return skipped("not asked: Prometheus is not declared, or this is check mode, which runs no command in pods")
    wanted, seen = context.scraping
    found = seen.result()
    faults = [f"{one['job']} {one['name']}: down since {_words(one['since'])}: {one['error'] or 'no reason told'}" for one in found["down"]]
    faults += [f"{job} {name}: is no target" for job, name in sorted(wanted - _pairs(found["scraped"]))]
    return verdict(faults, f"{len(found['scraped'])} targets up", {"targets": len(found["scraped"])})


def _pairs(scraped: Iterable[Any]) -> set[Target]:
    return {(job, name) for job, name in scraped}


def _words(moment: float | None) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") if moment else "more than a day ago, or always"
