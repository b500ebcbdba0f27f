"""Which workloads are rolled after a change of the mesh mode: all whose pods do not fit, and no others."""

from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils import enrolment

AMBIENT = {"istio.io/dataplane-mode": "ambient"}
SIDECAR = {"istio-injection": "enabled"}
HAS_SIDECAR = {"sidecar.istio.io/status": "{}"}
REDIRECTED = {"ambient.istio.io/redirection": "enabled"}


def pod(
    annotations: dict[str, str], labels: dict[str, str] | None = None, owner: tuple[str, str] = ("StatefulSet", "kafka"),
    phase: str = "Running", namespace: str = "infra", **more: Any,
) -> dict[str, Any]:  # fmt: skip
    return {
        "metadata": {
            "name": f"{owner[1]}-0", "namespace": namespace, "annotations": annotations, "labels": labels or {},
            "ownerReferences": [{"kind": owner[0], "name": owner[1]}], **more,
        },
        "spec": {},
        "status": {"phase": phase},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "mode"),
    [(AMBIENT, "ambient"), (SIDECAR, "sidecar"), ({}, ""), ({"istio.io/dataplane-mode": "none"}, ""), ({**AMBIENT, **SIDECAR}, "ambient")],
)
def test_a_namespace_asks_by_its_labels(labels: dict[str, str], mode: str) -> None:
    assert enrolment.wanted_of(labels) == mode


@pytest.mark.parametrize(
    ("found", "mode", "reason"),
    [
        (pod(HAS_SIDECAR), "sidecar", ""),
        (pod(REDIRECTED), "ambient", ""),
        (pod(HAS_SIDECAR), "ambient", "has a sidecar"),
        (pod({**HAS_SIDECAR, **REDIRECTED}), "ambient", "has a sidecar"),
        (pod(REDIRECTED), "sidecar", "has no sidecar"),
        (pod({}), "sidecar", "has no sidecar"),
        (pod({}), "ambient", "is not redirected to the node proxy"),
        (pod({"ambient.istio.io/redirection": "pending"}), "ambient", "is not redirected to the node proxy"),
        # Not yet: istio-cni comes with its address.
        (pod({}, phase="Pending"), "ambient", ""),
        # Meant to be outside.
        (pod({}, {"istio.io/dataplane-mode": "none"}), "ambient", ""),
        (pod({}, {"sidecar.istio.io/inject": "false"}), "sidecar", ""),
        (pod(HAS_SIDECAR, {"gateway.networking.k8s.io/gateway-name": "shop"}), "ambient", ""),
        # On its way out: what comes after it is made anew anyway.
        (pod(HAS_SIDECAR, deletionTimestamp="2026-11-28T17:00:00Z"), "ambient", ""),
    ],
)
def test_why_a_pod_does_not_fit(found: dict[str, Any], mode: str, reason: str) -> None:
    assert enrolment.misfit(found, mode) == reason


def test_workloads_are_named_once_and_by_what_can_be_rolled() -> None:
    pods = [
        pod(HAS_SIDECAR),
        pod(HAS_SIDECAR, owner=("ReplicaSet", "ecom-api-7764d4559"), namespace="ecom"),
        pod(HAS_SIDECAR, owner=("ReplicaSet", "ecom-api-7764d4559"), namespace="ecom"),
        pod(REDIRECTED, owner=("ReplicaSet", "admin-api-1"), namespace="admin"),
        pod(HAS_SIDECAR, owner=("Job", "db-ops-1"), namespace="ecom"),
        pod(HAS_SIDECAR, namespace="foreign"),
    ]
    assert enrolment.misfits(pods, {"infra": "ambient", "ecom": "ambient", "admin": "ambient", "gateway": ""}) == {
        ("StatefulSet", "infra", "kafka"): "kafka-0 has a sidecar",
        ("Deployment", "ecom", "ecom-api"): "ecom-api-7764d4559-0 has a sidecar",
    }
    assert enrolment.misfits(pods, {"infra": "", "ecom": ""}) == {}


def test_a_pod_without_an_owner_is_left_alone() -> None:
    alone = pod(HAS_SIDECAR)
    alone["metadata"]["ownerReferences"] = []
    assert enrolment.misfits([alone], {"infra": "ambient"}) == {}
