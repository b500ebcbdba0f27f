"""Fingerprints of Secrets: a changed value changes them, anything else does not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import secret_fingerprints

COMMON = {"REDIS_PASSWORD": {"name": "redis-auth", "key": "password"}}
SERVICE: dict[str, Any] = {
    "name": "shop-api", "namespace": "shop", "database": {"name": "shop-db"},
    "secrets": {"CLIENT_SECRET": {"name": "client", "key": "client_secret"}},
}  # fmt: skip


def secret(name: str, namespace: str = "shop", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"}, "data": data}


def found(**changes: str) -> list[dict[str, Any]]:
    return [
        secret("redis-auth", password=changes.get("redis", "r")),
        secret("shop-db-owner", username="o", password="op"),
        secret("shop-db-app", username="a", password=changes.get("app", "ap")),
        secret("client", client_id="c", client_secret="cs", unused=changes.get("unused", "u")),
        secret("redis-auth", "other", password="elsewhere"),
    ]


def of(secrets: list[dict[str, Any]]) -> str:
    return secret_fingerprints.fingerprints([SERVICE], COMMON, secrets)["shop-api"]


def test_the_fingerprint_follows_the_values_that_the_service_uses() -> None:
    assert of(found()) == of(list(reversed(found())))
    assert of(found(unused="changed")) == of(found())
    assert len({of(found()), of(found(redis="x")), of(found(app="x"))}) == 3


def test_each_secret_is_read_once() -> None:
    worker = {"name": "shop-worker", "namespace": "shop", "worker": True, "database": {"name": "shop-db"}}
    names = ["client", "redis-auth", "shop-db-app", "shop-db-owner"]
    assert secret_fingerprints.used_secrets([SERVICE, worker], COMMON) == [("shop", name) for name in names]


def test_it_does_not_show_a_value() -> None:
    fingerprint = of(found(redis="correct-horse"))
    assert len(fingerprint) == 16
    assert "correct" not in fingerprint


def test_a_service_without_database_uses_no_secret_of_one() -> None:
    assert secret_fingerprints.used_keys({"name": "x", "namespace": "shop"}, COMMON) == {"redis-auth": {"password"}}


@pytest.mark.parametrize(("flags", "owner"), [({}, True), ({"worker": True}, False), ({"worker": True, "migrates": True}, True)])
def test_who_migrates_uses_the_owner(flags: dict[str, bool], owner: bool) -> None:
    used = secret_fingerprints.used_keys({"name": "x", "namespace": "shop", "database": {"name": "db"}, **flags}, {})
    assert used == {secret: {"username", "password"} for secret in (["db-owner", "db-app"] if owner else ["db-app"])}


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        (found()[1:], "BK-134: Secret shop/redis-auth of service shop-api does not exist"),
        ([secret("redis-auth"), *found()[1:]], "BK-134: Secret shop/redis-auth has no key password, which shop-api uses"),
    ],
)
def test_a_missing_secret_is_named(secrets: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        of(secrets)
