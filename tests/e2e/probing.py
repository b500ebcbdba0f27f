"""Calls between pods that prove what the mesh and the network let through: those of ``verify``, chosen by kind and destination."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_run
from ansible_collections.bookstore.platform.plugins.module_utils.mesh.mesh_plan import Account, Call, Plan, Probe
from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table
from tests.live.declared import MATRIX, NAMESPACES, WORKLOADS

Object = dict[str, Any]
EXEC_SOURCES = workload_table.exec_sources(WORKLOADS)
OUTSIDER = "storefront"
DATABASES = {"ecom-api": ("ecom", "ecom-db"), "inventory-api": ("inventory", "inventory-db"), "keycloak": ("identity", "keycloak-db")}
POSTGRES = 5432
# Starts of pods beside a full test run.
PATIENCE_S = 150.0


class Mesh:
    """The running mesh, in whatever mode it is."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.mode = mesh_plan.mesh_mode(cluster.objects("Namespace"))
        assert self.mode in ("ambient", "sidecar"), "no namespace is part of the mesh"
        self._scene = mesh_plan.Scene(cluster.objects("Pod"), cluster.objects("Service"), self.mode)
        self._image = mesh_run.workload_image(cluster, EXEC_SOURCES[0])
        assert self._image, f"{EXEC_SOURCES[0]} does not run; its image is what a probe is made of"

    def calls(self, *kinds: str, to: tuple[str, ...]) -> list[Object]:
        """Make the calls of these kinds to these destinations; judged, each as ``mesh_plan.judge`` describes it.

        Allowed calls are made by the callers themselves, where these hold an interpreter: only forbidden ones need a pod.
        """
        edges = workload_table.edges(MATRIX, WORKLOADS)
        plan = mesh_plan.Planner(self._scene, [Account.parse(text) for text in EXEC_SOURCES], OUTSIDER).build(edges, True)
        for probe in plan.probes:
            probe.calls = [
                call for call in probe.calls
                if call.kind in kinds and (call.destination in to or call.kind == "control") and (call.kind != "allowed" or probe.pod)
            ]  # fmt: skip
        plan.probes = [probe for probe in plan.probes if probe.calls]
        return self._made(plan)

    def databases_of_others(self, caller: str) -> list[Object]:
        """Let a service call its own database, and each of the others'."""
        namespace = DATABASES[caller][0]
        pod = self._scene.pods_as(Account(namespace, caller))[0]
        probe = Probe(namespace, caller, True, {}, pod=pod["metadata"]["name"], container=caller, node=pod["spec"]["nodeName"])
        for owner, (where, database) in DATABASES.items():
            kind, patience = ("allowed", mesh_plan.ALLOWED_PATIENCE) if owner == caller else ("port", 0.0)
            host = f"{database}.{where}.svc.cluster.local"
            probe.calls.append(Call(database, kind, f"{namespace}/{caller}", f"{where}/{database}", host, POSTGRES, "postgres", patience))
        return self._made(Plan([probe]))

    def _made(self, plan: Plan) -> list[Object]:
        settings = mesh_run.Settings(image=self._image, timeout=PATIENCE_S, outsider=OUTSIDER, exec_sources=EXEC_SOURCES)
        results = mesh_run.Runner(self.cluster, settings, self.mode, time).run(plan)
        return [
            mesh_plan.judge(call, probe, results.get(call.id), plan.destinations)
            for probe in plan.probes for call in probe.calls
        ]  # fmt: skip


@pytest.fixture
def mesh(cluster: Cluster) -> Mesh:
    """The running mesh, as it is now."""
    return Mesh(cluster)


def faults(edges: list[Object]) -> list[str]:
    """Return in words each call that did not go as it has to."""
    return [mesh_plan.describe(edge) for edge in edges if not edge["ok"]]


def seen(edges: list[Object], kind: str) -> set[str]:
    """Return the destinations that calls of a kind were made to."""
    return {edge["destination"] for edge in edges if edge["kind"] == kind}


def processes(cluster: Cluster) -> dict[str, Object]:
    """What the kernel says of the first process of each container of our workloads: {uid, capabilities, privileges, seccomp, root}."""
    places = [
        (pod["metadata"]["namespace"], pod["metadata"]["name"], container["name"])
        for pod in cluster.objects("Pod")
        if pod["metadata"]["namespace"] in NAMESPACES and mesh_plan.PROBE_LABEL not in (pod["metadata"].get("labels") or {})
        and pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        for container in pod["spec"]["containers"]
    ]  # fmt: skip

    def look(place: tuple[str, str, str]) -> Object:
        return _read(cluster.execute(*place, ["cat", "/proc/1/status", "/proc/1/mounts"], 30))

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(["/".join(place) for place in places], pool.map(look, places), strict=True))


def _read(text: str) -> Object:
    lines = text.splitlines()
    said = dict(line.split(":", 1) for line in lines if line.split(":", 1)[0] in STATUS)
    # A mount over another one hides it.
    root = [line.split()[3].split(",") for line in lines if len(line.split()) == 6 and line.split()[1] == "/"][-1]
    return {
        "uid": {int(one) for one in said["Uid"].split()},
        "capabilities": {name: int(said[name], 16) for name in CAPABILITIES},
        "no_new_privileges": said["NoNewPrivs"].strip() == "1",
        "seccomp": said["Seccomp"].strip() == "2",
        "read_only": "ro" in root,
    }


# Effective, permitted, inheritable, bounding and ambient ones.
CAPABILITIES = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")
STATUS = {*CAPABILITIES, "Uid", "NoNewPrivs", "Seccomp"}
