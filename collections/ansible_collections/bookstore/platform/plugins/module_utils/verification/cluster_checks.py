# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of what the cluster holds: nodes, workloads, volumes, ports, memory."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import readiness
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.readiness import State
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    Context,
    Finding,
    Object,
    skipped,
    verdict,
)

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def label(obj: Object) -> str:
    """Return <namespace>/<name>."""
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}".lstrip("/")


def real_pods(context: Context) -> list[Object]:
    """Return all pods but probes and those that ended or are being deleted."""
    return [
        p
        for p in context.objects["Pod"]
        if mesh_plan.PROBE_LABEL not in (p["metadata"].get("labels") or {})
        and p.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        and not p["metadata"].get("deletionTimestamp")
    ]


def workload_pods(context: Context) -> list[Object]:
    """Return the pods of the workload namespaces."""
    return [p for p in real_pods(context) if p["metadata"]["namespace"] in context.params["namespaces"]]


def containers(pod: Object) -> list[Object]:
    """Return all containers of a pod, init containers first."""
    return [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]


def nodes(context: Context) -> Finding:
    """As many nodes as declared, each Ready and none cordoned."""
    faults, found = [], context.objects["Node"]
    control = [n for n in found if CONTROL_PLANE in (n["metadata"].get("labels") or {})]
    want_control, want_workers = context.params["control_planes"], context.params["workers"]
    if len(control) != want_control or len(found) - len(control) != want_workers:
        faults.append(
            f"{len(control)} control-plane and {len(found) - len(control)} worker nodes, "
            f"expected {want_control} and {want_workers}"
        )
    for node in found:
        state = readiness.node(node)
        if state.state is not State.READY:
            faults.append(f"node {label(node)}: {state.reason}")
        if readiness.cordoned(node):
            faults.append(f"node {label(node)}: {readiness.cordoned(node)}")
    return verdict(faults, f"{len(control)} control-plane, {len(found) - len(control)} workers, all Ready, none cordoned")


def workloads(context: Context) -> Finding:
    """Every declared workload exists; every existing one is ready."""
    faults, seen = [], set()
    for kind in WORKLOAD_KINDS:
        for obj in context.objects[kind]:
            seen.add((kind, label(obj)))
            state = readiness.PREDICATES[kind](obj)
            if state.state is not State.READY:
                faults.append(f"{kind} {label(obj)}: {state.reason}")
    for entry in context.params["workloads"]:
        if (entry["kind"], f"{entry['namespace']}/{entry['name']}") not in seen:
            faults.append(f"{entry['kind']} {entry['namespace']}/{entry['name']} does not exist")
    for pod in real_pods(context):
        state = readiness.pod(pod)
        if state.state is not State.READY:
            faults.append(f"Pod {label(pod)}: {state.reason}")
    return verdict(faults, f"{len(seen)} workloads, {len(real_pods(context))} pods ready")


def volumes(context: Context) -> Finding:
    """Every claim is bound, and every claim that a pod mounts exists."""
    faults, bound = [], set()
    for obj in context.objects["PersistentVolumeClaim"]:
        state = readiness.claim(obj)
        if state.state is State.READY:
            bound.add(label(obj))
        else:
            faults.append(f"PersistentVolumeClaim {label(obj)}: {state.reason}")
    used = set()
    for pod in real_pods(context):
        for volume in pod["spec"].get("volumes") or []:
            if "persistentVolumeClaim" in volume:
                used.add(f"{pod['metadata']['namespace']}/{volume['persistentVolumeClaim']['claimName']}")
    faults += [f"claim {name} is mounted but not bound" for name in sorted(used - bound)]
    return verdict(faults, f"{len(bound)} claims bound, {len(used)} in use")


def node_ports(context: Context) -> Finding:
    """Exactly the declared NodePorts: those deployed exist, and there is no other (SPEC 2.1)."""
    declared = {(p["namespace"], p["service"], p["node_port"]): p for p in context.params["nodeports"]}
    found = set()
    for service in context.objects["Service"]:
        spec = service["spec"]
        for port in spec.get("ports") or []:
            if spec.get("type") in ("NodePort", "LoadBalancer") or port.get("nodePort"):
                found.add((service["metadata"]["namespace"], service["metadata"]["name"], port.get("nodePort")))
    faults = [
        f"Service {ns}/{name} has node port {number}, which is not declared"
        for ns, name, number in sorted(found - set(declared), key=str)
    ]
    required = context.params["nodeports_required"]
    missing = [key for key, entry in declared.items() if entry["id"] in required and key not in found]
    faults += [f"node port {number} of Service {ns}/{name} does not exist" for ns, name, number in sorted(missing)]
    later = sorted({e["id"] for e in declared.values()} - {declared[k]["id"] for k in found if k in declared})
    note = f"; not deployed: {', '.join(later)}" if later else ""
    return verdict(faults, f"{len(found)} node ports, all declared{note}")


def no_ingress(context: Context) -> Finding:
    """No Ingress resource (SPEC 4.1: HTTPRoutes only)."""
    return verdict([f"Ingress {label(obj)} exists" for obj in context.objects["Ingress"]], "none")


def memory(context: Context) -> Finding:
    """Measure what the node containers use, MiB; the ceiling is a parameter, 0 means none."""
    if context.memory is None:
        return skipped("not measured in check mode")
    used = context.memory.result()
    if not used:
        return skipped("the Docker engine knows no container of this cluster")
    unknown = [name for name, mib in used.items() if not mib]
    if unknown:
        return skipped(f"the Docker engine gave no figures for {', '.join(sorted(unknown))}")
    total, ceiling = sum(used.values()), context.params["memory_ceiling_mib"]
    parts = ", ".join(f"{name} {mib}" for name, mib in sorted(used.items()))
    faults = [f"{total} MiB in use, more than the ceiling of {ceiling} MiB ({parts})"] if 0 < ceiling < total else []
    return verdict(faults, f"{total} MiB in use ({parts})", {"memory_mib": total, "containers_mib": used})


def component(entry: Object) -> Callable[[Context], Finding]:
    """Return the check of a component that an image source may lack (SPEC 13.1): skipped when absent, never passed."""

    def check(context: Context) -> Finding:
        found = [o for o in context.objects[entry["kind"]] if label(o) == f"{entry['namespace']}/{entry['workload']}"]
        if not found:
            return skipped(entry["reason"])
        state = readiness.PREDICATES[entry["kind"]](found[0])
        return verdict([] if state.state is State.READY else [state.reason], "deployed and ready")

    return check
