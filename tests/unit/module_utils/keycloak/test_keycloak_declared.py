"""Declarations are checked before the first request."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.keycloak import declared

DATA: dict[str, Any] = {
    "name": "r", "settings": {}, "roles": {"customer": "Buys", "admin": "Runs"}, "default_roles": ["customer"],
    "clients": [{"id": "shop", "secret": "shop", "scope_roles": ["customer"]}], "absent_clients": [],
    "users": [{"username": "u", "roles": ["admin"], "password": "u"}],
}  # fmt: skip


def read(**changed: Any) -> declared.Realm:
    return declared.realm({**DATA, **changed}, {"shop": "s3cret"}, {"u": "pa55"}, ("keycloak-clients", "demo-users"))


def test_secrets_are_filled_in_and_not_shown() -> None:
    realm = read()
    assert (realm.clients[0].secret, realm.users[0].password) == ("s3cret", "pa55")
    assert "s3cret" not in repr(realm)
    assert "pa55" not in repr(realm)


def test_what_is_left_out_is_not_managed() -> None:
    client = read(clients=[{"id": "x"}]).clients[0]
    assert (client.mappers, client.scope_roles, client.account_roles, client.secret) == (None, None, None, None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"clients": [{"id": "x", "feilds": {}}]}, r"client x: unknown key 'feilds'; use account_roles"),
        ({"clients": [{"id": "x", "secret": "lost"}]}, r"client x: Secret keycloak-clients has no value 'lost'"),
        ({"clients": [{"id": "x", "scope_roles": ["boss"]}]}, r"client x: role 'boss' is not among admin, customer"),
        ({"clients": [{"id": "x", "account_roles": ["boss"]}]}, r"client x: role 'boss'"),
        ({"absent_clients": ["shop"]}, "client shop is declared and declared absent"),
        ({"users": [{"username": "v", "password": "v"}]}, "user v: Secret demo-users has no value 'v'"),
        ({"users": [{"username": "u", "password": "u", "rolls": []}]}, "user u: unknown key 'rolls'"),
        ({"users": [{"username": "u", "password": "u", "roles": ["boss"]}]}, "role 'boss' is not declared"),
        ({"default_roles": ["boss"]}, "role 'boss' is not declared"),
    ],
)
def test_contradictions_are_refused_with_their_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(declared.DeclarationError, match=f"BK-156: .*{message}|BK-156: {message}"):
        read(**changed)


def test_roles_of_other_clients_need_no_declaration() -> None:
    assert read(clients=[{"id": "x", "account_roles": ["realm-management/manage-users"]}]).clients[0].account_roles
