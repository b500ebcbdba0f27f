"""The inventory against itself and SPEC 2: names, ports, namespaces and volumes agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

Data = dict[str, Any]

# SPEC 2.
NAMESPACES = frozenset(
    ["gateway", "storefront", "ecom", "inventory", "admin", "identity", "infra", "analytics", "observability", "admin-tools"]
)
VOLUMES = 13
NODE_PORT_SERVICES = 8
NODE_PORTS = range(30000, 32768)
# Workloads whose NodePort Service has another name than they have (SPEC 2.1).
SERVED_BY = {"bookstore-gateway-istio": "bookstore-gateway", "flink-jobmanager-ui": "flink-jobmanager", "keycloak-admin": "keycloak"}
# Jobs and tools that are sources only: the matrix names no port of theirs (SPEC 4.3).
SOURCES_ONLY = frozenset({"db-ops", "kafka-ops", "flink"})


def load(folder: Path) -> Data:
    """Read all files of a group_vars folder into one dictionary; ValueError when two files set one variable."""
    merged: Data = {}
    for file in sorted(folder.glob("*.yml")):
        for key, value in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).items():
            if key in merged:
                raise ValueError(f"{file.name}: {key} is set by another file, too")
            merged[key] = value
    return merged


def namespaces(data: Data) -> list[str]:
    """The namespaces are SPEC's; all but the gateway's take part in the mesh."""
    found = {row["name"]: row["mesh"] for row in data["bookstore_namespaces"]}
    faults = [f"bookstore_namespaces: {name} differs from SPEC 2" for name in sorted(set(found) ^ NAMESPACES)]
    return faults + [f"bookstore_namespaces: mesh of {name} is {mesh}" for name, mesh in found.items() if mesh != (name != "gateway")]


def node_ports(data: Data) -> list[str]:
    """Eight services, N1 to N8, each port once, in the range of node ports, each targeting a workload that nodes may reach."""
    rows = data["bookstore_nodeports"]
    faults = []
    services = {(row["namespace"], row["service"]) for row in rows}
    if len(services) != NODE_PORT_SERVICES or {row["id"] for row in rows} != {f"N{n}" for n in range(1, NODE_PORT_SERVICES + 1)}:
        faults.append(f"bookstore_nodeports: {len(services)} services, expected N1 to N{NODE_PORT_SERVICES}")
    ports = [row["node_port"] for row in rows] + [data["bookstore_api_server_port"], data["bookstore_registry_port"]]
    faults += [f"port {port} is used twice" for port in sorted({port for port in ports if ports.count(port) > 1})]
    faults += [f"bookstore_nodeports: {row['node_port']} is no node port" for row in rows if row["node_port"] not in NODE_PORTS]
    open_to_nodes = {(row["namespace"], row["workload"]) for row in data["bookstore_matrix"] if row.get("node_blocks")}
    targets = {(namespace, SERVED_BY.get(service, service)) for namespace, service in services if service != "bookstore-gateway-istio"}
    faults += [f"{entry} has a NodePort or node_blocks, but not both" for entry in sorted(targets ^ open_to_nodes)]
    gateway = {row["node_port"] for row in rows if row["id"] == "N1"}
    if gateway != {data["bookstore_gateway_https_port"], data["bookstore_gateway_http_port"]}:
        faults.append("bookstore_gateway_https_port and _http_port differ from N1 of bookstore_nodeports")
    return faults


def matrix(data: Data) -> list[str]:
    """Rows name known namespaces and ports once; sources are workloads that exist, or named tools."""
    faults = []
    known = {row["name"] for row in data["bookstore_namespaces"]}
    rows = data["bookstore_matrix"]
    workloads = {(row["namespace"], row["workload"]) for row in rows} | {("gateway", "bookstore-gateway-istio")}
    seen: set[tuple[str, str, int]] = set()
    for row in rows:
        target = f"{row['namespace']}/{row['workload']}"
        unknown = set(row) - {"namespace", "workload", "ports", "sources", "node_blocks"}
        faults += [f"bookstore_matrix: {target}: unknown key {key}" for key in sorted(unknown)]
        if row["namespace"] not in known:
            faults.append(f"bookstore_matrix: {target}: namespace is not in bookstore_namespaces")
        for port in row["ports"]:
            if (row["namespace"], row["workload"], port) in seen:
                faults.append(f"bookstore_matrix: {target}:{port} has two rows; write one")
            seen.add((row["namespace"], row["workload"], port))
        for source in row["sources"]:
            namespace, _, account = source.partition("/")
            if (namespace, account) not in workloads and account not in SOURCES_ONLY:
                faults.append(f"bookstore_matrix: {target}: source {source} is no workload of the matrix")
            if source == target:
                faults.append(f"bookstore_matrix: {target}: is its own source")
    return faults


def volumes(data: Data) -> list[str]:
    """Thirteen volumes, each claim once, in known namespaces; a backup for each database; no uid of root."""
    rows = data["bookstore_volumes"]
    faults = [] if len(rows) == VOLUMES else [f"bookstore_volumes: {len(rows)} volumes, SPEC 2.1 says {VOLUMES}"]
    known = {row["name"] for row in data["bookstore_namespaces"]}
    claims = [(row["namespace"], row["claim"]) for row in rows]
    faults += [f"bookstore_volumes: claim {claim} is used twice" for claim in sorted({c for c in claims if claims.count(c) > 1})]
    names = {row["name"]: row for row in rows}
    for row in rows:
        if row["namespace"] not in known:
            faults.append(f"bookstore_volumes: {row['name']}: namespace {row['namespace']} is not in bookstore_namespaces")
        if row["uid"] < 1000:
            faults.append(f"bookstore_volumes: {row['name']}: uid {row['uid']} is a system's")
        if not re.fullmatch(r"\d+[MG]i", row["size"]):
            faults.append(f"bookstore_volumes: {row['name']}: size {row['size']} is not <number>Mi or Gi")
        if (
            row["name"].endswith("-db")
            and not row["name"].startswith("backup-")
            and names.get(f"backup-{row['name']}", row)["uid"] != row["uid"]
        ):
            faults.append(f"bookstore_volumes: backup-{row['name']}: another uid than {row['name']}")
    databases = {name for name in names if name.endswith("-db") and not name.startswith("backup-")}
    backups = {name.removeprefix("backup-") for name in names if name.startswith("backup-")}
    faults += [f"bookstore_volumes: {name} has no backup volume, or the reverse" for name in sorted(databases ^ backups)]
    in_matrix = {(row["namespace"], row["workload"]) for row in data["bookstore_matrix"] if 5432 in row["ports"]}
    faults += [
        f"database {entry} is in bookstore_volumes or bookstore_matrix, but not in both"
        for entry in sorted({(names[name]["namespace"], name) for name in databases} ^ in_matrix)
    ]
    return faults


def networks(data: Data) -> list[str]:
    """The three address ranges do not overlap."""
    import ipaddress

    names = ["bookstore_pod_cidr", "bookstore_service_cidr", "bookstore_node_cidr"]
    ranges = [ipaddress.ip_network(data[name]) for name in names]
    return [f"{names[a]} overlaps {names[b]}" for a in range(3) for b in range(a + 1, 3) if ranges[a].overlaps(ranges[b])]


RULES = (namespaces, node_ports, matrix, volumes, networks)
