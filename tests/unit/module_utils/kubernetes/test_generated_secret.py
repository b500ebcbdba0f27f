"""Generated Secrets: made once, kept, copied, rotated by name, never returned."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import generated_secret
from ansible_collections.bookstore.platform.plugins.modules import generated_secret as module

PARAMS: dict[str, Any] = {
    "namespace": "ecom",
    "name": "db-roles",
    "keys": ["owner", "app"],
    "rotate": [],
    "copies": [{"namespace": "ecom", "name": "db-app", "keys": {"password": "app"}, "constants": {"username": "ecom_app"}}],
}


class Store:
    """An API server that holds Secrets."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        assert kind == "Secret"
        return self.secrets.get((namespace, name))

    def raw(self, path: str, method: str, body: dict[str, Any]) -> str:
        metadata = body["metadata"]
        exists = (metadata["namespace"], metadata["name"]) in self.secrets
        assert (method == "PUT") == exists, "an existing Secret is replaced, a missing one created"
        assert path.endswith("/secrets" if method == "POST" else f"/secrets/{metadata['name']}")
        self.secrets[(metadata["namespace"], metadata["name"])] = body
        self.writes.append((method, path))
        return json.dumps(body)

    def values(self, name: str) -> dict[str, str]:
        return generated_secret.decode(self.secrets[("ecom", name)])


def run(store: Store, check: bool = False, **change: Any) -> list[str]:
    return module.run(store, {**PARAMS, **change}, check)  # type: ignore[arg-type]


def test_values_are_long_different_and_need_no_quoting() -> None:
    values = {generated_secret.generate() for _ in range(50)}
    assert len(values) == 50
    assert all(len(value) == 32 and value.isalnum() and value.isascii() for value in values)


def test_first_run_creates_secret_and_copy() -> None:
    store = Store()
    assert run(store) == ["ecom/db-roles", "ecom/db-app"]
    assert store.values("db-app") == {"username": "ecom_app", "password": store.values("db-roles")["app"]}


def test_a_copy_holds_only_what_its_consumer_uses() -> None:
    store = Store()
    run(store)
    assert store.values("db-roles")["owner"] not in store.values("db-app").values()


def test_second_run_changes_nothing() -> None:
    store = Store()
    run(store)
    before = json.dumps(sorted((str(k), v) for k, v in store.secrets.items()))
    store.writes.clear()
    assert run(store) == []
    assert store.writes == []
    assert json.dumps(sorted((str(k), v) for k, v in store.secrets.items())) == before


def test_only_the_missing_value_is_made() -> None:
    store = Store()
    run(store)
    owner, app = store.values("db-roles")["owner"], store.values("db-roles")["app"]
    assert run(store, keys=["owner", "app", "ro"]) == ["ecom/db-roles"]
    assert (store.values("db-roles")["owner"], store.values("db-roles")["app"]) == (owner, app)
    assert len(store.values("db-roles")["ro"]) == 32


def test_a_lost_copy_is_made_again_with_the_same_value() -> None:
    store = Store()
    run(store)
    password = store.values("db-app")["password"]
    del store.secrets[("ecom", "db-app")]
    assert run(store) == ["ecom/db-app"]
    assert store.values("db-app")["password"] == password


def test_rotation_changes_one_value_and_its_copies() -> None:
    store = Store()
    run(store)
    old = store.values("db-roles")
    assert run(store, rotate=["app"]) == ["ecom/db-roles", "ecom/db-app"]
    new = store.values("db-roles")
    assert new["owner"] == old["owner"]
    assert new["app"] != old["app"]
    assert store.values("db-app")["password"] == new["app"]


def test_unknown_name_to_rotate_is_refused_before_anything_is_written() -> None:
    store = Store()
    with pytest.raises(ValueError, match="rotate=admin: there is no such key; write one of owner, app"):
        run(store, rotate=["admin"])
    assert store.writes == []


def test_check_mode_tells_and_writes_nothing() -> None:
    store = Store()
    assert run(store, check=True) == ["ecom/db-roles", "ecom/db-app"]
    assert store.writes == []


def test_what_is_reported_holds_no_value() -> None:
    store = Store()
    reported = json.dumps(run(store))
    values = [base64.b64decode(v).decode() for s in store.secrets.values() for k, v in s["data"].items() if k != "username"]
    assert values
    assert not any(value in reported for value in values)


SEVERAL: dict[str, Any] = {
    "secrets": [
        {**PARAMS, "name": f"{name}-roles", "copies": [{**PARAMS["copies"][0], "name": f"{name}-app"}]}
        for name in ("ecom-db", "inventory-db")
    ]
}


def test_several_secrets_in_one_call() -> None:
    store = Store()
    assert run(store, **SEVERAL) == ["ecom/ecom-db-roles", "ecom/ecom-db-app", "ecom/inventory-db-roles", "ecom/inventory-db-app"]
    assert store.values("ecom-db-roles")["app"] != store.values("inventory-db-roles")["app"]
    assert store.values("inventory-db-app")["password"] == store.values("inventory-db-roles")["app"]
    store.writes.clear()
    assert run(store, **SEVERAL) == []
    assert store.writes == []


def test_nothing_is_written_when_one_of_several_is_wrong() -> None:
    store = Store()
    wrong = [SEVERAL["secrets"][0], {**SEVERAL["secrets"][1], "rotate": ["admin"]}]
    with pytest.raises(ValueError, match="rotate=admin: there is no such key"):
        run(store, secrets=wrong)
    assert store.writes == []


def test_two_descriptions_of_one_secret_are_refused() -> None:
    store = Store()
    with pytest.raises(ValueError, match="secret=ecom/ecom-db-roles is described twice"):
        run(store, secrets=[SEVERAL["secrets"][0], {**SEVERAL["secrets"][1], "name": "ecom-db-roles"}])
    assert store.writes == []


def test_an_error_that_quotes_a_value_is_shown_without_it() -> None:
    value = generated_secret.generate()
    encoded = base64.b64encode(value.encode()).decode()
    text = f"BK-203: POST refused: {value} and {encoded} of user admin"
    assert generated_secret.masked(text, {"password": value, "username": "admin"}) == "BK-203: POST refused: *** and *** of user admin"
