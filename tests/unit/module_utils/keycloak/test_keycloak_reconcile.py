"""A realm is brought to its declaration and kept there, against a server over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from keycloak_server import FakeKeycloak

from ansible_collections.bookstore.platform.plugins.module_utils.keycloak import api, compare, declared, reconcile

MANAGE = "realm-management/manage-users"
MAPPER = {"name": "sub", "protocolMapper": "oidc-sub-mapper", "config": {"access.token.claim": "true"}}
DATA: dict[str, Any] = {
    "name": "shop",
    "settings": {"enabled": True, "accessTokenLifespan": 300, "browserSecurityHeaders": {"xFrameOptions": ""}},
    "roles": {"customer": "Buys", "admin": "Runs"},
    "default_roles": ["customer"],
    "clients": [
        {"id": "ui", "fields": {"redirectUris": ["https://a/1", "https://a/2"], "defaultClientScopes": [], "attributes": {"pkce": "S256"}},
         "mappers": [MAPPER], "scope_roles": ["customer", "admin"]},
        {"id": "worker", "fields": {"serviceAccountsEnabled": True, "defaultClientScopes": []}, "mappers": [],
         "scope_roles": [MANAGE], "account_roles": [MANAGE], "secret": "worker"},
    ],
    "absent_clients": ["old"],
    "users": [{"username": "u1", "fields": {"enabled": True, "email": "u1@x.test"}, "roles": ["admin"], "password": "u1"}],
}  # fmt: skip


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    server = FakeKeycloak()
    server.passwords["admin"] = "right"
    yield server
    server.stop()


def run(keycloak: FakeKeycloak, check: bool = False, password: str = "pa55word", **changed: Any) -> reconcile.Reconciler:
    """Make one pass and leave only its requests in the server's log."""
    client = api.AdminApi(keycloak.url)
    client.sign_in("admin", "right")
    keycloak.requests.clear()
    realm = declared.realm({**DATA, **changed}, {"worker": "s3cret"}, {"u1": password}, ("c", "u"))
    reconciler = reconcile.Reconciler(client, realm, check)
    reconciler.run()
    return reconciler


def lines(found: list[compare.Change]) -> list[str]:
    return [change.line() for change in found]


def test_an_empty_server_gets_everything(keycloak: FakeKeycloak) -> None:
    found = run(keycloak)
    assert {"realm shop: created", "client ui: created", "role admin: created", "user u1: created"} <= set(lines(found.changes))
    assert found.drift == []
    ui, worker, user = keycloak.client("shop", "ui"), keycloak.client("shop", "worker"), keycloak.user("shop", "u1")
    assert [mapper["name"] for mapper in ui["protocolMappers"]] == ["sub"]
    assert (ui["defaultClientScopes"], worker["defaultClientScopes"], worker["secret"]) == ([], [], "s3cret")
    assert keycloak.role_names("shop", "clients", ui["id"]) == ["admin", "customer"]
    assert keycloak.role_names("shop", "users", worker["_account"]) == ["manage-users"]
    assert keycloak.role_names("shop", "users", user["id"]) == ["admin", "default-roles-shop"]
    assert [role["name"] for role in keycloak.realms["shop"]["roles"][0]["composites"]] == ["customer"]
    assert keycloak.passwords["u1"] == "pa55word"


def test_a_second_pass_finds_nothing_and_only_reads(keycloak: FakeKeycloak) -> None:
    run(keycloak)
    assert run(keycloak).changes == []
    assert keycloak.writes == []
    # One for each list, three for each account, one for each set of roles.
    assert len(keycloak.requests) <= 12


def test_check_mode_tells_the_same_and_writes_nothing(keycloak: FakeKeycloak) -> None:
    assert "client worker: created" in lines(run(keycloak, check=True).changes)
    assert keycloak.writes == []
    assert list(keycloak.realms) == ["master"]
    run(keycloak)
    keycloak.realms["shop"]["settings"]["accessTokenLifespan"] = 9
    assert lines(run(keycloak, check=True).changes) == ["realm shop: accessTokenLifespan: 9 -> 300"]
    assert keycloak.realms["shop"]["settings"]["accessTokenLifespan"] == 9


def _settings(keycloak: FakeKeycloak) -> None:
    keycloak.realms["shop"]["settings"]["browserSecurityHeaders"]["xFrameOptions"] = "SAMEORIGIN"


def _redirects(keycloak: FakeKeycloak) -> None:
    keycloak.client("shop", "ui")["redirectUris"] = ["https://evil/*"]


def _mapper(keycloak: FakeKeycloak) -> None:
    keycloak.client("shop", "ui")["protocolMappers"][0]["config"]["access.token.claim"] = "false"


def _foreign_mapper(keycloak: FakeKeycloak) -> None:
    keycloak.client("shop", "ui")["protocolMappers"].append({"id": "m", "name": "hardcoded-admin", "config": {}})


def _scope(keycloak: FakeKeycloak) -> None:
    keycloak.client("shop", "ui")["defaultClientScopes"] = ["roles"]


def _token_roles(keycloak: FakeKeycloak) -> None:
    mapping = keycloak.realms["shop"]["mappings"][f"clients/{keycloak.client('shop', 'ui')['id']}"]
    mapping["realm"] = [role for role in mapping["realm"] if role["name"] == "customer"]


def _account_roles(keycloak: FakeKeycloak) -> None:
    admin = next(role for role in keycloak.realms["shop"]["roles"] if role["name"] == "admin")
    keycloak.realms["shop"]["mappings"][f"users/{keycloak.client('shop', 'worker')['_account']}"]["realm"] = [admin]


def _default_roles(keycloak: FakeKeycloak) -> None:
    admin = next(role for role in keycloak.realms["shop"]["roles"] if role["name"] == "admin")
    keycloak.realms["shop"]["roles"][0]["composites"].append(admin)


def _user_roles(keycloak: FakeKeycloak) -> None:
    _keep_role(keycloak, "default-roles-shop")


def _user_default_role(keycloak: FakeKeycloak) -> None:
    """Without it the account is no customer any more: roles that all have are given through it."""
    _keep_role(keycloak, "admin")


def _keep_role(keycloak: FakeKeycloak, name: str) -> None:
    mapping = keycloak.realms["shop"]["mappings"][f"users/{keycloak.user('shop', 'u1')['id']}"]
    mapping["realm"] = [role for role in mapping["realm"] if role["name"] == name]


def _description(keycloak: FakeKeycloak) -> None:
    next(role for role in keycloak.realms["shop"]["roles"] if role["name"] == "admin")["description"] = "x"


def _secret(keycloak: FakeKeycloak) -> None:
    keycloak.client("shop", "worker")["secret"] = "0ther"


def _password(keycloak: FakeKeycloak) -> None:
    keycloak.set_password(keycloak.user("shop", "u1"), "0ther")


def _forbidden_client(keycloak: FakeKeycloak) -> None:
    keycloak.add_client("shop", {"clientId": "old"})


@pytest.mark.parametrize(
    ("drift", "line"),
    [
        (_settings, "realm shop: browserSecurityHeaders.xFrameOptions: 'SAMEORIGIN' -> ''"),
        (_redirects, "client ui: redirectUris: ['https://evil/*'] -> ['https://a/1', 'https://a/2']"),
        (_mapper, "client ui: mapper sub: config.access.token.claim: 'false' -> 'true'"),
        (_foreign_mapper, "client ui: mapper hardcoded-admin: removed"),
        (_scope, "client ui: defaultClientScopes: ['roles'] -> []"),
        (_token_roles, "client ui: roles in tokens: roles: ['customer'] -> ['admin', 'customer']"),
        (_account_roles, f"client worker: roles of its account: roles: ['admin', '{MANAGE}'] -> ['{MANAGE}']"),
        (_default_roles, "default roles: roles: ['admin', 'customer'] -> ['customer']"),
        (_user_roles, "user u1: roles: ['default-roles-shop'] -> ['admin', 'default-roles-shop']"),
        (_user_default_role, "user u1: roles: ['admin'] -> ['admin', 'default-roles-shop']"),
        (_description, "role admin: description: 'x' -> 'Runs'"),
        (_secret, "client worker: secret: '(hidden)' -> '(hidden)'"),
        (_password, "user u1: password: '(hidden)' -> '(hidden)'"),
        (_forbidden_client, "client old: removed"),
    ],
)  # fmt: skip
def test_drift_is_told_and_corrected(keycloak: FakeKeycloak, drift: Any, line: str) -> None:
    run(keycloak)
    drift(keycloak)
    found = run(keycloak)
    assert lines(found.changes) == [line]
    assert found.drift == found.changes
    assert run(keycloak).changes == []


def test_what_is_not_declared_is_left_alone(keycloak: FakeKeycloak) -> None:
    run(keycloak)
    keycloak.realms["shop"]["settings"]["loginTheme"] = "own"
    keycloak.client("shop", "ui")["attributes"]["other"] = "kept"
    keycloak.client("shop", "ui")["redirectUris"] = []
    keycloak.realms["shop"]["settings"]["accessTokenLifespan"] = 9
    keycloak.add_client("shop", {"clientId": "foreign"})
    run(keycloak)
    assert keycloak.realms["shop"]["settings"]["loginTheme"] == "own"
    assert keycloak.client("shop", "ui")["attributes"] == {"other": "kept", "pkce": "S256"}
    assert keycloak.client("shop", "foreign")


def test_a_rotated_password_is_set(keycloak: FakeKeycloak) -> None:
    run(keycloak)
    assert lines(run(keycloak, password="n3w").changes) == ["user u1: password: '(hidden)' -> '(hidden)'"]
    assert keycloak.passwords["u1"] == "n3w"
    assert run(keycloak, password="n3w").changes == []


def test_the_fingerprint_does_not_hold_the_password() -> None:
    credential = {"id": "c", "createdDate": 1}
    assert "pa55" not in reconcile.fingerprint(credential, "pa55")
    assert reconcile.fingerprint(credential, "pa55") != reconcile.fingerprint({**credential, "createdDate": 2}, "pa55")


def test_a_new_client_in_an_old_realm_is_no_drift(keycloak: FakeKeycloak) -> None:
    run(keycloak, clients=DATA["clients"][:1])
    found = run(keycloak)
    assert "client worker: created" in lines(found.changes)
    assert found.drift == []
