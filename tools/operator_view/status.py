"""`make status`: nodes, workloads with restarts and memory, addresses, data plane of the mesh, image sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.images import ledger
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness, workloads
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.readiness import State
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import data_plane
from ansible_collections.bookstore.platform.plugins.plugin_utils import addresses
from operator_view import facts
from operator_view.settings import Settings, load

Object = dict[str, Any]

KINDS = ("StatefulSet", "Deployment", "DaemonSet")
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "K": 10**3, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass
class View:
    """What is shown. ``troubles``: why the platform is not healthy."""

    nodes: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def to_bytes(quantity: str) -> int:
    """Return a Kubernetes quantity (256Mi, 1G, 1024) in bytes."""
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return int(float(quantity.removesuffix(unit)) * factor)
    return int(float(quantity))


def mib(size: int) -> int:
    """Return bytes in MiB."""
    return round(size / 2**20)


def memory_by_pod(summaries: list[Object]) -> dict[str, int]:
    """Return the bytes that each pod uses, by <namespace>/<name>, from the nodes' statistics."""
    used: dict[str, int] = {}
    for summary in summaries:
        for pod in summary.get("pods") or []:
            key = f"{pod['podRef']['namespace']}/{pod['podRef']['name']}"
            used[key] = sum(
                int((c.get("memory") or {}).get("workingSetBytes") or 0) for c in pod.get("containers") or []
            )
    return used


def limit_of(pod: Object) -> int:
    """Return the memory limit of a pod's containers together, bytes; 0 when one has none."""
    limits = [(c.get("resources") or {}).get("limits", {}).get("memory") for c in pod["spec"]["containers"]]
    return sum(to_bytes(x) for x in limits) if all(limits) else 0


def row(owner: Object, pods: list[Object], used: dict[str, int], verdict: readiness.Verdict) -> str:
    """Return a workload as a line: ready pods, restarts, memory against the limit."""
    ready = sum(1 for pod in pods if readiness.pod(pod).state is State.READY)
    restarts = sum(
        int(c.get("restartCount") or 0) for p in pods for c in p.get("status", {}).get("containerStatuses") or []
    )
    memory = sum(used.get(f"{p['metadata']['namespace']}/{p['metadata']['name']}", 0) for p in pods)
    limit = sum(limit_of(pod) for pod in pods)
    name = f"{owner['metadata']['namespace']}/{owner['metadata']['name']}"
    text = f"  {name:<40}{ready}/{len(pods):<4}restarts {restarts:<4}{mib(memory):>6} of {mib(limit) or '-':>5} MiB"
    return text if verdict.state is State.READY else f"{text}   {verdict.reason}"


def look(cluster: Cluster, settings: Settings) -> View:
    """Return the view of a cluster that answers."""
    view = View()
    nodes = cluster.objects("Node")
    for node in nodes:
        verdict = readiness.node(node)
        view.nodes.append(f"  {node['metadata']['name']:<40}{verdict.reason or readiness.cordoned(node) or 'ready'}")
        if verdict.state is not State.READY:
            view.troubles.append(f"BK-206: node {node['metadata']['name']}: {verdict.reason}; run: make recover")
    summaries = []
    for node in nodes:
        try:
            summaries.append(cluster.node_summary(node["metadata"]["name"]))
        except ClusterError as error:
            view.notes.append(f"no memory figures of {node['metadata']['name']}: {error}")
    used = memory_by_pod(summaries)
    pods, replica_sets = cluster.objects("Pod"), cluster.objects("ReplicaSet")
    for kind in KINDS:
        for owner in cluster.objects(kind):
            mine = workloads.owned_by(owner, pods, replica_sets)
            verdict = readiness.judge(owner, mine)
            view.rows.append(row(owner, mine, used, verdict))
            if verdict.state is not State.READY:
                name = f"{owner['metadata']['namespace']}/{owner['metadata']['name']}"
                view.troubles.append(f"BK-207: {kind} {name}: {verdict.reason}")
    view.addresses = served(cluster.objects("Service"), settings)
    if not view.addresses:
        view.troubles.append("BK-209: no address is served yet; run: make up")
    view.notes.insert(0, f"mesh: {data_plane.look(cluster.objects('Namespace'), pods).describe()}")
    view.notes += facts.image_sources(settings)
    view.notes.append(f"memory of all pods {mib(sum(used.values()))} MiB")
    return view


def served(services: list[Object], settings: Settings) -> list[str]:
    """Return the declared addresses whose Service exists."""
    ports = {
        (s["metadata"]["namespace"], s["metadata"]["name"], p.get("nodePort"))
        for s in services
        for p in s["spec"].get("ports") or []
    }
    there = {e["node_port"] for e in settings.nodeports if (e["namespace"], e["service"], e["node_port"]) in ports}
    hosts = {host.partition(".")[0]: host for host in settings.hosts}
    return addresses.lines(settings.nodeports, hosts, settings.https_port, there)


def render(view: View) -> str:
    """Return the view as text."""
    parts = [
        "Nodes",
        *view.nodes,
        "Workloads",
        *sorted(view.rows),
        "Addresses",
        *(view.addresses or ["  none"]),
        "; ".join(view.notes),
    ]
    if view.troubles:
        return "\n".join([*parts, f"NOT healthy: {len(view.troubles)} troubles", *(f"  {t}" for t in view.troubles)])
    return "\n".join([*parts, "Healthy. Next: make verify"])


def down(settings: Settings, error: ClusterError) -> str:
    """Return what to say when there is no cluster to look at."""
    containers = facts.ask(facts.node_containers, settings)
    remedy = containers.fix or "BK-202: the nodes run but the API server is silent; run: make recover"
    return f"The platform is down: {error}\nNode containers: {containers.value}\nFIX: {remedy}"


def main() -> int:
    """Print the status; 0 when healthy, 1 when not."""
    settings = load()
    try:
        view = look(Cluster(str(settings.kubeconfig), request_timeout=5.0), settings)
    except ClusterError as error:
        print(down(settings, error))
        return 1
    sources = sorted({entry.source for entry in ledger.Ledger(settings.state / "ledger.json").read().values()})
    if sources:
        view.notes.append(f"images from {', '.join(sources)}")
    print(render(view))
    return 1 if view.troubles else 0
