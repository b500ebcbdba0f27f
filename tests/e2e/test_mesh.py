"""T-15: who may call whom, in either mode of the mesh: identity, plaintext, accounts, ports, network, databases; and pods."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError, path_of
from tests.live.declared import WORKLOADS
from tests.live.goods import Sql

from .probing import DATABASES, Mesh, faults, mesh, processes, seen  # noqa: F401 (fixture)

# A service, a database and the broker: HTTP and two protocols that the mesh carries as bytes.
PEERS = ("inventory/inventory-api:8001", "ecom/ecom-db:5432", "infra/kafka:9092")
# Theirs are reached from the nodes, which are no part of the mesh.
DOORS = {port["number"] for row in WORKLOADS.values() for port in row.get("ports", {}).values() if "node_port" in port}


def intruder(**context: Any) -> dict[str, Any]:
    """A pod that asks for more than it may have; it would do nothing."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "e2e-intruder", "namespace": "ecom"},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "intruder", "image": "intruder.invalid/none:0",
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}, **context,
                },
            }],
        },
    }  # fmt: skip


def admitted(cluster: Cluster, pod: dict[str, Any]) -> None:
    """Ask whether a pod would be let in, without making it; ClusterError says why not."""
    cluster.raw(path_of("Pod", "ecom"), "POST", pod, {"dryRun": "All"})


def test_strict_each_peer_proves_who_it_is(mesh: Mesh, cluster: Cluster) -> None:  # noqa: F811
    policies = cluster.objects("PeerAuthentication")
    modes = {(one["metadata"]["namespace"], (one["spec"].get("mtls") or {}).get("mode")) for one in policies}
    assert ("istio-system", "STRICT") in modes
    assert {mode for _, mode in modes} <= {"STRICT", "UNSET", None}
    excepted = {int(port) for one in policies for port in one["spec"].get("portLevelMtls") or {}}
    assert excepted <= DOORS, "a port takes plaintext that no node port leads to"
    edges = mesh.calls("identity", "allowed", to=PEERS)
    assert seen(edges, "identity") == set(PEERS)
    assert faults(edges) == []


def test_plaintext_is_refused(mesh: Mesh) -> None:  # noqa: F811
    """By a pod outside the mesh that the network lets through; the same destinations answer those who are inside."""
    edges = mesh.calls("plaintext", "allowed", to=PEERS)
    assert seen(edges, "plaintext") == set(PEERS)
    assert seen(edges, "allowed") == set(PEERS)
    assert faults(edges) == []


def test_a_wrong_principal_is_denied(mesh: Mesh) -> None:  # noqa: F811
    """Same namespace and same labels as a caller who is allowed, but another service account."""
    edges = mesh.calls("principal", "allowed", to=PEERS)
    assert seen(edges, "principal") == set(PEERS)
    assert seen(edges, "allowed") == set(PEERS)
    assert faults(edges) == []


def test_ports_of_a_service_are_apart(mesh: Mesh) -> None:  # noqa: F811
    """The gateway reaches the public port and not the internal one; who calls the internal one does not reach the public one."""
    ports = ("ecom/ecom-api:8000", "ecom/ecom-api:8001", "inventory/inventory-api:8000", "inventory/inventory-api:8001")
    edges = mesh.calls("port", to=ports)
    assert seen(edges, "port") == set(ports)
    assert faults(edges) == []


def test_the_network_drops_what_no_policy_allows(mesh: Mesh) -> None:  # noqa: F811
    """Silence, where a refusal would answer at once; the network of pods itself works."""
    edges = mesh.calls("dropped", "control", to=PEERS)
    assert seen(edges, "dropped") == set(PEERS)
    assert seen(edges, "control") == {"API server"}
    assert faults(edges) == []


def test_no_service_reaches_the_database_of_another(mesh: Mesh, ecom_sql: Sql, inventory_sql: Sql, analytics_sql: Sql) -> None:  # noqa: F811
    """Nor does a database know another's accounts, or a way to another."""
    for service in ("ecom-api", "inventory-api"):
        edges = mesh.databases_of_others(service)
        assert len(seen(edges, "port")) == len(DATABASES) - 1
        assert faults(edges) == []
    for name, sql in (("ecom", ecom_sql), ("inventory", inventory_sql), ("analytics", analytics_sql)):
        others = " OR ".join(f"rolname LIKE '{other}\\_%'" for other in ("ecom", "inventory", "keycloak", "analytics") if other != name)
        assert sql(f"SELECT count(*) FROM pg_roles WHERE {others}") == "0", name
        assert sql("SELECT count(*) FROM pg_extension WHERE extname IN ('dblink', 'postgres_fdw')") == "0", name


def test_no_process_runs_as_root(cluster: Cluster) -> None:
    found = processes(cluster)
    assert len(found) >= len(DATABASES)
    assert [name for name, process in found.items() if 0 in process["uid"]] == []
    with pytest.raises(ClusterError, match="runAsNonRoot"):
        admitted(cluster, intruder(runAsNonRoot=False, runAsUser=0))


def test_root_file_systems_are_read_only(cluster: Cluster) -> None:
    """As the kernel has them mounted; and who tries to write is told so."""
    assert [name for name, process in processes(cluster).items() if not process["read_only"]] == []
    for namespace, name in (("ecom", "ecom-db"), ("infra", "kafka")):
        container = "postgresql" if name.endswith("-db") else name
        with pytest.raises(ClusterError, match="Read-only file system"):
            cluster.execute(namespace, f"{name}-0", container, ["dd", "if=/dev/null", "of=/e2e-was-here"], 30)


def test_no_process_has_a_capability(cluster: Cluster) -> None:
    """Not even one that it could take, or hand on; system calls are filtered, and privileges cannot be gained."""
    for name, process in processes(cluster).items():
        assert set(process["capabilities"].values()) == {0}, name
        assert (process["no_new_privileges"], process["seccomp"]) == (True, True), name
    gain = {"allowPrivilegeEscalation": True}
    for wish in ({"capabilities": {"add": ["NET_ADMIN"]}}, gain, {**gain, "privileged": True}):
        with pytest.raises(ClusterError, match="violates PodSecurity") as refused:
            admitted(cluster, intruder(**wish))
        assert refused.value.status == 403, wish
