"""The two tables of the inventory against rendered manifests, without the code that derives the manifests from them."""

from __future__ import annotations

import re
from typing import Any

from .coverage import GATEWAY_LABEL, gateway_services
from .manifests import Manifest, name_of, of_kind

Row = dict[str, Any]
Table = dict[str, Row]
ROLLED_OUT = ("Deployment", "StatefulSet", "DaemonSet")
# What no manifest of a role holds: kubeadm and istioctl make them.
MADE_BY_OTHERS = frozenset({"coredns", "istiod", "ztunnel"})


def edges(matrix: list[Row], table: Table, manifests: list[Manifest]) -> list[Row]:
    """Return what the rows of the matrix mean, in numbers and accounts: those that the pods really have.

    What is not rendered, as it is planned or started by hand, is as the table says.
    """
    accounts = {
        w["metadata"]["name"]: (w["metadata"]["namespace"], w["spec"]["template"]["spec"]["serviceAccountName"])
        for w in of_kind(manifests, *ROLLED_OUT)
    }
    made = [_row(name, [port], [], table) for name, ports in _node_ports(table, manifests).items() for port in ports]
    for row in matrix:
        if row["to"] == "metrics":
            reached = [(name, port) for name, entry in table.items() for port, p in (entry.get("ports") or {}).items() if p.get("metrics")]
        else:
            reached = [(to.split(".")[0], to.split(".")[1]) for to in ([row["to"]] if isinstance(row["to"], str) else row["to"])]
        for name, port in reached:
            sources = [_account(source, table[name]["namespace"], table, accounts) for source in row["from"]]
            made.append(_row(name, [port], sources, table))
    return made


def _row(name: str, ports: list[str], sources: list[str], table: Table) -> Row:
    numbers = [table[name]["ports"][port]["number"] for port in ports]
    return {"namespace": table[name]["namespace"], "workload": name, "ports": numbers, "sources": sources, "node_blocks": not sources}


def _node_ports(table: Table, manifests: list[Manifest]) -> dict[str, list[str]]:
    """Return workload to its ports that nodes may reach: those to which a rendered Service of type NodePort leads, and planned ones."""
    found: dict[str, list[str]] = {}
    for service in of_kind(manifests, "Service"):
        if service["spec"].get("type") == "NodePort":
            for workload in _selected(service, manifests):
                for entry in service["spec"]["ports"]:
                    number = _number(entry, workload)
                    name = workload["metadata"]["name"]
                    found.setdefault(name, []).append(next(p for p, e in table[name]["ports"].items() if e["number"] == number))
    for name, row in table.items():
        if row.get("planned") or row.get("optional"):
            found |= {name: [port for port, entry in (row.get("ports") or {}).items() if "node_port" in entry]}
    return found


def _selected(service: Manifest, manifests: list[Manifest]) -> list[Manifest]:
    selector = service["spec"].get("selector") or {}
    # Kubernetes gives pods of a StatefulSet a label besides those of their template.
    wanted = {key: value for key, value in selector.items() if not key.startswith("statefulset.kubernetes.io/")}
    return [
        workload
        for workload in of_kind(manifests, *ROLLED_OUT)
        if workload["metadata"]["namespace"] == service["metadata"]["namespace"]
        and wanted and wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    ]  # fmt: skip


def _container_ports(workload: Manifest) -> dict[str, int]:
    containers = workload["spec"]["template"]["spec"]["containers"]
    return {port.get("name", ""): port["containerPort"] for container in containers for port in container.get("ports") or []}


def _number(entry: Row, workload: Manifest) -> int:
    """Return the container's port to which a Service's leads."""
    target = entry["targetPort"] if "targetPort" in entry else entry["port"]
    return _container_ports(workload).get(target, 0) if isinstance(target, str) else int(target)


def _account(source: str, namespace: str, table: Table, accounts: dict[str, tuple[str, str]]) -> str:
    shared = {row["account"]: name for name, row in table.items() if "account" in row}
    if source in accounts or source in shared:
        return "/".join(accounts[shared.get(source, source)])
    row = table[source]
    if row["kind"] == "Job":
        return f"{namespace if namespace in row['namespaces'] else row['namespaces'][0]}/{source}"
    return f"{row['namespace']}/{source}{'-istio' if row['kind'] == 'Gateway' else ''}"


def users_are_the_images(manifests: list[Manifest], containerfiles: dict[str, str]) -> list[str]:
    """Containers run as the user of their image, to whom its files belong; ``containerfiles`` has each image's by its name."""
    faults = []
    for workload in of_kind(manifests, *ROLLED_OUT):
        pod = workload["spec"]["template"]["spec"]
        for container in pod["containers"] + pod.get("initContainers", []):
            image = container["image"].split("/")[-1].split(":")[0]
            own = re.findall(r"^USER (\d+):", containerfiles[image], re.MULTILINE)[-1]
            user = container["securityContext"].get("runAsUser", pod.get("securityContext", {}).get("runAsUser"))
            if str(user) != own:
                faults.append(f"{name_of(workload)}: {container['name']} runs as {user}, and image {image} is made for {own}")
    return faults


def workloads_are_the_table(manifests: list[Manifest], table: Table, replicas: int) -> list[str]:
    """Everything that runs is in the table as it is rendered, and everything that the table says to run is rendered."""
    rendered = {w["metadata"]["name"]: w for w in of_kind(manifests, *ROLLED_OUT)}
    gateways = {g["metadata"]["name"]: g for g in of_kind(manifests, "Gateway")}
    faults = [f"{name_of(w)}: is not in bookstore_workloads" for name, w in rendered.items() if name not in table]
    for name, row in table.items():
        there = gateways.get(name) if row["kind"] == "Gateway" else rendered.get(name)
        waits = row.get("planned") or row.get("optional") or row["kind"] == "Job" or name in MADE_BY_OTHERS
        if bool(there) == bool(waits):
            faults.append(f"bookstore_workloads: {name} is {'' if there else 'not '}rendered")
        elif there and row["kind"] == "Gateway":
            faults += _gateway(there, row, manifests)
        elif there:
            faults += _workload(there, name, row, replicas) + _services(there, row, manifests) + _claims(there, name, row, manifests)
    return faults


def _differs(what: str, thing: str, found: Any, declared: Any) -> list[str]:
    return [] if found == declared else [f"{what}: {thing} {found}, but {declared} in bookstore_workloads"]


def _workload(workload: Manifest, name: str, row: Row, replicas: int) -> list[str]:
    what, template = name_of(workload), workload["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    users = {pod.get("securityContext", {}).get("runAsUser")} | {
        container["securityContext"].get("runAsUser") for container in pod["containers"] + pod.get("initContainers", [])
    }
    numbers = sorted(port["number"] for port in (row.get("ports") or {}).values())
    faults = _differs(what, "kind", workload["kind"], row["kind"])
    faults += _differs(what, "namespace", workload["metadata"]["namespace"], row["namespace"])
    faults += _differs(what, "account", pod["serviceAccountName"], row.get("account", name))
    faults += _differs(what, "label app.kubernetes.io/name", labels.get("app.kubernetes.io/name"), name)
    faults += _differs(what, "label bookstore.platform/account", labels.get("bookstore.platform/account"), row.get("account"))
    faults += _differs(what, "selector", workload["spec"]["selector"]["matchLabels"].get("app.kubernetes.io/name"), name)
    faults += _differs(what, "ports", sorted(_container_ports(workload).values()), numbers)
    faults += _differs(what, "users", users - {None}, {row["uid"]} if "uid" in row else set())
    if workload["kind"] != "DaemonSet":
        faults += _differs(what, "replicas", workload["spec"]["replicas"], replicas if row.get("scales") else 1)
    return faults


def _services(workload: Manifest, row: Row, manifests: list[Manifest]) -> list[str]:
    """Services lead to declared ports, and node ports are those of these ports; each of either is led to."""
    node_ports: dict[int, tuple[str, int]] = {}
    for service in of_kind(manifests, "Service"):
        if workload in _selected(service, manifests):
            for entry in service["spec"]["ports"]:
                if "nodePort" in entry:
                    node_ports[_number(entry, workload)] = (service["metadata"]["name"], entry["nodePort"])
    declared = {
        port["number"]: (port["node_port"].get("service", workload["metadata"]["name"]), port["node_port"]["number"])
        for port in (row.get("ports") or {}).values() if "node_port" in port
    }  # fmt: skip
    return _differs(name_of(workload), "node ports", node_ports, declared)


def _claims(workload: Manifest, name: str, row: Row, manifests: list[Manifest]) -> list[str]:
    """Return faults of a workload's volume; one that several share is claimed by whoever declares it."""
    sizes = {
        f"{c['metadata']['name']}-{name}-0": c["spec"]["resources"]["requests"]["storage"]
        for c in workload["spec"].get("volumeClaimTemplates") or []
    }
    volume = row.get("volume")
    if isinstance(volume, dict):
        claims = [c for c in of_kind(manifests, "PersistentVolumeClaim") if c["metadata"]["name"] == volume["name"]]
        sizes |= {c["metadata"]["name"]: c["spec"]["resources"]["requests"]["storage"] for c in claims}
        declared = {volume["name"]: volume["size"]}
    else:
        declared = {f"data-{name}-0": volume} if volume else {}
    return _differs(name_of(workload), "claims", sizes, declared)


def _gateway(gateway: Manifest, row: Row, manifests: list[Manifest]) -> list[str]:
    served = {port["number"]: port["node_port"]["number"] for port in row["ports"].values() if "node_port" in port}
    faults = _differs(name_of(gateway), "listeners", sorted(one["port"] for one in gateway["spec"]["listeners"]), sorted(served))
    (service,) = gateway_services([gateway, *of_kind(manifests, "ConfigMap")])
    node_ports = {entry["port"]: entry["nodePort"] for entry in service["spec"]["ports"] if "nodePort" in entry}
    return faults + _differs(f"{name_of(gateway)}, label {GATEWAY_LABEL}", "node ports", node_ports, served)
