"""Rendered manifests against the inventory: matrix, NodePorts and volumes are there, and nothing beyond them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from checks.manifests import WORKLOAD_KINDS, Manifest, name_of, of_kind

Row = dict[str, Any]
Labels = dict[str, str]
# (namespace, name) of the workload to which a pod belongs.
Pod = tuple[str, str]
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
NAMESPACE_LABEL = "kubernetes.io/metadata.name"
API_SERVER_PORT = 6443
# What each pod may reach beside the matrix's edges; these pods are made by Kubernetes' and Istio's own manifests.
PLATFORM = [
    ({NAMESPACE_LABEL: "kube-system"}, {"k8s-app": "kube-dns"}, [53, 53]),
    ({NAMESPACE_LABEL: "istio-system"}, {"app": "istiod"}, [15012]),
]
# What Prometheus scrapes beside the matrix's edges: the mesh's own parts, proxies of sidecars, and kubelets.
SCRAPER = ("observability", {"app.kubernetes.io/name": "prometheus"})
SCRAPED = {"istiod": 15014, "ztunnel": 15020}
PROXY_PORT, KUBELET_PORT = 15020, 10250


@dataclass
class Pods:
    """The labels that pods really carry, and their accounts. What the matrix names and nobody deploys yet is as it will be."""

    labels: dict[Pod, Labels] = field(default_factory=dict)
    accounts: dict[Pod, str] = field(default_factory=dict)

    def add(self, namespace: str, name: str, labels: Labels, account: str) -> None:
        """Add the pods of one workload."""
        self.labels[namespace, name] = {**labels, NAMESPACE_LABEL: namespace}
        self.accounts[namespace, name] = account

    def selected(self, namespace: str, labels: Labels) -> set[Pod]:
        """Return what a selector finds: pods that carry all of its labels."""
        return {pod for pod, own in self.labels.items() if pod[0] == namespace and labels.items() <= own.items()}

    def of_account(self, namespace: str, account: str) -> set[Pod]:
        """Return the pods that run under an account."""
        return {pod for pod, own in self.accounts.items() if pod[0] == namespace and own == account}


def pods_of(manifests: list[Manifest], matrix: list[Row]) -> Pods:
    """Return the pods of the workloads among the manifests, and of the gateways that istiod makes pods of."""
    pods = Pods()
    for manifest in of_kind(manifests, *WORKLOAD_KINDS - {"Job", "CronJob", "Pod"}):
        metadata, template = manifest["metadata"], manifest["spec"]["template"]
        account = template["spec"].get("serviceAccountName", "default")
        pods.add(metadata["namespace"], metadata["name"], template["metadata"]["labels"], account)
    for gateway in of_kind(manifests, "Gateway"):
        name, namespace = gateway["metadata"]["name"], gateway["metadata"]["namespace"]
        pods.add(namespace, name, {GATEWAY_LABEL: name}, f"{name}-{gateway['spec']['gatewayClassName']}")
    for row in matrix:
        named = [(row["namespace"], row["workload"]), *(tuple(source.split("/")) for source in row["sources"])]
        for namespace, name in named:
            if (namespace, name) not in pods.labels and not pods.of_account(namespace, name):
                pods.add(namespace, name, {"app.kubernetes.io/name": name}, name)
    return pods


def _edges(matrix: list[Row]) -> set[tuple[str, str, int, str]]:
    """Return (namespace, workload, port, source) of every allowed edge."""
    return {(row["namespace"], row["workload"], port, source) for row in matrix for port in row["ports"] for source in row["sources"]}


def _open_ports(matrix: list[Row]) -> set[tuple[str, str, int]]:
    return {(row["namespace"], row["workload"], port) for row in matrix if row.get("node_blocks") for port in row["ports"]}


def _target(policy: Manifest, labels: Labels, pods: Pods, faults: list[str]) -> set[Pod]:
    """Return what a policy is about; none is a fault."""
    found = pods.selected(policy["metadata"]["namespace"], labels)
    if not found:
        faults.append(f"{name_of(policy)}: no pod carries the labels {labels}")
    return found


def authorization_covers(manifests: list[Manifest], matrix: list[Row]) -> list[str]:
    """The AuthorizationPolicies with a selector allow exactly the matrix's edges, and node blocks where it says so."""
    pods = pods_of(manifests, matrix)
    faults: list[str] = []
    edges: set[tuple[str, str, int, str]] = set()
    blocks: set[tuple[str, str, int]] = set()
    for policy in of_kind(manifests, "AuthorizationPolicy"):
        selector = (policy.get("spec") or {}).get("selector")
        if not selector:
            continue
        targets = _target(policy, selector["matchLabels"], pods, faults)
        for rule in policy["spec"]["rules"]:
            ports = [int(port) for target in rule["to"] for port in target["operation"]["ports"]]
            for source in (origin["source"] for origin in rule["from"]):
                if "ipBlocks" in source:
                    blocks |= {(*pod, port) for pod in targets for port in ports}
                for principal in source.get("principals") or []:
                    _, _, origin, _, account = principal.split("/")
                    if source.get("namespaces") != [origin]:
                        faults.append(f"{name_of(policy)}: principal {principal} without its namespace")
                    edges |= {(*pod, port, f"{origin}/{account}") for pod in targets for port in ports}
    return faults + _difference("AuthorizationPolicy", edges, _edges(matrix)) + _difference("node blocks", blocks, _open_ports(matrix))


def network_covers(manifests: list[Manifest], matrix: list[Row]) -> list[str]:
    """NetworkPolicies let in, and out, exactly the matrix's edges: from pod to pod, as their labels are selected."""
    pods = pods_of(manifests, matrix)
    faults: list[str] = []
    expected = {
        ((namespace, workload), port, source)
        for namespace, workload, port, origin in _edges(matrix)
        for source in pods.of_account(*origin.split("/"))
    }
    inward: set[tuple[Pod, int, Pod]] = set()
    outward: set[tuple[Pod, int, Pod]] = set()
    from_nodes: set[tuple[str, str, int]] = set()
    to_nodes: set[tuple[str, str, int]] = set()
    for policy in of_kind(manifests, "NetworkPolicy"):
        if policy["metadata"]["name"] == "platform":
            faults += _platform(policy)
        if policy["metadata"]["name"] in ("prometheus-platform", "prometheus-proxies", "istiod-metrics"):
            # No row of the matrix is about these: scraping_covers compares them.
            continue
        if policy["metadata"]["namespace"] == "istio-system":
            # Istio's own part, which istioctl makes; no row of the matrix is about it.
            continue
        selected = policy["spec"].get("podSelector", {}).get("matchLabels")
        if not selected:
            continue
        own = _target(policy, selected, pods, faults)
        for rule in policy["spec"].get("ingress") or []:
            for peer in _peers(policy, rule.get("from"), pods, faults):
                inward |= {(pod, port, peer) for pod in own for port in _ports(rule)}
            from_nodes |= {(*pod, port) for pod in own for port in _ports(rule) if _blocks(rule["from"])}
        for rule in policy["spec"].get("egress") or []:
            for peer in _peers(policy, rule.get("to"), pods, faults):
                outward |= {(peer, port, pod) for pod in own for port in _ports(rule)}
            to_nodes |= {(*pod, port) for pod in own for port in _ports(rule) if _blocks(rule["to"])}
    faults += _difference("NetworkPolicy ingress", inward, expected) + _difference("NetworkPolicy egress", outward, expected)
    faults += _difference("NetworkPolicy ingress from nodes", from_nodes, _open_ports(matrix) | _gateway_ports(manifests))
    return faults + _difference("NetworkPolicy egress to the API server", to_nodes, _api_clients(manifests, pods))


def _blocks(peers: list[Manifest]) -> bool:
    """Whether an address range is among the peers: that of the nodes, on which the API server listens, too."""
    return any("ipBlock" in peer for peer in peers)


def _gateway_ports(manifests: list[Manifest]) -> set[tuple[str, str, int]]:
    """Return the ports of gateways that have a node port."""
    overlays = of_kind(manifests, "ConfigMap")
    return {
        (gateway["metadata"]["namespace"], gateway["metadata"]["name"], port["port"])
        for gateway in of_kind(manifests, "Gateway")
        for service in gateway_services([gateway, *overlays])
        for port in service["spec"]["ports"]
        if "nodePort" in port
    }


def _api_clients(manifests: list[Manifest], pods: Pods) -> set[tuple[str, str, int]]:
    """Return the pods whose account has rights at the API server, with its port."""
    subjects = [(s["namespace"], s["name"]) for b in of_kind(manifests, "RoleBinding", "ClusterRoleBinding") for s in b["subjects"]]
    return {(*pod, API_SERVER_PORT) for subject in subjects if subject[0] != "kube-system" for pod in pods.of_account(*subject)}


def scraping_covers(manifests: list[Manifest], meshed: list[str], node_cidr: str) -> list[str]:
    """Prometheus reaches the mesh's parts, the proxies of the meshed namespaces and the kubelets; only it is let in there."""
    found = {name_of(policy).removeprefix("NetworkPolicy "): policy["spec"] for policy in of_kind(manifests, "NetworkPolicy")}
    namespace, labels = SCRAPER
    itself = [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}}, "podSelector": {"matchLabels": labels}}]
    outward = [
        {"to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "istio-system"}}, "podSelector": {"matchLabels": {"app": app}}}],
         "ports": _tcp(port)}
        for app, port in SCRAPED.items()
    ]  # fmt: skip
    proxies = [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}} for name in meshed]
    outward.append({"to": proxies, "ports": _tcp(PROXY_PORT)})
    outward.append({"to": [{"ipBlock": {"cidr": node_cidr}}], "ports": _tcp(KUBELET_PORT)})
    expected = {
        f"{namespace}/prometheus-platform": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"], "egress": outward},
        "istio-system/istiod-metrics": {
            "podSelector": {"matchLabels": {"app": "istiod"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": itself, "ports": _tcp(SCRAPED["istiod"])}],
        },
    } | {
        f"{name}/prometheus-proxies": {
            "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": itself, "ports": _tcp(PROXY_PORT)}],
        }
        for name in meshed
    }  # fmt: skip
    others = {name for name in found if name.endswith(("/prometheus-platform", "/prometheus-proxies", "/istiod-metrics"))} - set(expected)
    faults = [f"NetworkPolicy {name}: lets Prometheus reach what nothing declares" for name in sorted(others)]
    wrong = {name: spec for name, spec in expected.items() if found.get(name) != spec}
    return faults + [f"NetworkPolicy {name}: {found.get(name)}, expected {spec}" for name, spec in wrong.items()]


def _tcp(port: int) -> list[Manifest]:
    return [{"protocol": "TCP", "port": port}]


def _platform(policy: Manifest) -> list[str]:
    """Compare what all pods may reach, in words of Kubernetes' and Istio's own labels."""
    found = [
        (peer["namespaceSelector"]["matchLabels"], peer["podSelector"]["matchLabels"], _ports(rule))
        for rule in policy["spec"].get("egress") or []
        for peer in rule["to"]
    ]
    return [] if found == PLATFORM and policy["spec"]["podSelector"] == {} else [f"{name_of(policy)}: reaches {found}, expected {PLATFORM}"]


def _peers(policy: Manifest, peers: list[Manifest] | None, pods: Pods, faults: list[str]) -> set[Pod]:
    found: set[Pod] = set()
    for peer in peers or []:
        if "podSelector" in peer:
            namespaces = peer["namespaceSelector"]["matchLabels"]
            if set(namespaces) != {NAMESPACE_LABEL}:
                faults.append(f"{name_of(policy)}: {namespaces} is not the name of one namespace")
            several = pods.selected(namespaces.get(NAMESPACE_LABEL, ""), peer["podSelector"]["matchLabels"])
            if not several:
                faults.append(f"{name_of(policy)}: no pod of {namespaces} carries the labels {peer['podSelector']['matchLabels']}")
            found |= several
    return found


def _ports(rule: Manifest) -> list[int]:
    return [port["port"] for port in rule.get("ports") or []]


def exceptions_are(manifests: list[Manifest], matrix: list[Row], count: int = 7) -> list[str]:
    """PERMISSIVE ports are exactly those that nodes reach in plaintext; SPEC 4 says ``count`` of workloads.

    Keycloak's port 8080 serves N8 by a second Service; with it the matrix has one row for each of N2 to N8.
    """
    pods = pods_of(manifests, matrix)
    faults: list[str] = []
    found: set[tuple[str, str, int]] = set()
    policies = 0
    for policy in of_kind(manifests, "PeerAuthentication"):
        ports = policy["spec"].get("portLevelMtls") or {}
        policies += bool(ports)
        for port, setting in ports.items():
            if setting["mode"] != "PERMISSIVE":
                return [f"{name_of(policy)}: port {port} is {setting['mode']}"]
            found |= {(*pod, int(port)) for pod in _target(policy, policy["spec"]["selector"]["matchLabels"], pods, faults)}
    faults += _difference("PERMISSIVE port", found, _open_ports(matrix))
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
