"""The inventory agrees with itself and SPEC 2; each rule finds a broken one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table
from checks import inventory

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("rule", inventory.RULES, ids=lambda rule: str(rule.__name__))
def test_inventory_keeps_the_rule(data: inventory.Data, rule: Callable[[inventory.Data], list[str]], no_faults: list[str]) -> None:
    no_faults += rule(data)


BREAKS: list[tuple[Any, str, Callable[[inventory.Data], Any]]] = [
    (inventory.namespaces, "shop", lambda d: d["bookstore_namespaces"].append({"name": "shop", "mesh": True})),
    (inventory.namespaces, "mesh of ecom", lambda d: d["bookstore_namespaces"][2].update(mesh=False)),
    (inventory.node_ports, "services", lambda d: d["bookstore_workloads"]["superset"]["ports"]["http"].pop("node_port")),
    (inventory.node_ports, "used twice", lambda d: d.update(bookstore_registry_port=32000)),
    (inventory.node_ports, "no node port", lambda d: d["bookstore_workloads"]["mesh-map"]["ports"]["http"]["node_port"].update(number=80)),
    (inventory.workloads, "namespace shop", lambda d: d["bookstore_workloads"]["redis"].update(namespace="shop")),
    (inventory.workloads, "own source", lambda d: d["bookstore_matrix"][1]["from"].append("ecom-api")),
    (inventory.volumes, "volumes, SPEC", lambda d: d["bookstore_workloads"]["redis"].pop("volume")),
    (inventory.volumes, "used twice", lambda d: d["bookstore_workloads"]["kafka"].update(volume={"name": "data-redis-0", "size": "1Gi"})),
    (inventory.volumes, "system's", lambda d: d["bookstore_workloads"]["redis"].update(uid=0)),
    (inventory.volumes, "not <number>", lambda d: d["bookstore_workloads"]["redis"].update(volume="1 GB")),
    (inventory.volumes, "not both", lambda d: d["bookstore_workloads"]["ecom-db"].pop("backup")),
    (inventory.networks, "overlaps", lambda d: d.update(bookstore_pod_cidr="10.96.0.0/12")),
]


@pytest.mark.parametrize(("rule", "fragment", "change"), BREAKS, ids=[f"{rule.__name__}-{fragment}" for rule, fragment, _ in BREAKS])
def test_the_rule_finds_a_broken_inventory(data: inventory.Data, rule: Any, fragment: str, change: Callable[[inventory.Data], Any]) -> None:
    broken = copy.deepcopy(data)
    change(broken)
    faults = rule(inventory.derive(broken))
    assert any(fragment in fault for fault in faults), faults


def test_kiali_gets_n4_by_one_line_that_moves(data: inventory.Data) -> None:
    """As workloads.yml says, for who has its image: everything that is derived follows, and the inventory still keeps its rules."""
    moved = copy.deepcopy(data)
    table = moved["bookstore_workloads"]
    table["kiali"]["ports"]["http"]["node_port"] = table["mesh-map"]["ports"]["http"].pop("node_port")
    moved = inventory.derive(moved)
    assert [(row["service"], row["node_port"]) for row in moved["bookstore_nodeports"] if row["id"] == "N4"] == [("kiali", 32100)]
    opened = {row["workload"] for row in moved["bookstore_edges"] if row.get("node_blocks")}
    assert ("kiali" in opened, "mesh-map" in opened) == (True, False)
    assert [fault for rule in inventory.RULES for fault in rule(moved)] == []
    assert "N4" not in workload_table.required_node_ports(table)


def test_nothing_that_runs_needs_the_cache(committed: dict[str, str]) -> None:
    """It may be deleted at any time: only builds read or write below it, and the preflight measures its disk."""
    users = {
        path
        for path, text in committed.items()
        if path.startswith(("roles/", "playbooks/")) and not path.endswith(".md") and "bookstore_cache_dir" in text
    }
    builds = {"roles/images/tasks/main.yml", "roles/images/tasks/start.yml"}
    assert users == {*builds, "roles/host/tasks/preflight.yml", "playbooks/teardown.yml"}
    start = committed["roles/images/tasks/start.yml"]
    assert [line.split(":")[0].strip() for line in start.splitlines() if "bookstore_cache_dir" in line] == ["former_storage"]


def test_addresses_are_written_once(data: inventory.Data, committed: dict[str, str]) -> None:
    """Superset's connection is an asset of its own format: there an address has to be repeated."""
    hosts = [
        f"{name}.{row['namespace']}.svc.cluster.local"
        for name, row in data["bookstore_workloads"].items() if "namespace" in row
    ]  # fmt: skip
    users = {
        path
        for path, text in committed.items()
        if path.startswith(("components/", "roles/", "flink/", "superset/", "playbooks/", "inventory/"))
        and not path.endswith(".md") and "/tests/" not in path
        and any(host in text for host in hosts)
    }  # fmt: skip
    assert users == {"superset/databases/bookstore_analytics.yaml"}
    database = workload_table.address(data["bookstore_workloads"], "analytics-db.postgresql")
    assert f"@{database}/" in committed["superset/databases/bookstore_analytics.yaml"]
