"""The module as a whole: Secrets in, lines out, and nothing secret among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import FakeCluster
from keycloak_server import FakeKeycloak

from ansible_collections.bookstore.platform.plugins.module_utils.keycloak import admin, declared
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import generated_secret
from ansible_collections.bookstore.platform.plugins.modules import keycloak_realm

SECRETS = {
    "keycloak-admin": {"username": "admin", "password": "pa55-of-the-administrator"},
    "keycloak-clients": {"worker": "s3cret-of-the-worker"},
    "demo-users": {"u1": "pa55-of-the-user"},
}


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    server = FakeKeycloak()
    server.set_password(server.add_user("master", {"username": admin.BOOTSTRAP}), SECRETS["keycloak-admin"]["password"])
    yield server
    server.stop()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    found = FakeCluster({"Secret": [generated_secret.manifest("identity", name, values) for name, values in SECRETS.items()]})
    monkeypatch.setattr(keycloak_realm.Cluster, "of", lambda params: found)
    return found


def parameters(keycloak: FakeKeycloak, **changed: Any) -> dict[str, Any]:
    return {
        "url": keycloak.url, "realm": "shop", "settings": {"enabled": True}, "roles": {"customer": "Buys"}, "default_roles": ["customer"],
        "clients": [{"id": "worker", "fields": {}, "secret": "worker"}], "absent_clients": [],
        "users": [{"username": "u1", "roles": [], "password": "u1"}], "admin_settings": {"attributes": {"frontendUrl": "http://x"}},
        "namespace": "identity", "admin_secret": "keycloak-admin", "client_secret": "keycloak-clients", "user_secret": "demo-users",
        "recovery_job": None, "timeout": 1.0, **changed,
    }  # fmt: skip


def test_first_and_second_run(keycloak: FakeKeycloak, cluster: FakeCluster) -> None:
    found, drift, requests = keycloak_realm.run(parameters(keycloak), check=False)
    assert "administrator admin: created" in [change.line() for change in found]
    assert (drift, requests) == ([], len(keycloak.requests))
    assert keycloak.client("shop", "worker")["secret"] == "s3cret-of-the-worker"
    assert keycloak.passwords["u1"] == "pa55-of-the-user"
    assert keycloak_realm.run(parameters(keycloak), check=False)[:2] == ([], [])


def test_nothing_secret_is_returned(keycloak: FakeKeycloak, cluster: FakeCluster) -> None:
    keycloak_realm.run(parameters(keycloak), check=False)
    keycloak.client("shop", "worker")["secret"] = "0ther-secret"
    keycloak.set_password(keycloak.user("shop", "u1"), "0ther-password")
    found, drift, _ = keycloak_realm.run(parameters(keycloak), check=False)
    told = json.dumps([[change.line(), repr(change)] for change in [*found, *drift]])
    assert "secret: '(hidden)'" in told
    assert "password: '(hidden)'" in told
    for value in ("0ther-secret", "0ther-password", *(value for values in SECRETS.values() for value in values.values() if len(value) > 6)):
        assert value not in told


def test_a_missing_secret_is_named_before_any_request(keycloak: FakeKeycloak, cluster: FakeCluster) -> None:
    with pytest.raises(declared.DeclarationError, match="BK-156: Secret identity/lost has no value 'username'"):
        keycloak_realm.run(parameters(keycloak, admin_secret="lost"), check=False)
    assert keycloak.requests == []
