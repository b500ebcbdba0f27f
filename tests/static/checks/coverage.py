"""Rendered manifests against the inventory: matrix, NodePorts and volumes are there, and nothing beyond them."""

from __future__ import annotations

from typing import Any

import yaml

from checks.manifests import Manifest, name_of, of_kind

Row = dict[str, Any]
# The gateway's pods carry istiod's label instead of a workload name; its account's name ends in the class.
GATEWAY_NAMES = frozenset({"bookstore-gateway", "bookstore-gateway-istio"})
GATEWAY_LABELS = {"gateway.networking.k8s.io/gateway-name": "bookstore-gateway"}


def _labels(name: str) -> dict[str, str]:
    return GATEWAY_LABELS if name in GATEWAY_NAMES else {"app.kubernetes.io/name": name}


def _edges(matrix: list[Row]) -> set[tuple[str, str, int, str]]:
    """Return (namespace, workload, port, source) of every allowed edge."""
    return {(row["namespace"], row["workload"], port, source) for row in matrix for port in row["ports"] for source in row["sources"]}


def _open_ports(matrix: list[Row]) -> set[tuple[str, str, int]]:
    return {(row["namespace"], row["workload"], port) for row in matrix if row.get("node_blocks") for port in row["ports"]}


def _names(matrix: list[Row]) -> dict[tuple[str, str], str]:
    """Return (namespace, label value) to workload."""
    return {(row["namespace"], next(iter(_labels(row["workload"]).values()))): row["workload"] for row in matrix}


def authorization_covers(manifests: list[Manifest], matrix: list[Row]) -> list[str]:
    """The AuthorizationPolicies with a selector allow exactly the matrix's edges, and node blocks where it says so."""
    names = _names(matrix)
    edges, blocks, faults = set(), set(), []
    for policy in of_kind(manifests, "AuthorizationPolicy"):
        selector = (policy.get("spec") or {}).get("selector")
        if not selector:
            continue
        namespace = policy["metadata"]["namespace"]
        workload = names.get((namespace, next(iter(selector["matchLabels"].values()))))
        if workload is None:
            faults.append(f"{name_of(policy)}: selects a workload that is not in bookstore_matrix")
            continue
        for rule in policy["spec"]["rules"]:
            ports = [int(port) for target in rule["to"] for port in target["operation"]["ports"]]
            for source in (origin["source"] for origin in rule["from"]):
                if "ipBlocks" in source:
                    blocks |= {(namespace, workload, port) for port in ports}
                for principal in source.get("principals") or []:
                    _, _, origin, _, account = principal.split("/")
                    if source.get("namespaces") != [origin]:
                        faults.append(f"{name_of(policy)}: principal {principal} without its namespace")
                    edges |= {(namespace, workload, port, f"{origin}/{account}") for port in ports}
    return faults + _difference("AuthorizationPolicy", edges, _edges(matrix)) + _difference("node blocks", blocks, _open_ports(matrix))


def network_covers(manifests: list[Manifest], matrix: list[Row]) -> list[str]:
    """NetworkPolicies let in, and out, exactly the matrix's edges (sources are pods, by the account's name)."""
    expected = {
        (namespace, next(iter(_labels(workload).values())), port, origin, next(iter(_labels(account).values())))
        for namespace, workload, port, source in _edges(matrix)
        for origin, account in [source.split("/")]
    }
    inward, outward = set(), set()
    for policy in of_kind(manifests, "NetworkPolicy"):
        selected = policy["spec"].get("podSelector", {}).get("matchLabels")
        if not selected:
            continue
        own = (policy["metadata"]["namespace"], next(iter(selected.values())))
        for rule in policy["spec"].get("ingress") or []:
            inward |= {(*own, port, *peer) for peer in _peers(rule.get("from")) for port in _ports(rule)}
        for rule in policy["spec"].get("egress") or []:
            outward |= {(*peer, *own, port) for peer in _peers(rule.get("to")) for port in _ports(rule)}
    egress = {(namespace, name, port, *source) for namespace, name, *source, port in outward}
    return _difference("NetworkPolicy ingress", inward, expected) + _difference("NetworkPolicy egress", egress, expected)


def _peers(peers: list[Manifest] | None) -> set[tuple[str, str]]:
    return {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], next(iter(peer["podSelector"]["matchLabels"].values())))
        for peer in peers or []
        if "podSelector" in peer
    }


def _ports(rule: Manifest) -> list[int]:
    return [port["port"] for port in rule.get("ports") or []]


def exceptions_are(manifests: list[Manifest], matrix: list[Row], count: int = 7) -> list[str]:
    """PERMISSIVE ports are exactly those that nodes reach in plaintext; SPEC 4 says ``count`` of workloads.

    Keycloak's port 8080 serves N8 by a second Service; with it the matrix has one row for each of N2 to N8.
    """
    names = _names(matrix)
    found, policies = set(), 0
    for policy in of_kind(manifests, "PeerAuthentication"):
        ports = policy["spec"].get("portLevelMtls") or {}
        policies += bool(ports)
        for port, setting in ports.items():
            label = next(iter(policy["spec"]["selector"]["matchLabels"].values()))
            namespace = policy["metadata"]["namespace"]
            if setting["mode"] != "PERMISSIVE":
                return [f"{name_of(policy)}: port {port} is {setting['mode']}"]
            found.add((namespace, names.get((namespace, label), label), int(port)))
    faults = _difference("PERMISSIVE port", found, _open_ports(matrix))
    return faults if policies == count else [*faults, f"{policies} PERMISSIVE exceptions, expected {count}"]


def _difference(what: str, found: set[Any], expected: set[Any]) -> list[str]:
    faults = [f"{what}: {entry} is not in bookstore_matrix" for entry in sorted(found - expected, key=str)]
    return faults + [f"{what}: {entry} of bookstore_matrix is missing" for entry in sorted(expected - found, key=str)]


def node_ports_are_declared(manifests: list[Manifest], declared: list[Row], most: int = 8) -> list[str]:
    """Every node port is one of bookstore_nodeports, on its Service; LoadBalancers do not exist."""
    known = {(row["namespace"], row["service"], row["node_port"]) for row in declared}
    services = {(row["namespace"], row["service"]) for row in declared}
    faults = [] if len(services) == most else [f"bookstore_nodeports declares {len(services)} services, SPEC 2.1 says {most}"]
    for service in [*of_kind(manifests, "Service"), *gateway_services(manifests)]:
        metadata, spec = service["metadata"], service["spec"]
        if spec.get("type") == "LoadBalancer" or spec.get("externalIPs"):
            faults.append(f"{name_of(service)}: neither LoadBalancer nor external addresses: nothing serves them here")
        ports = [port["nodePort"] for port in spec.get("ports") or [] if "nodePort" in port]
        if spec.get("type") == "NodePort" and not ports:
            faults.append(f"{name_of(service)}: nodePort must be declared, never chosen by the server")
        for port in ports:
            if (metadata["namespace"], metadata["name"], port) not in known:
                faults.append(f"{name_of(service)}: nodePort {port} is not declared in bookstore_nodeports")
    return faults


def gateway_services(manifests: list[Manifest]) -> list[Manifest]:
    """Return the Services that istiod will generate for Gateways, as far as their overlay ConfigMaps say."""
    found = []
    for gateway in of_kind(manifests, "Gateway"):
        name, namespace = gateway["metadata"]["name"], gateway["metadata"]["namespace"]
        overlay = ((gateway["spec"].get("infrastructure") or {}).get("parametersRef") or {}).get("name")
        for config in of_kind(manifests, "ConfigMap"):
            if config["metadata"].get("name") == overlay and config["metadata"]["namespace"] == namespace:
                spec = yaml.safe_load(config["data"].get("service", "{}")).get("spec") or {}
                metadata = {"name": f"{name}-{gateway['spec']['gatewayClassName']}", "namespace": namespace}
                found.append({"kind": "Service", "metadata": metadata, "spec": spec})
    return found


def volumes_are_declared(manifests: list[Manifest], declared: list[Row], storage_class: str) -> list[str]:
    """PersistentVolumes are exactly those of bookstore_volumes, retained and bound in advance; claims name one of them."""
    faults = []
    volumes = {m["metadata"]["name"]: m["spec"] for m in of_kind(manifests, "PersistentVolume")}
    if set(volumes) != {row["name"] for row in declared}:
        faults.append(f"PersistentVolumes {sorted(volumes)} differ from bookstore_volumes")
    for row in declared:
        spec = volumes.get(row["name"]) or {}
        claim = spec.get("claimRef") or {}
        if (claim.get("namespace"), claim.get("name")) != (row["namespace"], row["claim"]):
            faults.append(f"PersistentVolume {row['name']}: claimRef is not {row['namespace']}/{row['claim']}")
        if spec.get("persistentVolumeReclaimPolicy") != "Retain" or spec.get("storageClassName") != storage_class:
            faults.append(f"PersistentVolume {row['name']}: must be Retain and of class {storage_class}")
    claims = {(row["namespace"], row["claim"]) for row in declared}
    for stateful in of_kind(manifests, "StatefulSet"):
        name, namespace = stateful["metadata"]["name"], stateful["metadata"]["namespace"]
        for template in stateful["spec"].get("volumeClaimTemplates") or []:
            if (namespace, f"{template['metadata']['name']}-{name}-0") not in claims:
                faults.append(f"{name_of(stateful)}: claim {template['metadata']['name']}-{name}-0 is not in bookstore_volumes")
    for claim in of_kind(manifests, "PersistentVolumeClaim"):
        if (claim["metadata"]["namespace"], claim["metadata"]["name"]) not in claims:
            faults.append(f"{name_of(claim)}: is not in bookstore_volumes")
    return faults


def host_paths_are_declared(manifests: list[Manifest]) -> list[str]:
    """Outside the platform's own namespaces only PersistentVolumes reach the host's file system."""
    faults = []
    for manifest in of_kind(manifests, "Deployment", "StatefulSet", "DaemonSet"):
        if manifest["metadata"]["namespace"] in ("kube-system", "istio-system"):
            continue
        for volume in manifest["spec"]["template"]["spec"].get("volumes") or []:
            if "hostPath" in volume:
                faults.append(f"{name_of(manifest)}: volume {volume['name']} is a hostPath; use a claim")
    return faults
