"""Which workloads are rolled after a change of the mesh mode: all with running pods outside of the mesh, and no others."""

from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import enrolment

AMBIENT = {"istio.io/dataplane-mode": "ambient"}
SIDECAR = {"istio-injection": "enabled"}
REDIRECTED = {"ambient.istio.io/redirection": "enabled"}


def namespaces(labels: dict[str, str]) -> list[dict[str, Any]]:
    return [{"metadata": {"name": "ecom", "labels": labels}}, {"metadata": {"name": "gateway", "labels": {}}}]


def pod(
    owner: tuple[str, str], annotations: dict[str, str] | None = None, *, sidecar: bool = False, phase: str = "Running",
    namespace: str = "ecom", labels: dict[str, str] | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    containers = [{"name": "app", "image": "a"}, *([{"name": "istio-proxy", "image": "p"}] if sidecar else [])]
    return {
        "metadata": {
            "name": f"{owner[1]}-x", "namespace": namespace, "annotations": annotations or {}, "labels": labels or {},
            "ownerReferences": [{"kind": owner[0], "name": owner[1]}], **more,
        },
        "spec": {"containers": containers},
        "status": {"phase": phase},
    }  # fmt: skip


def test_a_change_to_ambient_rolls_what_has_sidecars_once_and_by_its_workload() -> None:
    pods = [
        pod(("ReplicaSet", "ecom-api-7764d4559"), sidecar=True),
        pod(("ReplicaSet", "ecom-api-7764d4559"), sidecar=True),
        pod(("StatefulSet", "ecom-db"), sidecar=True),
        pod(("ReplicaSet", "ecom-worker-1"), REDIRECTED),
        pod(("ReplicaSet", "bookstore-gateway-istio-1"), sidecar=True, namespace="gateway"),
    ]
    assert enrolment.outside(pods, namespaces(AMBIENT)) == {
        ("Deployment", "ecom", "ecom-api"): "ecom-api-7764d4559-x",
        ("StatefulSet", "ecom", "ecom-db"): "ecom-db-x",
    }


def test_a_change_to_sidecars_rolls_what_has_none() -> None:
    pods = [pod(("StatefulSet", "ecom-db"), REDIRECTED), pod(("StatefulSet", "other"), sidecar=True)]
    assert enrolment.outside(pods, namespaces(SIDECAR)) == {("StatefulSet", "ecom", "ecom-db"): "ecom-db-x"}


@pytest.mark.parametrize(
    "alone",
    [
        # Not yet: istio-cni comes with its address.
        pod(("StatefulSet", "ecom-db"), phase="Pending"),
        pod(("StatefulSet", "ecom-db"), phase="Succeeded"),
        # Meant to be outside.
        pod(("StatefulSet", "ecom-db"), labels={"istio.io/dataplane-mode": "none"}),
        # On its way out: what comes after it is made anew anyway.
        pod(("StatefulSet", "ecom-db"), deletionTimestamp="2026-11-28T17:00:00Z"),
        # Nothing would make it again.
        pod(("Job", "db-ops")),
    ],
)
def test_what_is_left_alone(alone: dict[str, Any]) -> None:
    assert enrolment.outside([alone], namespaces(AMBIENT)) == {}


def test_without_a_mesh_nothing_is_outside() -> None:
    assert enrolment.outside([pod(("StatefulSet", "ecom-db"))], namespaces({})) == {}
