"""The checks of images: who made them, and that what was pushed is what runs."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.verification import image_checks
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Object

from .test_verification_checks import GOOD_POD, context, failed, pod

OURS, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
LEDGER: Object = {
    "images": {"bookstore.local/ecom:1": {"source": "packages", "digest": OURS}, "bookstore.local/base:1": {"source": "packages"}},
}
PINNED = f"bookstore.local/ecom:1@{OURS}"


def running(image: str, runs: str | None = None, namespace: str = "ecom", init: bool = False, **metadata: Any) -> Object:
    """A pod of one container, with the id of what it runs."""
    kind = "initContainers" if init else "containers"
    found = pod("p", namespace, {"containers": [], kind: [{"name": "app", "image": image}]})
    found["metadata"].update(metadata)
    statuses = [{"name": "app", "imageID": runs}] if runs else [{"name": "app", "imageID": ""}]
    found["status"]["initContainerStatuses" if init else "containerStatuses"] = statuses
    return found


STATIC = {"annotations": {"kubernetes.io/config.mirror": "x"}}


def test_images_are_the_factorys() -> None:
    check = image_checks.made_by_the_factory
    params: Object = {"images": {"bookstore.local/ecom:1": {"source": "packages", "digest": OURS}}}
    assert check(context(params, Pod=[pod()])).status == "passed"
    assert check(context(params, Pod=[running(PINNED)])).status == "passed"
    # As an earlier version wrote it.
    assert check(context({"images": {"bookstore.local/ecom:1": "packages"}}, Pod=[pod()])).status == "passed"
    foreign = copy.deepcopy(GOOD_POD)
    foreign["initContainers"] = [{"name": "i", "image": "docker.example/library/busybox:1"}]
    failed(check(context(params, Pod=[pod(spec=foreign)])), "busybox:1 of pod ecom/p was not made")
    pulled: Object = {"images": {"bookstore.local/ecom:1": {"source": "registry", "digest": OURS}}}
    failed(check(context(pulled, Pod=[pod()])), "came from a container registry")
    assert check(context({**pulled, "image_source": "registry"}, Pod=[pod()])).status == "passed"
    failed(check(context({"images": {}}, Pod=[pod()])), "ledger of the image factory is empty")


def test_kinds_own_control_plane_counts_only_with_source_registry() -> None:
    spec = {"containers": [{"name": "etcd", "image": "registry.example/etcd:3.6.5-0"}]}
    for source, namespace, status in (
        ("registry", "kube-system", "passed"), ("registry", "ecom", "failed"), ("packages", "kube-system", "failed"),
    ):  # fmt: skip
        params = {"images": {"bookstore.local/ecom:1": "packages"}, "image_source": source}
        assert image_checks.made_by_the_factory(context(params, Pod=[pod("etcd", namespace, spec)])).status == status
    there = context({**LEDGER, "image_source": "registry"}, Pod=[pod("etcd", "kube-system", spec)])
    assert image_checks.digests(there).status == "passed"


def test_version_tags_of_our_control_plane_count_as_ours_only_there() -> None:
    params = {"images": {"bookstore.local/etcd:abc": "packages"}}
    spec = {"containers": [{"name": "etcd", "image": "bookstore.local/etcd:3.6.13"}]}
    assert image_checks.made_by_the_factory(context(params, Pod=[pod("etcd", "kube-system", spec)])).status == "passed"
    failed(image_checks.made_by_the_factory(context(params, Pod=[pod("etcd", "ecom", spec)])), "etcd:3.6.13 of pod ecom/etcd")


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("namespace", ["ecom", "istio-system", "kube-system"])
def test_images_without_a_digest_are_named(namespace: str, init: bool) -> None:
    by_tag = running("bookstore.local/ecom:1", f"bookstore.local/ecom@{OURS}", namespace, init)
    failed(image_checks.digests(context(LEDGER, Pod=[by_tag])), f"app of pod {namespace}/p: bookstore.local/ecom:1 names no digest")


@pytest.mark.parametrize("init", [False, True])
def test_what_runs_is_compared_with_what_is_named(init: bool) -> None:
    good = running(PINNED, f"bookstore.local/ecom@{OURS}", init=init)
    assert image_checks.digests(context(LEDGER, Pod=[good])).status == "passed"
    assert image_checks.digests(context(LEDGER, Pod=[running(PINNED, init=init)])).status == "passed", "it has not started"
    for runs in (f"bookstore.local/ecom@{OTHER}", OTHER, "bookstore.local/ecom:1"):
        failed(image_checks.digests(context(LEDGER, Pod=[running(PINNED, runs, init=init)])), f"runs {runs}, which is not {PINNED}")


def test_a_digest_that_the_factory_did_not_push_is_named() -> None:
    other = running(f"bookstore.local/ecom:1@{OTHER}", f"bookstore.local/ecom@{OTHER}")
    failed(image_checks.digests(context(LEDGER, Pod=[other])), "is not what the image factory pushed")


def test_static_pods_may_have_tags_but_run_what_was_pushed() -> None:
    def finding(runs: str, params: Object = LEDGER) -> Any:
        return image_checks.digests(context(params, Pod=[running("bookstore.local/ecom:v1", runs, "kube-system", **STATIC)]))

    assert finding(f"bookstore.local/other-name@{OURS}").status == "passed", "images of one content have one id"
    failed(finding(f"bookstore.local/ecom@{OTHER}"), "which is not bookstore.local/ecom:v1 as it was pushed")
    unknown = {"images": {**LEDGER["images"], "bookstore.local/ecom:0": "packages"}}
    assert finding(f"bookstore.local/ecom@{OTHER}", unknown).status == "passed", "one of before digests were recorded"


def test_pods_of_others_are_none_of_this_checks_business() -> None:
    assert image_checks.digests(context(LEDGER, Pod=[running("example/x:1", f"example/x@{OTHER}", "theirs")])).status == "passed"
