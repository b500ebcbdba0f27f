"""What carries the mesh's traffic, by what runs."""

from __future__ import annotations

from typing import Any

import pytest
from mesh_scene import PODS, pod

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import data_plane

AMBIENT = [{"metadata": {"name": "ecom", "labels": {"istio.io/dataplane-mode": "ambient"}}}]
SIDECAR = [{"metadata": {"name": "ecom", "labels": {"istio-injection": "enabled"}}}]


def proxy(image: str, node: str = "worker") -> dict[str, Any]:
    found = pod("istio-system", f"ztunnel-{node}", "ztunnel", node, app="ztunnel")
    found["spec"]["containers"] = [{"name": "istio-proxy", "image": image}]
    return found


def plain(name: str, **labels: str) -> dict[str, Any]:
    found = pod("ecom", name, "ecom-api", "worker", **labels)
    found["spec"]["containers"] = [{"name": "app", "image": "x"}]
    return found


@pytest.mark.parametrize(("image", "words"), [
    ("bookstore.local/ztunnel:abc@sha256:1", "mode ambient, ztunnel abc in 2 pods"),
    ("bookstore.local/node-proxy:def@sha256:1", "mode ambient, node proxy of our own def in 2 pods"),
])  # fmt: skip
def test_the_node_proxy_is_named_by_its_image_not_by_its_daemonset(image: str, words: str) -> None:
    found = data_plane.look(AMBIENT, [proxy(image), proxy(image, "worker2"), plain("api")])
    assert (found.describe(), found.faults) == (words, [])


def test_sidecars() -> None:
    found = data_plane.look(SIDECAR, PODS)
    assert (found.name, found.pods, found.faults) == ("sidecars", 2, [])


def test_the_gateways_own_proxy_is_no_sidecar() -> None:
    gateway = [one for one in PODS if one["metadata"]["namespace"] == "gateway"]
    assert data_plane.look(AMBIENT, [*gateway, proxy("r/ztunnel:1")]).faults == []
    assert data_plane.look(SIDECAR, gateway).faults == ["no pod has a sidecar, so nothing carries the traffic"]


def test_a_mixture_is_a_fault() -> None:
    found = data_plane.look(AMBIENT, [*PODS, proxy("r/ztunnel:1"), proxy("r/node-proxy:2", "worker2")])
    assert [fault for fault in found.faults if "has a sidecar in ambient mode" in fault]
    assert "2 images carry the traffic at once: r/node-proxy:2, r/ztunnel:1" in found.faults


def test_what_ends_is_no_part_of_a_mixture() -> None:
    old = proxy("r/ztunnel:1", "worker2")
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = data_plane.look(AMBIENT, [proxy("r/node-proxy:2"), old])
    assert (found.pods, found.faults) == (1, [])


def test_nothing_that_carries_traffic_is_a_fault() -> None:
    assert data_plane.look(AMBIENT, [plain("api")]).faults == ["no node proxy runs, so nothing carries the traffic"]
    assert data_plane.look([], []).faults == ["no namespace takes part in the mesh"]
    assert data_plane.look([], []).describe() == "mode none, nothing carries it"


@pytest.mark.parametrize(("labels", "annotations", "expected"), [
    ({}, {"ambient.istio.io/redirection": "enabled"}, True), ({}, {}, False), ({"istio.io/dataplane-mode": "none"}, {}, None),
])  # fmt: skip
def test_enrolled_in_ambient_mode(labels: dict[str, str], annotations: dict[str, str], expected: bool | None) -> None:
    one = plain("api", **labels)
    one["metadata"]["annotations"] = annotations
    assert data_plane.enrolled(one, {"ecom": AMBIENT[0]}, "ambient") is expected


def test_enrolled_elsewhere_and_with_sidecars() -> None:
    names = {"ecom": SIDECAR[0]}
    assert data_plane.enrolled(plain("api"), names, "sidecar") is False
    assert data_plane.enrolled(PODS[1], names, "sidecar") is True
    assert data_plane.enrolled(plain("api", **{"sidecar.istio.io/inject": "false"}), names, "sidecar") is None
    assert data_plane.enrolled(plain("api"), {}, "ambient") is None
    host = plain("api")
    host["spec"]["hostNetwork"] = True
    assert data_plane.enrolled(host, {"ecom": AMBIENT[0]}, "ambient") is None
