"""Whether a PostgreSQL instance has a connection for all who may ask for one at once, a rollout at size standard included."""

from __future__ import annotations

import re
from typing import Any

from .manifests import Manifest, of_kind

# A process has one pool for transactions and one for reads (bookstore_common.db).
POOLS = 2
# Its streams of changes have a limit of their own (max_wal_senders); these are its ordinary connections, as counted on the
# running platform.
DEBEZIUM = 3
# One for its collectors and one for its queries.
EXPORTER = 2
# PostgreSQL keeps three for its superuser (superuser_reserved_connections); two are for people and tests.
RESERVE = 5
# PgAdmin's, each bound by the role's own limit (databases_ro_connections).
READERS = 6


def replicas_at_most(data: dict[str, Any]) -> int:
    """Return how often a stateless service runs at the largest size of the inventory."""
    sizes = re.search(r"\{('\w+': \d+(?:, '\w+': \d+)*)\}\[bookstore_size\]", str(data["bookstore_replicas"]))
    if sizes is None:
        raise ValueError(f"bookstore_replicas={data['bookstore_replicas']!r} is no choice by bookstore_size")
    return max(int(count) for count in re.findall(r": (\d+)", sizes[1]))


def default_of(source: str, name: str) -> int:
    """Return the default of the settings' field ``name`` in a Python source."""
    found = re.search(rf"^    {name}: int = Field\(\s*default=(\d+)", source, re.MULTILINE)
    if found is None:
        raise ValueError(f"no default of {name} found")
    return int(found[1])


def budget(manifests: list[Manifest], instance: str, replicas: int, service_pool: int, worker_pool: int) -> int:
    """Return how many connections the instance needs while every service and worker of it is rolled out.

    ``service_pool`` and ``worker_pool`` are the sizes of a pool where the environment names none. A new pod migrates
    before it opens its pools, so migrations need no connections of their own.
    """
    environments = {(m["metadata"]["namespace"], m["metadata"]["name"]): m.get("data") or {} for m in of_kind(manifests, "ConfigMap")}
    needed = DEBEZIUM + EXPORTER + RESERVE + READERS
    for deployment in of_kind(manifests, "Deployment"):
        metadata, spec = deployment["metadata"], deployment["spec"]
        environment = environments.get((metadata["namespace"], metadata["name"]), {})
        if str(environment.get("DATABASE_HOST", "")).split(".")[0] != instance:
            continue
        worker = spec["template"]["spec"]["containers"][0]["command"][-1].endswith(".worker")
        size = int(environment.get("DATABASE_POOL_SIZE") or (worker_pool if worker else service_pool))
        overflow = int(environment.get("DATABASE_POOL_MAX_OVERFLOW") or 0)
        # With Recreate the old pods end first.
        surplus = spec["strategy"].get("rollingUpdate", {"maxSurge": 0})["maxSurge"]
        pods = (spec["replicas"] if worker else replicas) + surplus
        needed += POOLS * (size + overflow) * pods
    return needed


def limit(manifests: list[Manifest], instance: str) -> int:
    """Return the instance's max_connections."""
    for manifest in of_kind(manifests, "ConfigMap"):
        if manifest["metadata"]["name"] == instance:
            found = re.search(r"^max_connections = (\d+)$", "\n".join(map(str, manifest["data"].values())), re.MULTILINE)
            if found:
                return int(found[1])
    raise ValueError(f"no ConfigMap {instance} names max_connections")
