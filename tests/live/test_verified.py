"""What the checks of a bootstrap find on the running platform: nothing fails, and only what no source offers is skipped."""

from __future__ import annotations

import json
import re

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from .conftest import STATE
from .declared import NODE_PORTS
from .rerun import Rerun

pytestmark = pytest.mark.timeout(600)

# SPEC 13.1: components that package registries cannot provide.
OPTIONAL = {"V-ZTUNNEL", "V-KIALI"}
# Mesh, network, images, security and memory: each is proven by a check of its own.
REQUIRED = {
    "V-NODES", "V-WORKLOADS", "V-ROUTES", "V-CERTIFICATE", "V-STRICT", "V-NETPOL", "V-MESH-IDENTITY", "V-PSS", "V-PODS", "V-NODEPORTS",
    "V-INGRESS", "V-IMAGES", "V-DIGESTS", "V-MEMORY", "V-TARGETS", "V-DATA-PLANE",
}  # fmt: skip


@pytest.fixture(scope="module")
def checks(second_bootstrap: Rerun) -> dict[str, dict[str, str]]:
    """The checks of the bootstrap's report, by id."""
    assert "Check everything" in second_bootstrap.output
    report = json.loads((STATE / "reports/verify.json").read_text(encoding="utf-8"))
    return {check["id"]: check for check in report["checks"]}


def test_every_required_check_passed(checks: dict[str, dict[str, str]]) -> None:
    assert not [
        f"{name}: {checks.get(name, {}).get('detail', 'did not run')}"
        for name in sorted(REQUIRED)
        if checks.get(name, {}).get("status") != "passed"
    ]


def test_only_optional_components_are_skipped_and_each_says_why(checks: dict[str, dict[str, str]]) -> None:
    skipped = {name: check["detail"] for name, check in checks.items() if check["status"] == "skipped"}
    assert set(skipped) <= OPTIONAL, skipped
    assert all("put " in detail for detail in skipped.values()), skipped
    assert not [check for check in checks.values() if check["status"] == "failed"]


def test_every_image_is_ours(cluster: Cluster) -> None:
    images = {container["image"] for pod in cluster.objects("Pod") for container in pod["spec"]["containers"]}
    assert {image for image in images if not re.match(r"bookstore\.local/[a-z0-9_-]+:\S+$", image)} == set()


def test_exposed_services_are_the_declared_ones(cluster: Cluster) -> None:
    declared = {(row["namespace"], row["service"], row["node_port"]) for row in NODE_PORTS}
    found = {
        (service["metadata"]["namespace"], service["metadata"]["name"], port["nodePort"])
        for service in cluster.objects("Service")
        for port in service["spec"].get("ports") or []
        if "nodePort" in port
    }
    assert found <= declared
    assert {row for row in declared if row[0] == "gateway"} <= found
