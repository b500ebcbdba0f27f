# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Decides what to probe: from the authorization matrix (SPEC 4.3) and what is deployed, to calls and probe pods.

What each kind of call proves:

- allowed: the matrix edge works for its own account.
- principal: the same pod labels, namespace, destination and port, but another service account, are denied. Since
  only the certificate differs from ``allowed``, the pair proves that the destination checks the caller's identity.
- plaintext: a pod outside the mesh, let through by the NetworkPolicy, is refused (PeerAuthentication STRICT).
- identity: the destination presents a certificate of the mesh's authority with its own SPIFFE id.
- port: the right account is denied on a port that the matrix gives to others.
- dropped: a packet that the NetworkPolicy forbids vanishes: a timeout, where a refusal would answer at once.
- control: the bare pod network works, so that a timeout means a dropped packet and not a broken network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

# Where the node proxies of ambient mode take what is meant for their pods.
HBONE_PORT = 15008

# What a probe speaks; whether anything else was answered cannot be told from a proxy's own reply.
PROTOCOLS = frozenset({"http", "postgres", "redis", "kafka"})
# Labels that belong to a pod's owner or its sidecar, not to the workload.
FOREIGN_LABELS = frozenset({
    "pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index", "security.istio.io/tlsMode", "service.istio.io/canonical-name", "service.istio.io/canonical-revision",
    "istio.io/rev", "sidecar.istio.io/inject", "istio.io/dataplane-mode",
})  # fmt: skip
DENIED = ("rbac_denied", "reset")
EXPECTED: dict[str, tuple[str, ...]] = {
    "allowed": ("answered",),
    "principal": DENIED,
    "plaintext": ("reset",),
    "identity": ("answered",),
    "port": (*DENIED, "timeout"),
    "dropped": ("timeout",),
    "control": ("answered",),
}
PROBE_LABEL = "platform.bookstore/probe"
CALL_TIMEOUT = 4.0
ALLOWED_PATIENCE = 15.0
# A node drops packets of a pod elsewhere until a kubelet reported its address: silence proves nothing about the peer then,
# so it is waited for. Any reply counts at once, lest a gap that closes later be overlooked.
WAITED_FOR = frozenset({"principal", "plaintext", "identity"})


@dataclass(frozen=True)
class Account:
    """A source: ``<namespace>/<service account>``."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Account:
        """Return the account of ``<namespace>/<name>``; ValueError says what to write instead."""
        namespace, _, name = text.partition("/")
        if not namespace or not name or "/" in name:
            raise ValueError(f"source={text} must be <namespace>/<service account>")
        return cls(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Call:
    """One call of a probe. ``identity`` is the SPIFFE id to find, for kind identity only."""

    id: str
    kind: str
    source: str
    destination: str
    host: str
    port: int
    protocol: str
    patience: float = 0.0
    identity: str = ""

    def request(self, ca: str) -> Object:
        """Return the call as probe_script reads it."""
        body: Object = {
            "id": self.id,
            "host": self.host,
            "port": self.port,
            "protocol": self.protocol,
            "timeout": CALL_TIMEOUT,
            "patience": self.patience,
        }
        if self.kind in WAITED_FOR:
            body = {**body, "patience": ALLOWED_PATIENCE, "while": ["timeout"]}
        return {**body, "ca": ca} if self.protocol == "tls" else body


@dataclass
class Probe:
    """A pod to make calls from; ``pod`` and ``container`` name an existing one to run in instead.

    ``pin``: the node on which it has to run.
    """

    namespace: str
    account: str
    meshed: bool
    labels: dict[str, str]
    calls: list[Call] = field(default_factory=list)
    pod: str = ""
    container: str = ""
    node: str = ""
    pin: str = ""


@dataclass
class Plan:
    """``skipped``: matrix rows and sources that are not tested, each with the reason."""

    probes: list[Probe] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    destinations: dict[str, list[Object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """What is deployed: pods and services of all namespaces; the mesh's mode and names."""

    pods: list[Object]
    services: list[Object]
    mode: str
    trust_domain: str = "cluster.local"

    def pods_of(self, namespace: str, workload: str) -> list[Object]:
        """Return the running pods of a workload; probes do not count."""
        return [
            p
            for p in self._running(namespace)
            if p["metadata"].get("labels", {}).get("app.kubernetes.io/name") == workload
        ]

    def pods_as(self, account: Account) -> list[Object]:
        """Return the running pods of a service account."""
        return [p for p in self._running(account.namespace) if p["spec"].get("serviceAccountName") == account.name]

    def _running(self, namespace: str) -> list[Object]:
        return [
            p
            for p in self.pods
            if p["metadata"]["namespace"] == namespace
            and p.get("status", {}).get("phase") == "Running"
            and PROBE_LABEL not in (p["metadata"].get("labels") or {})
            and not p["metadata"].get("deletionTimestamp")
        ]

    def service_port(self, namespace: str, workload: str, port: int) -> tuple[str, int] | None:
        """Return host name and port of the Service through which a workload's port is called."""
        pods = self.pods_of(namespace, workload)
        labels = pods[0]["metadata"].get("labels", {}) if pods else {}
        found = []
        for service in self.services:
            selector = service["spec"].get("selector") or {}
            if service["metadata"]["namespace"] != namespace or not selector or not selector.items() <= labels.items():
                continue
            for entry in service["spec"].get("ports") or []:
                if entry["port"] == port or entry.get("targetPort") == port:
                    # The Service named as the workload comes first, one without an address (headless) last.
                    rank = (service["metadata"]["name"] != workload, service["spec"].get("clusterIP") == "None")
                    found.append((rank, service["metadata"]["name"], int(entry["port"])))
        if not found:
            return None
        _, name, number = min(found)
        return f"{name}.{namespace}.svc.cluster.local", number


def mesh_mode(namespaces: list[Object]) -> str:
    """Return ambient, sidecar or none, as the namespaces' labels say."""
    labels = [n["metadata"].get("labels") or {} for n in namespaces]
    if any(entry.get("istio.io/dataplane-mode") == "ambient" for entry in labels):
        return "ambient"
    return "sidecar" if any(entry.get("istio-injection") == "enabled" for entry in labels) else "none"


def workload_labels(pod: Object) -> dict[str, str]:
    """Return the labels of a pod that Services and policies select by."""
    return {k: v for k, v in (pod["metadata"].get("labels") or {}).items() if k not in FOREIGN_LABELS}


def protocol_of(row: Object, port: int) -> str | None:
    """Return how a row's port is spoken to; None when a reply cannot be told from a proxy's."""
    protocol = (row.get("protocols") or {}).get(str(port))
    return protocol if protocol in PROTOCOLS else None


class Planner:
    """Builds a Plan. ``exec_sources``: accounts whose own pods hold python3 and make their allowed calls themselves.

    ``pinned``: a probe of the mesh runs on the node of the pod for which it stands, and so proves that node's part in the edge.
    """

    def __init__(self, scene: Scene, exec_sources: list[Account], outsider: str, pinned: bool = False) -> None:
        self.scene = scene
        self.pinned = pinned
        self.exec_sources = exec_sources
        self.outsider = outsider
        self.plan = Plan()
        self._probes: dict[tuple[str, str, str], Probe] = {}
        self._count = 0

    def build(self, matrix: list[Object], full: bool) -> Plan:
        """Plan all rows of the matrix; without ``full`` only their allowed edges."""
        for row in matrix:
            for port in row["ports"]:
                self._row(row, int(port), matrix, full)
        if full and self.plan.destinations:
            self._controls()
        self.plan.probes = [p for p in self._probes.values() if p.calls]
        return self.plan

    def _row(self, row: Object, port: int, matrix: list[Object], full: bool) -> None:
        namespace, workload = row["namespace"], row["workload"]
        target = f"{namespace}/{workload}:{port}"
        pods = self.scene.pods_of(namespace, workload)
        if not pods:
            self.plan.skipped.append(f"{target} is not deployed")
            return
        address, protocol = self.scene.service_port(namespace, workload, port), protocol_of(row, port)
        sources = []
        for text in row["sources"]:
            account = Account.parse(text)
            if not self.scene.pods_as(account):
                self.plan.skipped.append(f"{account} -> {target}: the source is not deployed")
            elif address is None or protocol is None:
                self.plan.skipped.append(f"{account} -> {target}: no Service has this port, or its protocol is unknown")
            else:
                sources.append(account)
        if not sources or address is None or protocol is None:
            return
        self.plan.destinations[target] = pods
        for account in sources:
            self._add(
                self._insider(account), "allowed", str(account), target, address, protocol, patience=ALLOWED_PATIENCE
            )
        if full:
            self._forbidden(sources[0], target, address, protocol, pods[0])
            self._other_ports(sources[0], row, matrix)

    def _forbidden(self, source: Account, target: str, address: tuple[str, int], protocol: str, pod: Object) -> None:
        stands_for = self.scene.pods_as(source)[0]
        labels = workload_labels(stands_for)
        stranger = self._probe(source.namespace, "default", True, labels)
        self._pin(stranger, stands_for)
        self._add(stranger, "principal", f"{source.namespace}/default", target, address, protocol)
        bare = self._probe(source.namespace, "default", False, labels)
        self._add(bare, "plaintext", f"{source.namespace} pod outside the mesh", target, address, protocol)
        account = pod["spec"].get("serviceAccountName", "default")
        spiffe = f"spiffe://{self.scene.trust_domain}/ns/{pod['metadata']['namespace']}/sa/{account}"
        where = address if self.scene.mode == "sidecar" else (pod["status"]["podIP"], HBONE_PORT)
        self._add(bare, "identity", f"{source.namespace} pod outside the mesh", target, where, "tls", identity=spiffe)
        for namespace in (self.outsider, "default"):
            outside = self._probe(namespace, "default", False, {})
            self._add(outside, "dropped", f"namespace {namespace}", target, address, protocol)

    def _other_ports(self, source: Account, row: Object, matrix: list[Object]) -> None:
        """The same account on ports of the same workload that the matrix gives to others only."""
        for other in matrix:
            if (other["namespace"], other["workload"]) != (row["namespace"], row["workload"]) or str(source) in other[
                "sources"
            ]:
                continue
            for port in other["ports"]:
                address = self.scene.service_port(row["namespace"], row["workload"], int(port))
                protocol = protocol_of(other, int(port))
                if address is not None and protocol is not None:
                    target = f"{row['namespace']}/{row['workload']}:{port}"
                    self._add(self._insider(source), "port", str(source), target, address, protocol)

    def _controls(self) -> None:
        server = ("kubernetes.default.svc.cluster.local", 443)
        self._add(
            self._probe("default", "default", False, {}), "control", "namespace default", "API server", server, "tcp"
        )
        outside = self._probe(self.outsider, "default", False, {})
        self._add(outside, "dropped", f"namespace {self.outsider}", "API server", server, "tcp")

    def _insider(self, account: Account) -> Probe:
        pod = self.scene.pods_as(account)[0]
        probe = self._probe(account.namespace, account.name, True, workload_labels(pod))
        if account in self.exec_sources:
            probe.pod, probe.node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
            probe.container = next(c["name"] for c in pod["spec"]["containers"] if c["name"] != "istio-proxy")
        else:
            self._pin(probe, pod)
        return probe

    def _pin(self, probe: Probe, pod: Object) -> None:
        if self.pinned:
            probe.pin = probe.node = pod["spec"].get("nodeName", "")

    def _probe(self, namespace: str, account: str, meshed: bool, labels: dict[str, str]) -> Probe:
        key = (namespace, f"{account}/{meshed}", str(sorted(labels.items())))
        return self._probes.setdefault(key, Probe(namespace, account, meshed, labels))

    def _add(
        self,
        probe: Probe,
        kind: str,
        source: str,
        target: str,
        address: tuple[str, int],
        protocol: str,
        *,
        patience: float = 0.0,
        identity: str = "",
    ) -> None:
        if any((c.kind, c.destination) == (kind, target) for c in probe.calls):
            return
        self._count += 1
        probe.calls.append(
            Call(f"c{self._count}", kind, source, target, address[0], address[1], protocol, patience, identity)
        )


def judge(call: Call, probe: Probe, result: Object | None, destinations: dict[str, list[Object]]) -> Object:
    """Return a tested edge.

    {kind, source, destination, expected, outcome, detail, seconds, ok, source_node, source_pod, destination_nodes, pods}; source_pod is
    empty where a probe pod stands for it.
    """
    seen = result or {"outcome": "error", "detail": "the probe gave no result", "seconds": 0.0}
    expected = list(EXPECTED[call.kind])
    ok = seen["outcome"] in expected
    detail = seen["detail"]
    if ok and call.kind == "identity" and detail != call.identity:
        ok, detail = False, f"found {detail}, expected {call.identity}"
    pods = destinations.get(call.destination, [])
    return {
        "kind": call.kind,
        "source": call.source,
        "destination": call.destination,
        "expected": expected,
        "outcome": seen["outcome"],
        "detail": detail,
        "seconds": seen["seconds"],
        "ok": ok,
        "source_node": probe.node,
        "source_pod": f"{probe.namespace}/{probe.pod}" if probe.pod else "",
        "destination_nodes": sorted({p["spec"].get("nodeName", "") for p in pods}),
        "pods": sorted(f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in pods),
    }


def describe(edge: Object) -> str:
    """Return a tested edge, as judge() gives it, as a line."""
    call = f"{edge['kind']}: {edge['source']} -> {edge['destination']}"
    return f"{call}: expected {' or '.join(edge['expected'])}, got {edge['outcome']} ({edge['detail']})"


def shared(broken: list[Object]) -> tuple[list[str], list[str]]:
    """Return the nodes and the pods that all broken allowed edges have in common: where to look first."""
    edges = [e for e in broken if e["kind"] == "allowed"]
    if not edges:
        return [], []
    nodes = set.intersection(*({e["source_node"], *e["destination_nodes"]} for e in edges)) - {""}
    pods = set.intersection(*(set(e["pods"]) for e in edges))
    return sorted(nodes), sorted(pods)
