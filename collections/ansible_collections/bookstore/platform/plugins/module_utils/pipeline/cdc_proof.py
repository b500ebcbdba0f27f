# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps that a change of each captured table was followed into analytics and its views.

The proof counts as long as every pod of databases, broker, servers, jobs and workers, every streaming job and every policy is the
same. What none of these shows (a trigger that somebody removed by hand) ends with the proof's age at the latest. Each run looks at
slots, publications, jobs, checkpoints and the standing audit all the same.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable

from ansible_collections.bookstore.platform.plugins.module_utils.base import loopback
from ansible_collections.bookstore.platform.plugins.module_utils.base.proof_store import Store
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, Object
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_proof
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_convergence, cdc_probe, cdc_tables
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_convergence import Result

# Where everything runs that a change goes through.
NAMESPACES = ("analytics", "ecom", "infra", "inventory")


def jobs(port: int) -> list[list[str]]:
    """Return id, name and state of Flink's jobs; OSError when nobody answers, ValueError for what is no answer."""
    text = loopback.get(f"http://127.0.0.1:{port}/jobs/overview", {"Host": f"localhost:{port}"})
    if text is None:
        raise ValueError(f"127.0.0.1:{port} knows no jobs")
    return sorted([str(job["jid"]), str(job["name"]), str(job["state"])] for job in json.loads(text)["jobs"])


def fingerprint(cluster: Cluster, found: list[list[str]]) -> str:
    """Return a hash of all that a proof depends on; ``found``: see jobs()."""
    def declared(kind: str) -> list[list[str]]:
        return sorted(mesh_proof.declared(one) for namespace in NAMESPACES for one in cluster.objects(kind, namespace))

    pods = [pod for namespace in NAMESPACES for pod in cluster.objects("Pod", namespace)]
    seen = {
        "code": [inspect.getsource(module) for module in (cdc_probe, cdc_convergence, cdc_tables)],
        "nodes": sorted(mesh_proof.node_facts(node) for node in cluster.objects("Node")),
        "pods": sorted(mesh_proof.pod_facts(pod) for pod in pods if mesh_proof.counts(pod)),
        "jobs": found,
        "specs": [[kind, declared(kind)] for kind in ("Service", *mesh_proof.POLICIES)],
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def state(cluster: Cluster, port: int) -> str:
    """Return the fingerprint of what runs now; empty when a part does not answer: no proof is of that."""
    try:
        return fingerprint(cluster, jobs(port))
    except (ClusterError, OSError, ValueError, LookupError):
        return ""


def recall(cluster: Cluster, store: Store, port: int) -> Object | None:
    """Return {proven_at, result} of what runs now; None when it has to be proven."""
    # What is not to be read costs no look.
    if not store.hours:
        return None
    now = state(cluster, port)
    return store.recall(now) if now else None


def prove(cluster: Cluster, store: Store, port: int, follow: Callable[[], tuple[Result, Object]]) -> tuple[Result, Object]:
    """Follow a change, and keep that it arrived; if it did not, what was kept before ends."""
    before = state(cluster, port)
    result, answer = follow()
    if not result.converged:
        store.forget()
    # What changed meanwhile was perhaps not what the change went through.
    elif before and state(cluster, port) == before:
        store.remember(before, {"operations": answer["operations"]})
    return result, answer


def told(kept: Object) -> str:
    """Say for people when the change was followed."""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept["proven_at"]))
    return f"a change of each captured table was followed into its views at {when}; nothing that it went through has changed since"
