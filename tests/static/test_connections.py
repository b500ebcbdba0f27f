"""Databases have enough connections for a rollout; pools and limit are written in different places."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from checks import connections, inventory

Documents = list[dict[str, Any]]
# The services are not installed here: their defaults are read.
SOURCES = Path(__file__).parents[2] / "apps/common/src/bookstore_common"
SETTINGS = (SOURCES / "settings.py").read_text(encoding="utf-8")
SERVICE_POOL = connections.default_of(SETTINGS, "database_pool_size")
WORKER_POOL = connections.default_of((SOURCES / "consumer.py").read_text(encoding="utf-8"), "database_pool_size")


def needed(manifests: Documents, instance: str, data: inventory.Data) -> int:
    return connections.budget(manifests, instance, connections.replicas_at_most(data), SERVICE_POOL, WORKER_POOL)


@pytest.mark.parametrize("instance", ["ecom-db", "inventory-db"])
def test_a_rollout_leaves_connections_over(manifests: Documents, data: inventory.Data, instance: str) -> None:
    assert connections.default_of(SETTINGS, "database_pool_max_overflow") == 0, "the budget counts none by default"
    budget = needed(manifests, instance, data)
    # More than Debezium and the reserve: a service and a worker were found.
    assert budget >= connections.DEBEZIUM + connections.RESERVE + connections.POOLS * (SERVICE_POOL + WORKER_POOL)
    assert budget <= connections.limit(manifests, instance), "raise databases_max_connections or lower DATABASE_POOL_SIZE"


def test_a_larger_pool_is_counted(manifests: Documents, data: inventory.Data) -> None:
    """In each pod, the surplus one of a rollout included, and in both pools."""
    before, changed = needed(manifests, "ecom-db", data), copy.deepcopy(manifests)
    for manifest in changed:
        if (manifest["kind"], manifest["metadata"]["name"]) == ("ConfigMap", "ecom-api"):
            manifest["data"]["DATABASE_POOL_SIZE"] = str(SERVICE_POOL + 1)
    pods = connections.replicas_at_most(data) + 1
    assert needed(changed, "ecom-db", data) == before + connections.POOLS * pods


def test_unreadable_sources_are_told() -> None:
    with pytest.raises(ValueError, match="no choice by bookstore_size"):
        connections.replicas_at_most({"bookstore_replicas": 2})
    with pytest.raises(ValueError, match="no ConfigMap ecom-db"):
        connections.limit([], "ecom-db")
    with pytest.raises(ValueError, match="no default of database_pool_size"):
        connections.default_of("", "database_pool_size")
