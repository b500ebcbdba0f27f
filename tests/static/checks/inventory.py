"""The inventory against itself and SPEC 2: names, ports, namespaces and volumes agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table

Data = dict[str, Any]

# SPEC 2.
NAMESPACES = frozenset(
    ["gateway", "storefront", "ecom", "inventory", "admin", "identity", "infra", "analytics", "observability", "admin-tools"]
)
VOLUMES = 13
NODE_PORT_SERVICES = 8
NODE_PORTS = range(30000, 32768)


def load(folder: Path) -> Data:
    """Read all files of a group_vars folder into one dictionary, with what follows from workloads and matrix.

    ValueError when two files set one variable, or when the tables contradict themselves.
    """
    merged: Data = {}
    for file in sorted(folder.glob("*.yml")):
        for key, value in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).items():
            if key in merged:
                raise ValueError(f"{file.name}: {key} is set by another file, too")
            merged[key] = value
    return derive(merged)


def derive(data: Data) -> Data:
    """Return the inventory with the lists that filters make of its two tables."""
    workloads = data["bookstore_workloads"]
    return {
        **data,
        "bookstore_nodeports": workload_table.node_ports(workloads),
        "bookstore_volumes": workload_table.volumes(workloads),
        "bookstore_edges": workload_table.edges(data["bookstore_matrix"], workloads),
    }


def namespaces(data: Data) -> list[str]:
    """The namespaces are SPEC's; all but the gateway's take part in the mesh."""
    found = {row["name"]: row["mesh"] for row in data["bookstore_namespaces"]}
    faults = [f"bookstore_namespaces: {name} differs from SPEC 2" for name in sorted(set(found) ^ NAMESPACES)]
    return faults + [f"bookstore_namespaces: mesh of {name} is {mesh}" for name, mesh in found.items() if mesh != (name != "gateway")]


def node_ports(data: Data) -> list[str]:
    """Eight services, N1 to N8, each port once and in the range of node ports."""
    rows = data["bookstore_nodeports"]
    faults = []
    services = {(row["namespace"], row["service"]) for row in rows}
    if len(services) != NODE_PORT_SERVICES or {row["id"] for row in rows} != {f"N{n}" for n in range(1, NODE_PORT_SERVICES + 1)}:
        faults.append(f"bookstore_nodeports: {len(services)} services, expected N1 to N{NODE_PORT_SERVICES}")
    ports = [row["node_port"] for row in rows] + [data["bookstore_api_server_port"], data["bookstore_registry_port"]]
    faults += [f"port {port} is used twice" for port in sorted({port for port in ports if ports.count(port) > 1})]
    return faults + [f"bookstore_nodeports: {row['node_port']} is no node port" for row in rows if row["node_port"] not in NODE_PORTS]


def workloads(data: Data) -> list[str]:
    """Workloads are in known namespaces, or in those of Kubernetes and Istio; none of them calls itself."""
    known = {row["name"] for row in data["bookstore_namespaces"]} | {"kube-system", "istio-system"}
    faults = [
        f"bookstore_workloads: {name}: namespace {namespace} is not in bookstore_namespaces"
        for name, row in data["bookstore_workloads"].items()
        for namespace in row.get("namespaces", [row.get("namespace")])
        if namespace not in known
    ]
    return faults + [
        f"bookstore_matrix: {row['namespace']}/{row['workload']} is its own source"
        for row in data["bookstore_edges"]
        if f"{row['namespace']}/{row['workload']}" in row["sources"]
    ]


def volumes(data: Data) -> list[str]:
    """Thirteen volumes, each claim once; a backup for each database; no uid of root."""
    rows = data["bookstore_volumes"]
    faults = [] if len(rows) == VOLUMES else [f"bookstore_volumes: {len(rows)} volumes, SPEC 2.1 says {VOLUMES}"]
    claims = [(row["namespace"], row["claim"]) for row in rows]
    faults += [f"bookstore_volumes: claim {claim} is used twice" for claim in sorted({c for c in claims if claims.count(c) > 1})]
    for row in rows:
        if row["uid"] < 1000:
            faults.append(f"bookstore_volumes: {row['name']}: uid {row['uid']} is a system's")
        if not re.fullmatch(r"\d+[MG]i", row["size"]):
            faults.append(f"bookstore_volumes: {row['name']}: size {row['size']} is not <number>Mi or Gi")
    for name, row in data["bookstore_workloads"].items():
        speaks = {port["protocol"] for port in row.get("ports", {}).values()}
        if ("postgres" in speaks) != ("backup" in row):
            faults.append(f"bookstore_workloads: {name} is a database or has a backup volume, but not both")
    return faults


def networks(data: Data) -> list[str]:
    """The three address ranges do not overlap."""
    import ipaddress

    names = ["bookstore_pod_cidr", "bookstore_service_cidr", "bookstore_node_cidr"]
    ranges = [ipaddress.ip_network(data[name]) for name in names]
    return [f"{names[a]} overlaps {names[b]}" for a in range(3) for b in range(a + 1, 3) if ranges[a].overlaps(ranges[b])]


RULES = (namespaces, node_ports, workloads, volumes, networks)
