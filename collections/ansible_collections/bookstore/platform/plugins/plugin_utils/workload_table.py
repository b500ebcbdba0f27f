# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What the platform makes of its two tables: bookstore_workloads (what there is) and bookstore_matrix (who may reach what).

Every function is pure: it takes the tables as the inventory declares them, and returns what one kind of reader needs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Row = dict[str, Any]
Table = Mapping[str, Mapping[str, Any]]

CLUSTER_DOMAIN = "svc.cluster.local"
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Gateway", "Job")
PROTOCOLS = ("http", "kafka", "postgres", "redis", "tcp")
# The row of the matrix that is about every port that Prometheus scrapes.
METRICS = "metrics"
KEYS = frozenset({
    "namespace", "namespaces", "kind", "account", "ports", "uid", "volume", "backup", "scales", "python", "rights", "optional", "planned",
    "node_agent",
})  # fmt: skip
PORT_KEYS = frozenset({"number", "protocol", "metrics", "node_port"})
METRICS_PATH = "/metrics"
NODE_PORT_KEYS = frozenset({"id", "number", "service", "path", "serves"})
EDGE_KEYS = frozenset({"to", "from"})


def _near(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {found[0]}?" if found else ""


def _unknown(what: str, keys: Iterable[str], known: frozenset[str]) -> None:
    for key in keys:
        if key not in known:
            raise ValueError(f"{what}: key {key} does not exist{_near(key, known)}")


def _map(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what}: {value!r} must be a map of keys to values")
    return value


def _whole(value: Any) -> bool:
    """Tell whether a value is a number; yes and no are numbers to Python."""
    return isinstance(value, int) and not isinstance(value, bool)


def _names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(name, str) and name for name in value)


def check(table: Table) -> None:
    """Refuse a table that contradicts itself; ValueError names the workload, the key and what to write."""
    seen: dict[int, str] = {}
    for name, row in _map("bookstore_workloads", table).items():
        what = f"bookstore_workloads: {name}"
        _unknown(what, _map(what, row), KEYS)
        if row.get("kind") not in KINDS:
            raise ValueError(f"{what}: kind={row.get('kind')}: write one of {', '.join(KINDS)}")
        if ("namespaces" in row) != (row["kind"] == "Job") or ("namespace" in row) == ("namespaces" in row):
            raise ValueError(f"{what}: write namespaces for a Job and namespace for any other kind")
        if not _names(row["namespaces"] if row["kind"] == "Job" else [row["namespace"]]):
            raise ValueError(f"{what}: write namespace: <name>, and for a Job namespaces: [<name>]")
        _check_values(what, row)
        numbers: dict[int, str] = {}
        for port, entry in _map(f"{what}: ports", row.get("ports") or {}).items():
            _check_port(f"{what}: port {port}", entry, seen)
            number = entry["number"]
            if number in numbers:
                raise ValueError(f"{what}: port {port}: number={number} is that of port {numbers[number]}; write another one")
            numbers[number] = port


def _check_values(what: str, row: Mapping[str, Any]) -> None:
    if ("volume" in row or "backup" in row) and "uid" not in row:
        raise ValueError(f"{what}: a volume needs uid, which owns its folder")
    if "uid" in row and not _whole(row["uid"]):
        raise ValueError(f"{what}: uid={row['uid']}: write a number")
    if isinstance(row.get("volume"), Mapping) and set(row["volume"]) != {"name", "size"}:
        raise ValueError(f"{what}: volume: write a size, or name and size")
    if row["kind"] == "Job" and row.get("ports"):
        raise ValueError(f"{what}: nobody calls a Job; remove ports")
    if "rights" in row and not {"reason", "rules"} <= set(_map(f"{what}: rights", row["rights"])):
        raise ValueError(f"{what}: rights needs reason and rules")


def _check_port(what: str, entry: Any, node_ports: dict[int, str]) -> None:
    _unknown(what, _map(what, entry), PORT_KEYS)
    if not _whole(entry.get("number")) or not 0 < entry["number"] < 65536:
        raise ValueError(f"{what}: number={entry.get('number')}: write a number from 1 to 65535")
    if entry.get("protocol") not in PROTOCOLS:
        raise ValueError(f"{what}: protocol={entry.get('protocol')}: write one of {', '.join(PROTOCOLS)}")
    if "metrics" in entry:
        _check_metrics(what, entry)
    if "node_port" in entry:
        node_port = entry["node_port"]
        _unknown(f"{what}: node_port", _map(f"{what}: node_port", node_port), NODE_PORT_KEYS)
        if not {"id", "number", "serves"} <= set(node_port):
            raise ValueError(f"{what}: node_port needs id, number and serves")
        if not re.fullmatch(r"N[0-9]+", str(node_port["id"])):
            raise ValueError(f"{what}: node_port: id={node_port['id']}: write N and a number")
        if not _whole(node_port["number"]):
            raise ValueError(f"{what}: node_port: number={node_port['number']}: write a number from 30000 to 32767")
        if node_port["number"] in node_ports:
            raise ValueError(f"{what}: node_port {node_port['number']} is that of {node_ports[node_port['number']]}; write another one")
        node_ports[node_port["number"]] = what.removeprefix("bookstore_workloads: ")


def _check_metrics(what: str, entry: Mapping[str, Any]) -> None:
    metrics = entry["metrics"]
    if metrics is not True:
        path = _map(f"{what}: metrics", metrics).get("path")
        if set(metrics) != {"path"} or not re.fullmatch(r"(?:/[\w.-]+)+", str(path)):
            raise ValueError(f"{what}: metrics: write true, or path: /where/they/are")
    if entry["protocol"] != "http":
        raise ValueError(f"{what}: metrics are fetched by HTTP; write protocol: http")


def made_name(name: str, row: Mapping[str, Any]) -> str:
    """Return the name of the Deployment (or StatefulSet, DaemonSet) of a workload; Istio makes a Gateway's."""
    return f"{name}-istio" if row["kind"] == "Gateway" else name


def account_of(name: str, row: Mapping[str, Any]) -> str:
    """Return the name of the service account under which a workload runs."""
    return str(row.get("account") or made_name(name, row))


def _deployed(table: Table) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the workloads whose pods always run."""
    for name, row in table.items():
        if row["kind"] != "Job" and not any(row.get(key) for key in ("planned", "optional", "node_agent")):
            yield name, row


def _ports(table: Table) -> Iterator[tuple[str, Mapping[str, Any], str, Mapping[str, Any]]]:
    for name, row in table.items():
        for port, entry in (row.get("ports") or {}).items():
            yield name, row, port, entry


def node_ports(table: Table) -> list[Row]:
    """Return the node ports in the order of their ids: id, name, namespace, service, node_port, serves."""
    check(table)
    found = [
        {"id": entry["node_port"]["id"], "name": port, "namespace": row["namespace"],
         "service": entry["node_port"].get("service", made_name(name, row)), "node_port": entry["node_port"]["number"],
         "serves": entry["node_port"]["serves"]}
        for name, row, port, entry in _ports(table) if "node_port" in entry
    ]  # fmt: skip
    return sorted(found, key=lambda entry: int(entry["id"][1:]))


def volumes(table: Table) -> list[Row]:
    """Return the host-path volumes, data before backups: name, namespace, claim, uid, size."""
    check(table)
    data, backups = [], []
    for name, row in table.items():
        common = {"namespace": row.get("namespace"), "uid": row.get("uid")}
        volume = row.get("volume")
        if isinstance(volume, Mapping):
            data.append({"name": volume["name"], "claim": volume["name"], "size": volume["size"], **common})
        elif volume:
            data.append({"name": name, "claim": f"data-{name}-0", "size": volume, **common})
        if row.get("backup"):
            backups.append({"name": f"backup-{name}", "claim": f"backup-{name}", "size": row["backup"], **common})
    return data + backups


def accounts(table: Table) -> list[Row]:
    """Return the service accounts with rights at the API server, by their names: account, reason, rules, cluster, own."""
    check(table)
    found = [{"account": f"{row['namespace']}/{account_of(name, row)}", **row["rights"]} for name, row in table.items() if "rights" in row]
    return sorted(found, key=lambda entry: str(entry["account"]))


def expected(table: Table) -> list[Row]:
    """Return the objects that verify expects to be ready: kind, namespace, name."""
    check(table)
    return [
        {"kind": "Deployment" if row["kind"] == "Gateway" else row["kind"], "namespace": row["namespace"], "name": made_name(name, row)}
        for name, row in _deployed(table)
    ]


def optional(table: Table) -> list[Row]:
    """Return the components that may be absent: name, kind, namespace, workload, reason."""
    check(table)
    return [
        {"name": name, "kind": row["kind"], "namespace": row["namespace"], "workload": name, "reason": row["optional"]}
        for name, row in table.items() if row.get("optional")
    ]  # fmt: skip


def gateway_node_ports(table: Table) -> dict[str, int]:
    """Return the gateway's node ports by the names of their ports: https, http."""
    gateways = [(port, entry) for _, row, port, entry in _ports(table) if row["kind"] == "Gateway"]
    return {port: entry["node_port"]["number"] for port, entry in gateways if "node_port" in entry}


def required_node_ports(table: Table) -> list[str]:
    """Return the ids of the node ports that serve: those of workloads that always run."""
    check(table)
    deployed = dict(_deployed(table))
    return sorted({entry["node_port"]["id"] for name, _, _, entry in _ports(table) if "node_port" in entry and name in deployed})


def node_port_requests(table: Table) -> list[Row]:
    """Return what verify asks the node ports for: id, path."""
    check(table)
    found = [entry["node_port"] for _, _, _, entry in _ports(table) if "path" in entry.get("node_port", {})]
    return [{"id": entry["id"], "path": entry["path"]} for entry in sorted(found, key=lambda entry: int(entry["id"][1:]))]


def metrics(table: Table) -> list[Row]:
    """Return the ports that Prometheus scrapes, planned workloads left out: workload, kind, namespace, number, path."""
    check(table)
    return [
        {"workload": name, "kind": row["kind"], "namespace": row["namespace"], "number": entry["number"],
         "path": METRICS_PATH if entry["metrics"] is True else entry["metrics"]["path"]}
        for name, row, _, entry in _ports(table) if entry.get("metrics") and not row.get("planned")
    ]  # fmt: skip


def topology(table: Table, edges_made: Iterable[Row] = ()) -> Row:
    """Return what the mesh map is told: workloads (one row for each namespace of a Job) and ``edges_made``, those of edges()."""
    check(table)
    rows = [
        {"name": name, "namespace": namespace, "kind": row["kind"], "account": account_of(name, row),
         "metrics": [port["number"] for port in (row.get("ports") or {}).values() if port.get("metrics")],
         "optional": any(row.get(key) for key in ("planned", "optional", "node_agent"))}
        for name, row in table.items() for namespace in row.get("namespaces") or [row["namespace"]]
    ]  # fmt: skip
    keys = ("namespace", "workload", "ports", "sources", "node_blocks")
    return {"workloads": rows, "edges": [{key: edge[key] for key in keys if key in edge} for edge in edges_made]}


def exec_sources(table: Table) -> list[str]:
    """Return the sources, as <namespace>/<service account>, whose own pods hold python3."""
    check(table)
    return [f"{row['namespace']}/{account_of(name, row)}" for name, row in _deployed(table) if row.get("python")]


def _port(table: Table, reference: str) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
    """Return name, row and port of ``<workload>.<port>``."""
    name, _, port = reference.partition(".")
    if name not in table:
        raise ValueError(f"{name} is not in bookstore_workloads{_near(name, table)}")
    ports = table[name].get("ports") or {}
    if port not in ports:
        raise ValueError(f"{name} has no port {port!r}; it has {', '.join(ports) or 'none'}")
    return name, table[name], ports[port]


def address(table: Table, reference: str) -> str:
    """Return host and port of the Service by which ``<workload>.<port>`` is called in the cluster."""
    check(table)
    name, row, port = _port(table, reference)
    return f"{made_name(name, row)}.{row['namespace']}.{CLUSTER_DOMAIN}:{port['number']}"


def shared_accounts(table: Table) -> set[tuple[str, str]]:
    """Return (namespace, account) of the accounts that have not their workload's name."""
    return {(row["namespace"], row["account"]) for row in table.values() if row.get("account")}


def _source(table: Table, name: str, namespace: str) -> str:
    """Return a source of the matrix as <namespace>/<service account>; ``namespace`` is the destination's."""
    shared = {account: where for where, account in shared_accounts(table)}
    if name in shared:
        return f"{shared[name]}/{name}"
    if name not in table:
        raise ValueError(f"source {name} is neither a workload of bookstore_workloads nor an account of several{_near(name, table)}")
    row = table[name]
    if row.get("account"):
        raise ValueError(f"source {name} shares its account with others: write {row['account']}, and all of them are let in")
    if row["kind"] != "Job":
        return f"{row['namespace']}/{account_of(name, row)}"
    if len(row["namespaces"]) > 1 and namespace not in row["namespaces"]:
        raise ValueError(f"source {name} does not run in namespace {namespace}; add it to its namespaces")
    return f"{namespace if namespace in row['namespaces'] else row['namespaces'][0]}/{name}"


def _row(name: str, row: Mapping[str, Any], ports: list[Mapping[str, Any]], sources: list[str]) -> Row:
    made: Row = {
        "namespace": row["namespace"], "workload": name, "ports": [port["number"] for port in ports], "sources": sources,
        "protocols": {str(port["number"]): port["protocol"] for port in ports},
    }  # fmt: skip
    # What comes in through the gateway's node ports is no edge between workloads: its policies are Istio's part.
    nodes = {bool(port.get("node_port")) and row["kind"] != "Gateway" for port in ports}
    if len(nodes) > 1:
        raise ValueError(f"bookstore_matrix: ports with and without a node port of {name} need a row each")
    return {**made, "node_blocks": True} if nodes == {True} else made


def _targets(table: Table, to: str | list[str]) -> list[tuple[str, Mapping[str, Any], list[Mapping[str, Any]]]]:
    if to == METRICS:
        return [(name, row, [entry]) for name, row, _, entry in _ports(table) if entry.get("metrics")]
    found = [_port(table, reference) for reference in ([to] if isinstance(to, str) else to)]
    if len({name for name, _, _ in found}) != 1:
        raise ValueError(f"to={to} must name ports of one workload; write a row for each")
    return [(found[0][0], found[0][1], [port for _, _, port in found])]


def edges(matrix: list[Row], table: Table) -> list[Row]:
    """Return the matrix with namespaces, numbers and accounts: namespace, workload, ports, sources, protocols, node_blocks.

    Ports that have a node port and no row of their own come first. ValueError names the row and what to write instead.
    """
    check(table)
    made: list[Row] = []
    if not isinstance(matrix, (list, tuple)):
        raise ValueError("bookstore_matrix: write a list of rows with to and from")
    for number, row in enumerate(matrix, 1):
        what = f"bookstore_matrix: {_map(f'bookstore_matrix: row {number}', row).get('to')}"
        _unknown(what, row, EDGE_KEYS)
        if not row.get("to") or not row.get("from"):
            raise ValueError(f"{what}: a row needs to and from; a port with a node port needs none")
        if not _names(row["from"]) or not (isinstance(row["to"], str) or _names(row["to"])):
            raise ValueError(f"{what}: write to: <workload>.<port> (or a list of them) and from: [<workload>]")
        try:
            for name, entry, ports in _targets(table, row["to"]):
                sources = [_source(table, source, entry["namespace"]) for source in row["from"]]
                made.append(_row(name, entry, ports, sources))
        except ValueError as error:
            raise ValueError(f"{what}: {str(error).removeprefix('bookstore_matrix: ')}") from error
    reached = [(row["workload"], port) for row in made for port in row["ports"]]
    for name, port in reached:
        if reached.count((name, port)) > 1:
            raise ValueError(f"bookstore_matrix: {name}:{port} has two rows; write one")
    nodes = [
        _row(name, row, [entry], [])
        for name, row, _, entry in _ports(table)
        if "node_port" in entry and row["kind"] != "Gateway" and (name, entry["number"]) not in reached
    ]
    return nodes + made


def facts(table: Table) -> dict[str, tuple[Any, ...]]:
    """Return what policies need beside the edges, as plugin_utils.matrix.Facts names it."""
    return {
        "gateways": tuple(name for name, row in table.items() if row["kind"] == "Gateway"),
        "accounts": tuple(sorted({account for _, account in shared_accounts(table)})),
        "gateway_ports": tuple(entry["number"] for _, row, _, entry in _ports(table) if row["kind"] == "Gateway" and "node_port" in entry),
        "api_clients": tuple((row["namespace"], account_of(name, row)) for name, row in table.items() if "rights" in row),
    }
