"""What the inventory declares, for tests that ask the running platform for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table

VARIABLES = Path(__file__).parents[2] / "inventory/local/group_vars/all"


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((VARIABLES / f"{name}.yml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


NETWORK = _read("network")
NAMESPACES = [str(row["name"]) for row in NETWORK["bookstore_namespaces"]]
WORKLOADS: dict[str, dict[str, Any]] = _read("workloads")["bookstore_workloads"]
MATRIX: list[dict[str, Any]] = _read("matrix")["bookstore_matrix"]
NODE_PORTS = workload_table.node_ports(WORKLOADS)
GATEWAY = workload_table.gateway_node_ports(WORKLOADS)


def door(name: str) -> int:
    """Return the node port of an id that has one only, N2 to N8."""
    return int(next(row["node_port"] for row in NODE_PORTS if row["id"] == name))
