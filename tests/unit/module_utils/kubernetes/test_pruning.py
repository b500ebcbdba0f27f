"""What a set of manifests no longer declares is deleted, and nothing else: against an API server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, serving

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import manifests, pruning
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.manifests import ManifestError

SHOP = "/api/v1/namespaces/shop"
RECORD = "/api/v1/namespaces/kube-system/configmaps/bookstore-applied-web"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"


def config_map(name: str) -> str:
    return f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: shop}}}}"


def policy(name: str) -> str:
    return f"{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: shop}}}}"


DEPLOYMENT = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}}"


@dataclass
class Shop:
    server: ApiServer
    cluster: Cluster
    left: list[str] = field(default_factory=list)

    def run(self, *texts: str, name: str = "web", manager: str = "tests-web", check: bool = False) -> list[str]:
        """Apply a set as the module does, and return what was pruned."""
        parsed = manifests.parse("web.yml", "\n---\n".join(texts))
        current = pruning.Pruning(self.cluster, name, manager, parsed, check)
        current.begin()
        list(manifests.apply(self.cluster, parsed, manager, check))
        pruned = [str(manifest) for manifest in current.finish()]
        self.left = current.left
        return pruned

    def apply(self, text: str, manager: str) -> None:
        list(manifests.apply(self.cluster, manifests.parse("other.yml", text), manager, False))

    def recorded(self) -> list[str]:
        return [line.split()[-1] for line in self.server.objects[RECORD]["data"]["objects"].splitlines()]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with serving(tmp_path) as (server, kubeconfig):
        for namespace in ("shop", "kube-system"):
            server.objects[f"/api/v1/namespaces/{namespace}"] = {"metadata": {"name": namespace}}
        yield Shop(server, Cluster(kubeconfig))


def test_what_is_no_longer_declared_is_deleted_and_the_rest_stays(shop: Shop) -> None:
    shop.apply(config_map("foreign"), "kubectl")
    assert shop.run(config_map("a"), config_map("b"), DEPLOYMENT) == []
    assert shop.run(config_map("a")) == ["Deployment shop/web", "ConfigMap shop/b"]
    assert sorted(path for path in shop.server.objects if "/shop/" in path) == [f"{SHOP}/configmaps/a", f"{SHOP}/configmaps/foreign"]
    assert shop.recorded() == ["a"]
    assert shop.run(config_map("a")) == []


def test_a_run_with_nothing_to_prune_costs_one_request(shop: Shop) -> None:
    shop.run(config_map("a"))
    seen = len(shop.server.calls)
    shop.run(config_map("a"))
    asked = [(method, path) for method, path, _ in shop.server.calls[seen:]]
    assert asked == [("GET", RECORD), ("GET", "/api/v1"), ("GET", f"{SHOP}/configmaps/a"), ("PATCH", f"{SHOP}/configmaps/a")]


def test_objects_are_not_touched_to_be_found_again(shop: Shop) -> None:
    """A label on a Deployment or Service would be copied by controllers, and would change all objects of a running platform once."""
    shop.run(DEPLOYMENT)
    assert "labels" not in shop.server.objects["/apis/apps/v1/namespaces/shop/deployments/web"]["metadata"]


def test_check_mode_tells_and_deletes_nothing(shop: Shop) -> None:
    shop.run(config_map("a"), config_map("b"))
    before = dict(shop.server.objects)
    assert shop.run(config_map("a"), check=True) == ["ConfigMap shop/b"]
    assert shop.server.objects == before


def test_what_holds_data_or_others_is_neither_recorded_nor_deleted(shop: Shop) -> None:
    secret = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}}"
    namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
    shop.run(config_map("a"), secret, namespace)
    assert shop.recorded() == ["a"]
    assert shop.run(config_map("a")) == []
    # Nor when somebody writes it into the record.
    shop.server.objects[RECORD]["data"]["objects"] += "v1 Secret shop s\n"
    assert shop.run(config_map("a")) == []
    assert shop.left == ["Secret shop/s is no longer declared by web, and stays: objects of this kind are never deleted"]
    assert {f"{SHOP}/secrets/s", SHOP} <= set(shop.server.objects)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"ownerReferences": [{"kind": "Service"}]}, "another object owns it"),
        ({"managedFields": [{"manager": "kubectl", "operation": "Apply"}]}, "tests-web did not apply it"),
        ({"managedFields": [{"manager": "tests-web", "operation": "Update"}]}, "tests-web did not apply it"),
        ({"managedFields": []}, "tests-web did not apply it"),
        ({"managedFields": [{"manager": name, "operation": "Apply"} for name in ("tests-web", "kubectl")]}, "kubectl applied it too"),
    ],
)
def test_an_object_that_is_not_ours_alone_stays_and_is_named(shop: Shop, metadata: dict[str, Any], reason: str) -> None:
    shop.run(config_map("a"), config_map("b"))
    shop.server.objects[f"{SHOP}/configmaps/b"]["metadata"].update(metadata)
    assert shop.run(config_map("a")) == []
    assert shop.left == [f"ConfigMap shop/b is no longer declared by web, and stays: {reason}"]
    assert f"{SHOP}/configmaps/b" in shop.server.objects


def test_who_writes_a_status_applies_no_object(shop: Shop) -> None:
    """istiod does so with each AuthorizationPolicy."""
    shop.run(config_map("a"), policy("old"))
    shop.server.objects[f"{POLICIES}/old"]["metadata"]["managedFields"].append(
        {"manager": "istio-ambient-ztunnel-policy", "operation": "Apply", "subresource": "status"}
    )
    assert shop.run(config_map("a")) == ["NetworkPolicy shop/old"]


def test_another_version_of_the_api_is_the_same_object(shop: Shop) -> None:
    shop.run(config_map("a"), policy("p"))
    record = shop.server.objects[RECORD]["data"]
    record["objects"] = record["objects"].replace("networking.k8s.io/v1 ", "networking.k8s.io/v1beta1 ")
    assert shop.run(config_map("a"), policy("p")) == []
    assert f"{POLICIES}/p" in shop.server.objects
    assert "v1beta1" not in shop.server.objects[RECORD]["data"]["objects"]


def test_an_object_that_is_gone_or_going_or_of_a_kind_that_is_gone(shop: Shop) -> None:
    shop.run(config_map("a"), config_map("b"), config_map("c"))
    del shop.server.objects[f"{SHOP}/configmaps/b"]
    shop.server.objects[f"{SHOP}/configmaps/c"]["metadata"]["deletionTimestamp"] = "now"
    shop.server.objects[RECORD]["data"]["objects"] += "x.io/v1 Thing shop t\n"
    assert shop.run(config_map("a")) == []
    assert (shop.left, shop.recorded()) == ([], ["a"])


def test_a_run_that_was_killed_leaves_nothing_that_the_next_one_does_not_know(shop: Shop) -> None:
    shop.run(config_map("a"))
    parsed = manifests.parse("web.yml", f"{config_map('b')}\n---\n{config_map('c')}")
    pruning.Pruning(shop.cluster, "web", "tests-web", parsed, False).begin()
    list(manifests.apply(shop.cluster, parsed[:1], "tests-web", False))
    # Killed here: c was not applied, and nothing was deleted.
    assert shop.recorded() == ["a", "b", "c"]
    assert shop.run(config_map("a")) == ["ConfigMap shop/b"]
    assert shop.recorded() == ["a"]


def test_a_refused_deletion_is_named_and_tried_again(shop: Shop) -> None:
    shop.run(config_map("a"), config_map("b"))
    shop.server.refused[f"{SHOP}/configmaps/b"] = (403, "a webhook says no")
    with pytest.raises(ManifestError, match="BK-431: ConfigMap shop/b of what was applied before: .*a webhook says no"):
        shop.run(config_map("a"))
    shop.server.refused.clear()
    assert shop.run(config_map("a")) == ["ConfigMap shop/b"]


def test_policies_from_before_there_was_a_record_are_found_by_their_manager(shop: Shop) -> None:
    shop.apply("\n---\n".join([policy("old"), policy("p"), config_map("old"), config_map("a")]), "tests-web")
    shop.apply(policy("of-another"), "tests-other")
    assert shop.run(config_map("a"), policy("p"), check=True) == ["NetworkPolicy shop/old"]
    assert shop.run(config_map("a"), policy("p")) == ["NetworkPolicy shop/old"]
    # Of the manager's other kinds nobody knows whether a call without a set applied them.
    assert f"{SHOP}/configmaps/old" in shop.server.objects
    assert f"{POLICIES}/of-another" in shop.server.objects
    shop.apply(policy("old"), "tests-web")
    assert shop.run(config_map("a"), policy("p")) == []


def test_a_record_that_names_no_object(shop: Shop) -> None:
    shop.run(config_map("a"))
    shop.server.objects[RECORD]["data"]["objects"] += "v1 ConfigMap shop\n"
    with pytest.raises(ManifestError, match="BK-443: ConfigMap kube-system/bookstore-applied-web has the line 'v1 ConfigMap shop'"):
        shop.run(config_map("a"))


def test_sets_whose_role_is_gone(shop: Shop) -> None:
    shop.run(config_map("a"))
    shop.run(config_map("b"), policy("b"), name="mesh_map", manager="tests-map")
    for check in (True, False):
        (gone,) = pruning.abandoned(shop.cluster, ["web"], check)
        gone.begin()
        assert [str(manifest) for manifest in gone.finish()] == ["NetworkPolicy shop/b", "ConfigMap shop/b"]
        gone.forget()
    assert {path for path in shop.server.objects if "configmaps" in path} == {f"{SHOP}/configmaps/a", RECORD}
    assert pruning.abandoned(shop.cluster, ["web"], False) == []
    with pytest.raises(ManifestError, match="BK-444: known_sets is empty"):
        pruning.abandoned(shop.cluster, [], False)
