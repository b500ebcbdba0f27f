"""Manifests against an API server over HTTP: what counts as a change, what check mode asks for, and which object an error names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, serving

from ansible_collections.bookstore.platform.plugins.module_utils.base import waiter
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import manifests
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.manifests import ManifestError

NAMESPACE = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
TEXT = f"""
---
{NAMESPACE}
---
# empty
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings, namespace: shop}}
data: {{colour: red}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec: {{replicas: 2}}
"""
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web"
SETTINGS = "/api/v1/namespaces/shop/configmaps/settings"
ALL = ["Namespace shop", "ConfigMap shop/settings", "Deployment shop/web"]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[ApiServer, Cluster]]:
    with serving(tmp_path) as (server, kubeconfig):
        yield server, Cluster(kubeconfig)


def applied(cluster: Cluster, text: str = TEXT, check: bool = False) -> list[str]:
    return [str(change.manifest) for change in manifests.apply(cluster, manifests.parse("shop.yml", text), "tests", check)]


def test_what_is_applied_again_is_no_change(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    assert applied(cluster) == ALL
    assert applied(cluster) == []
    # What controllers write meanwhile.
    found = server.objects[DEPLOYMENT]
    found["status"] = {"readyReplicas": 2}
    found["metadata"].update(resourceVersion="900", managedFields=[{"manager": "kubelet"}])
    assert applied(cluster) == []
    server.objects[DEPLOYMENT]["spec"]["replicas"] = 1
    assert applied(cluster) == ["Deployment shop/web"]
    assert server.objects[DEPLOYMENT]["spec"]["replicas"] == 2


def test_requests(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    applied(cluster)
    patches = [(path, query) for method, path, query in server.calls if method == "PATCH"]
    assert [path for path, _ in patches] == ["/api/v1/namespaces/shop", SETTINGS, DEPLOYMENT]
    assert all(query == {"fieldManager": "tests", "force": "true"} for _, query in patches)
    # A group is asked for its kinds once, and all on one connection.
    assert [path for method, path, _ in server.calls if path in server.kinds] == ["/api/v1", "/apis/apps/v1"]
    assert server.connections == 1


def _config_maps(*names: str) -> str:
    return "\n---\n".join(f"{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: shop}}}}" for name in names)


def test_objects_of_one_kind_go_side_by_side_and_kinds_one_after_the_other(api: tuple[ApiServer, Cluster]) -> None:
    """Three requests must be under way at once for any to be answered; the namespace was applied before, the Deployment is after."""
    server, cluster = api
    together, answer = threading.Barrier(3, timeout=10), server.answer

    def meet(method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "PATCH" and "/configmaps/" in path:
            together.wait()
        return answer(method, path, query, body)

    server.answer = meet  # type: ignore[method-assign]
    deployment = TEXT[TEXT.index("apiVersion: apps/v1") :]
    assert applied(cluster, f"{NAMESPACE}\n---\n{_config_maps('a', 'b', 'c')}\n---\n{deployment}") == [
        "Namespace shop", "ConfigMap shop/a", "ConfigMap shop/b", "ConfigMap shop/c", "Deployment shop/web",
    ]  # fmt: skip
    patched = [path for method, path, _ in server.calls if method == "PATCH"]
    assert (patched[0], patched[-1]) == ("/api/v1/namespaces/shop", DEPLOYMENT)


def test_what_was_changed_beside_a_refused_one_is_told_and_nothing_after_it_is_applied(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    server.refused["/api/v1/namespaces/shop/configmaps/a"] = (422, "a is wrong")
    changes: list[str] = []
    text = f"{NAMESPACE}\n---\n{_config_maps('a', 'b')}\n---\n{TEXT[TEXT.index('apiVersion: apps/v1') :]}"
    applying = manifests.apply(cluster, manifests.parse("shop.yml", text), "tests", False)
    with pytest.raises(ManifestError, match="BK-431: ConfigMap shop/a of shop.yml: .*a is wrong"):
        changes.extend(str(change.manifest) for change in applying)
    assert changes == ["Namespace shop", "ConfigMap shop/b"]
    assert DEPLOYMENT not in server.objects


def test_check_mode_changes_nothing(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    assert applied(cluster, check=True) == ALL
    assert server.objects == {}
    applied(cluster)
    before = dict(server.objects)
    assert applied(cluster, check=True) == []
    assert applied(cluster, TEXT.replace("red", "blue"), check=True) == ["ConfigMap shop/settings"]
    assert server.objects == before


def test_a_kind_that_is_not_installed(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    text = "{apiVersion: x.io/v1, kind: Thing, metadata: {name: one, namespace: shop}}"
    assert applied(cluster, text, check=True) == ["Thing shop/one"]
    with pytest.raises(ManifestError, match=r"BK-432: Thing shop/one of shop.yml: the cluster has no kind Thing of x.io/v1"):
        applied(cluster, text)
    # One that an earlier object of the same call brought is found: the group is asked again.
    kinds = manifests.Kinds(cluster)
    (thing,) = manifests.parse("shop.yml", text)
    assert kinds.path(thing) is None
    server.kinds["/apis/x.io/v1"] = [("Thing", "things", True)]
    assert kinds.path(thing) == "/apis/x.io/v1/namespaces/shop/things/one"


def test_a_refused_object_is_named_and_what_was_done_before_is_told(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    server.refused[SETTINGS] = (422, "colour is not allowed")
    changes = manifests.apply(cluster, manifests.parse("shop.yml", TEXT), "tests", False)
    assert str(next(changes).manifest) == "Namespace shop"
    with pytest.raises(ManifestError, match=r"^BK-431: ConfigMap shop/settings of shop.yml: PATCH .* with 422: colour is not allowed$"):
        next(changes)
    assert DEPLOYMENT not in server.objects


def test_a_missing_namespace_is_an_error_outside_of_check_mode(api: tuple[ApiServer, Cluster]) -> None:
    with pytest.raises(ManifestError, match='BK-431: ConfigMap shop/settings .*namespaces "shop" not found'):
        applied(api[1], TEXT.replace(NAMESPACE, ""))


def test_no_answer(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, kubeconfig):
        cluster = Cluster(kubeconfig, request_timeout=1)
    with pytest.raises(ClusterError, match="BK-202"):
        applied(cluster)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "shop.yml is no YAML"),
        ("- a", "document 1 of shop.yml needs apiVersion, kind and metadata.name"),
        (f"{NAMESPACE}\n---\n{{kind: ConfigMap, metadata: {{name: a}}}}", "document 2 of shop.yml needs apiVersion"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {}}", "document 1 of shop.yml needs"),
        ("{apiVersion: v1, kind: C, metadata: {name: a, namespace: b}, data: {d: 2026-01-01}}", "C b/a of shop.yml has a value"),
        ("{apiVersion: v1, kind: C, metadata: {name: a, namespace: b}, data: {d: .nan}}", "C b/a of shop.yml has a value"),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "ConfigMap a of shop.yml needs metadata.namespace"),
    ],
)
def test_manifests_that_cannot_be_used(api: tuple[ApiServer, Cluster], text: str, fault: str) -> None:
    with pytest.raises(ManifestError, match=f"BK-430: {fault}"):
        applied(api[1], text)


def test_an_object_that_is_being_deleted_is_made_anew(api: tuple[ApiServer, Cluster]) -> None:
    """The server would take an apply, and the object would vanish with it."""
    server, cluster = api
    applied(cluster)
    server.objects[SETTINGS]["metadata"]["deletionTimestamp"] = "now"
    assert applied(cluster, check=True) == ["ConfigMap shop/settings"]
    seen = len(server.calls)

    def ended() -> None:
        looks = waiter.wait_for(lambda: [path for _, path, _ in server.calls[seen:]].count(SETTINGS), (2).__le__, timeout=20, interval=0.01)
        assert looks.done
        del server.objects[SETTINGS]

    with ThreadPoolExecutor(1) as other:
        gone = other.submit(ended)
        assert applied(cluster) == ["ConfigMap shop/settings"]
        gone.result()
    assert "deletionTimestamp" not in server.objects[SETTINGS]["metadata"]


def test_an_object_whose_deletion_does_not_end_is_named(api: tuple[ApiServer, Cluster], monkeypatch: pytest.MonkeyPatch) -> None:
    server, cluster = api
    applied(cluster)
    server.objects[SETTINGS]["metadata"].update(deletionTimestamp="now", finalizers=["x.io/keep"])
    monkeypatch.setattr(manifests, "ENDING_SECONDS", 0.1)
    with pytest.raises(ManifestError, match="BK-433: ConfigMap shop/settings of shop.yml is being deleted .*; it waits for x.io/keep"):
        applied(cluster)


def test_differences_show_no_secret(api: tuple[ApiServer, Cluster]) -> None:
    cluster = api[1]
    applied(cluster)
    secret = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}, data: {p: c3dvcmRmaXNo}}"
    text = f"{TEXT.replace('red', 'blue')}---\n{secret}\n"
    shown = manifests.difference(list(manifests.apply(cluster, manifests.parse("shop.yml", text), "tests", True)))
    assert '"colour": "red"' in shown["before"]
    assert '"colour": "blue"' in shown["after"]
    assert "# Secret shop/s" in shown["after"]
    assert "c3dvcmRmaXNo" not in shown["after"]


def test_files_are_written_when_they_differ(tmp_path: Path) -> None:
    texts = {"a.yml": "a: ü\n", "b.yml": ""}
    assert manifests.write(str(tmp_path), texts, check=True) == ["a.yml", "b.yml"]
    assert list(tmp_path.iterdir()) == []
    assert manifests.write(str(tmp_path), texts, check=False) == ["a.yml", "b.yml"]
    assert (tmp_path / "a.yml").read_text(encoding="utf-8") == "a: ü\n"
    assert manifests.write(str(tmp_path), {**texts, "b.yml": "b: 1\n"}, check=False) == ["b.yml"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yml", "b.yml"]
