"""Each check of the cluster's objects with a good and a bad fixture."""

from __future__ import annotations

import copy
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.engine.docker import DockerError
from ansible_collections.bookstore.platform.plugins.module_utils.kind import certificates
from ansible_collections.bookstore.platform.plugins.module_utils.kind.certificates import Certificate
from ansible_collections.bookstore.platform.plugins.module_utils.mesh import mesh_plan, mesh_run
from ansible_collections.bookstore.platform.plugins.module_utils.verification import cluster_checks, security_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Context, Finding, Object, Web

GOOD_POD = yaml.safe_load((Path(__file__).parent / "fixtures/good_pod.yml").read_text(encoding="utf-8"))
READY = [{"type": "Ready", "status": "True"}]


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


def context(params: Object | None = None, mesh: Any = None, memory: Any = None, **objects: list[Object]) -> Context:
    every = ("Node", "Namespace", "Pod", "Service", "PersistentVolumeClaim", "Ingress", "PeerAuthentication",
             "BootstrapToken", "Deployment", "StatefulSet", "DaemonSet", "Job")  # fmt: skip
    defaults: Object = {
        "namespaces": ["ecom"], "workloads": [], "control_planes": 1, "workers": 1,
        "images": {},
        "image_source": "packages", "memory_ceiling_mib": 4096, "nodeports": [], "nodeports_required": [],
    }  # fmt: skip
    return Context(
        {**defaults, **(params or {})}, {kind: objects.get(kind, []) for kind in every}, Web(),
        None if mesh is None else done(mesh), None if memory is None else done(memory),
    )  # fmt: skip


def named(name: str, namespace: str = "ecom", **more: Any) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, **more.pop("metadata", {})}, **more}


def pod(name: str = "p", namespace: str = "ecom", spec: Object | None = None, **labels: str) -> Object:
    status = {"phase": "Running", "conditions": READY}
    return named(name, namespace, metadata={"labels": labels}, spec=spec or copy.deepcopy(GOOD_POD), status=status)


def node(name: str, control: bool = False, ready: str = "True") -> Object:
    labels = {cluster_checks.CONTROL_PLANE: ""} if control else {}
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def failed(finding: Finding, *words: str) -> None:
    assert finding.status == "failed"
    for word in words:
        assert any(word in fault for fault in finding.faults), finding.faults


def test_nodes() -> None:
    good = [node("c", control=True), node("w")]
    assert cluster_checks.nodes(context(Node=good)).status == "passed"
    failed(cluster_checks.nodes(context(Node=good[:1])), "1 control-plane and 0 worker nodes, expected 1 and 1")
    failed(cluster_checks.nodes(context(Node=[good[0], node("w", ready="Unknown")])), "node w: Ready is Unknown")


@pytest.mark.parametrize("taint", [[], [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]])
def test_a_cordoned_node_is_named_with_the_command_that_ends_it(taint: list[Object]) -> None:
    drained = {**node("w"), "spec": {"unschedulable": True, "taints": taint}}
    found = cluster_checks.nodes(context(Node=[node("c", control=True), drained]))
    failed(found, "node w: it is cordoned", "kubectl uncordon w`")
    both = {**node("w", ready="False"), "spec": {"unschedulable": True}}
    failed(cluster_checks.nodes(context(Node=[node("c", control=True), both])), "Ready is False", "kubectl uncordon w`")
    ended = {**node("w"), "spec": {"unschedulable": False}}
    assert cluster_checks.nodes(context(Node=[node("c", control=True), ended])).status == "passed"


def test_certificates_that_end_soon_are_named() -> None:
    now = certificates.now()
    good = Certificate("good", now - timedelta(days=1), now + timedelta(days=364))
    asked = {**context({"certificate_days": 30}).__dict__}
    assert security_checks.certificates_last(Context(**asked)).status == "skipped"
    assert "good ends in 36" in security_checks.certificates_last(Context(**{**asked, "certificates": done([good])})).detail
    ending = Certificate("ending", now - timedelta(days=350), now + timedelta(days=15))
    slept = Certificate("slept", now - timedelta(hours=30), now - timedelta(hours=6))
    found = security_checks.certificates_last(Context(**{**asked, "certificates": done([good, ending, slept])}))
    failed(found, "ending ends in 1", "slept has ended on")
    assert len(found.faults) == 2
    failed(security_checks.certificates_last(Context(**{**asked, "certificates": done(DockerError("BK-234: no node"))})), "no node")


def test_any_bootstrap_token_fails_and_its_value_is_not_shown() -> None:
    assert security_checks.bootstrap_tokens(context()).status == "passed"
    token = named("bootstrap-token-x1y2z3", "kube-system")
    failed(security_checks.bootstrap_tokens(context(BootstrapToken=[token])), "Secret kube-system/bootstrap-token-x1y2z3")


def test_workloads() -> None:
    status = {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 1}
    api = named("ecom-api", metadata={"generation": 1}, spec={"replicas": 1}, status=status)
    wanted = {"workloads": [{"kind": "Deployment", "namespace": "ecom", "name": "ecom-api"}]}
    assert cluster_checks.workloads(context(wanted, Deployment=[api], Pod=[pod()])).status == "passed"
    failed(cluster_checks.workloads(context(wanted)), "Deployment ecom/ecom-api does not exist")
    broken = {**api, "status": {**status, "availableReplicas": 0}}
    failed(cluster_checks.workloads(context(wanted, Deployment=[broken])), "0/1 available")
    bare = named("x", spec=GOOD_POD, status={"phase": "Pending"})
    failed(cluster_checks.workloads(context(Pod=[bare])), "Pod ecom/x: phase Pending")


def test_probes_and_ended_pods_are_no_workloads() -> None:
    probe = pod("mesh-probe", **{mesh_plan.PROBE_LABEL: "1"})
    probe["status"] = {"phase": "Pending"}
    ended = named("job-1", spec=GOOD_POD, status={"phase": "Failed"})
    assert cluster_checks.real_pods(context(Pod=[probe, ended])) == []


def test_volumes() -> None:
    claim = named("data-ecom-db-0", status={"phase": "Bound"})
    assert cluster_checks.volumes(context(PersistentVolumeClaim=[claim], Pod=[pod()])).status == "passed"
    failed(cluster_checks.volumes(context(Pod=[pod()])), "claim ecom/data-ecom-db-0 is mounted but not bound")
    pending = named("x", status={"phase": "Pending"})
    failed(
        cluster_checks.volumes(context(PersistentVolumeClaim=[pending])), "PersistentVolumeClaim ecom/x: phase Pending"
    )


def test_node_ports() -> None:
    declared = [
        {"id": "N1", "namespace": "gateway", "service": "gw", "node_port": 30000},
        {"id": "N2", "namespace": "admin-tools", "service": "pgadmin", "node_port": 31111},
    ]
    params = {"nodeports": declared, "nodeports_required": ["N1"]}
    gateway = named("gw", "gateway", spec={"type": "NodePort", "ports": [{"nodePort": 30000}]})
    finding = cluster_checks.node_ports(context(params, Service=[gateway]))
    assert finding.status == "passed"
    assert "not deployed: N2" in finding.detail
    failed(cluster_checks.node_ports(context(params)), "node port 30000 of Service gateway/gw does not exist")
    stray = named("debug", spec={"type": "NodePort", "ports": [{"nodePort": 31999}]})
    failed(cluster_checks.node_ports(context(params, Service=[gateway, stray])), "ecom/debug has node port 31999")
    moved = named("gw", "gateway", spec={"type": "NodePort", "ports": [{"nodePort": 30001}]})
    failed(cluster_checks.node_ports(context(params, Service=[moved])), "has node port 30001", "node port 30000")


def test_ingress() -> None:
    assert cluster_checks.no_ingress(context()).status == "passed"
    failed(cluster_checks.no_ingress(context(Ingress=[named("old")])), "Ingress ecom/old exists")


def test_memory() -> None:
    finding = cluster_checks.memory(context(memory={"w": 1000, "c": 1500}))
    assert (finding.status, finding.data["memory_mib"]) == ("passed", 2500)
    failed(
        cluster_checks.memory(context({"memory_ceiling_mib": 2000}, memory={"w": 2500})),
        "2500 MiB in use, more than the ceiling of 2000",
    )
    assert cluster_checks.memory(context({"memory_ceiling_mib": 0}, memory={"w": 9999})).status == "passed"
    assert cluster_checks.memory(context(memory={})).status == "skipped"
    late = cluster_checks.memory(context(memory={"w": 1000, "c": 0}))
    assert (late.status, late.detail) == ("skipped", "the Docker engine gave no figures for c")
    assert cluster_checks.memory(context()).status == "skipped"


def test_component() -> None:
    entry = {
        "name": "ztunnel",
        "kind": "DaemonSet",
        "namespace": "istio-system",
        "workload": "ztunnel",
        "reason": "put ztunnel.tar",
    }
    check = cluster_checks.component(entry)
    assert (check(context()).status, check(context()).detail) == ("skipped", "put ztunnel.tar")
    there = named("ztunnel", "istio-system", status={"desiredNumberScheduled": 1})
    failed(check(context(DaemonSet=[there])), "0/1 nodes available")


def test_pod_security_level() -> None:
    good = {"metadata": {"name": "ecom", "labels": {security_checks.ENFORCE: "restricted"}}}
    assert security_checks.pod_security(context(Namespace=[good])).status == "passed"
    failed(security_checks.pod_security(context()), "namespace ecom does not exist")
    failed(
        security_checks.pod_security(context(Namespace=[{"metadata": {"name": "ecom"}}])),
        "enforce=None, expected restricted",
    )


def test_good_pod_keeps_every_rule() -> None:
    assert security_checks.pod_faults(GOOD_POD) == []
    assert security_checks.restricted_pods(context(Pod=[pod()])).status == "passed"


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("hostNetwork", True, "hostNetwork is true"),
        ("volumes.0", {"name": "x", "hostPath": {"path": "/"}}, "volume x is of type hostPath"),
        ("securityContext.runAsNonRoot", None, "runAsNonRoot is not true"),
        ("securityContext.runAsUser", 0, "runAsUser=0"),
        ("securityContext.runAsUser", None, "runAsUser=None is not a fixed uid"),
        ("securityContext.seccompProfile", {}, "seccompProfile.type=None"),
        ("containers.0.securityContext.readOnlyRootFilesystem", False, "readOnlyRootFilesystem is not true"),
        ("containers.0.securityContext.allowPrivilegeEscalation", None, "allowPrivilegeEscalation is not false"),
        ("containers.0.securityContext.privileged", True, "privileged is true"),
        ("containers.0.securityContext.capabilities", {}, "capabilities.drop lacks ALL"),
        (
            "containers.0.securityContext.capabilities",
            {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            "capabilities.add=['NET_ADMIN']",
        ),
        ("containers.0.resources.requests", {"cpu": "1"}, "requests lacks cpu or memory"),
        ("containers.0.resources.limits", None, "limits lacks memory"),
        ("initContainers", [{"name": "i", "image": "x"}], "container i: readOnlyRootFilesystem"),
    ],
)
def test_bad_pod(path: str, value: Any, fault: str) -> None:
    spec = copy.deepcopy(GOOD_POD)
    target: Any = spec
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        target = target[part]
    target[last] = value
    assert any(fault in found for found in security_checks.pod_faults(spec)), security_checks.pod_faults(spec)


def policy(mode: str, namespace: str = "istio-system", **spec: Any) -> Object:
    return named("p", namespace, spec={"mtls": {"mode": mode}, **spec})


def test_strict_policy() -> None:
    assert security_checks.strict_policy(context(PeerAuthentication=[policy("STRICT")])).status == "passed"
    failed(security_checks.strict_policy(context()), "no PeerAuthentication of istio-system")
    opened = [policy("STRICT"), policy("PERMISSIVE", "ecom")]
    failed(security_checks.strict_policy(context(PeerAuthentication=opened)), "ecom/p sets mode PERMISSIVE")
    one_port = named("p", "ecom", spec={"selector": {}, "portLevelMtls": {"8088": {"mode": "PERMISSIVE"}}})
    assert security_checks.strict_policy(context(PeerAuthentication=[policy("STRICT"), one_port])).status == "passed"


def edge(ok: bool) -> Object:
    return {
        "kind": "plaintext",
        "source": "a",
        "destination": "b:1",
        "expected": ["reset"],
        "outcome": "answered",
        "detail": "d",
        "ok": ok,
    }


def test_mesh_edges() -> None:
    check = security_checks.mesh_edges("plaintext", empty="nothing to probe")
    assert check(context(mesh={"edges": [edge(True)], "shared_nodes": []})).status == "passed"
    finding = check(context(mesh={"edges": [edge(False)], "shared_nodes": ["worker"]}))
    failed(finding, "plaintext: a -> b:1: expected reset, got answered (d)", "all broken edges share node worker")
    assert check(context(mesh={"edges": [], "shared_nodes": []})).detail == "nothing to probe"
    assert check(context()).status == "skipped"
    failed(check(context(mesh=mesh_run.ProbeError("BK-223: no image"))), "BK-223: no image")
