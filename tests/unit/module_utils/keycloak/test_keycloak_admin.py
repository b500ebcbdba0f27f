"""The administrator gets in whatever the server's database knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fakes import FakeCluster
from keycloak_server import FakeKeycloak

from ansible_collections.bookstore.platform.plugins.module_utils.keycloak import admin, api
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import generated_secret, workloads

ADMIN = {"username": "admin", "password": "right"}
JOB = {"kind": "Job", "metadata": {"namespace": "identity", "name": "keycloak-recovery"}, "spec": {}}


class RecoveringCluster(FakeCluster):
    """Runs the recovery Job: makes the temporary account of its Secret, or fails."""

    def __init__(self, keycloak: FakeKeycloak, fails: bool = False) -> None:
        super().__init__()
        self.keycloak, self.fails = keycloak, fails
        self.requests: list[tuple[str, str]] = []

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        if kind == "Job":
            status = {"type": "Failed" if self.fails else "Complete", "status": "True", "message": "out of luck"}
            self.store["Job"] = [{**body, "status": {"conditions": [status], "failed": int(self.fails), "succeeded": int(not self.fails)}}]
            if not self.fails:
                values = generated_secret.decode(self.created[-1])
                user = self.keycloak.add_user("master", {"username": values["username"], "attributes": {"is_temporary_admin": ["true"]}})
                self.keycloak.set_password(user, values["password"])
        return super().create(kind, body)

    def raw(self, path: str, method: str = "GET", body: Any = None, query: Any = None) -> str:
        self.requests.append((method, path))
        self.store.pop("Job", None)
        return "{}"


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    server = FakeKeycloak()
    yield server
    server.stop()


def add_admin(keycloak: FakeKeycloak, name: str, password: str, temporary: bool) -> None:
    attributes = {"attributes": {"is_temporary_admin": ["true"]}} if temporary else {}
    keycloak.set_password(keycloak.add_user("master", {"username": name, **attributes}), password)


def lines(found: list[Any]) -> list[str]:
    return [change.line() for change in found]


def test_the_usual_way_needs_one_request(keycloak: FakeKeycloak) -> None:
    add_admin(keycloak, "admin", "right", temporary=False)
    assert admin.sign_in(api.AdminApi(keycloak.url), FakeCluster(), ADMIN, JOB, check=False) == []  # type: ignore[arg-type]
    assert len(keycloak.requests) == 1


def test_the_first_account_makes_the_lasting_one_and_goes(keycloak: FakeKeycloak) -> None:
    add_admin(keycloak, admin.BOOTSTRAP, "right", temporary=True)
    server = api.AdminApi(keycloak.url)
    assert lines(admin.sign_in(server, FakeCluster(), ADMIN, JOB, check=False)) == ["administrator admin: created"]  # type: ignore[arg-type]
    assert keycloak.role_names("master", "users", keycloak.user("master", "admin")["id"]) == ["admin", "default-roles-master"]
    assert lines(admin.settle(server, ADMIN, {}, check=False)) == [f"administrator {admin.BOOTSTRAP}: removed"]
    assert [user["username"] for user in keycloak.realms["master"]["users"]] == ["admin"]


def test_a_kept_database_gets_the_new_password(keycloak: FakeKeycloak) -> None:
    add_admin(keycloak, "admin", "of the old cluster", temporary=False)
    cluster = RecoveringCluster(keycloak)
    server = api.AdminApi(keycloak.url)
    assert lines(admin.sign_in(server, cluster, ADMIN, JOB, check=False)) == ["administrator admin: password: '(hidden)' -> '(hidden)'"]  # type: ignore[arg-type]
    assert keycloak.passwords["admin"] == "right"
    assert cluster.deleted == ["keycloak-recovery", "keycloak-recovery"]
    assert [method for method, _ in cluster.requests] == ["DELETE"]
    temporary = generated_secret.decode(cluster.created[0])
    assert temporary["password"] not in {"right", ""}
    assert lines(admin.settle(server, ADMIN, {}, check=False)) == [f"administrator {temporary['username']}: removed"]


def test_check_mode_does_not_recover(keycloak: FakeKeycloak) -> None:
    add_admin(keycloak, "admin", "of the old cluster", temporary=False)
    cluster = RecoveringCluster(keycloak)
    with pytest.raises(api.SignInRefusedError, match="BK-155: .* refuses the administrator admin"):
        admin.sign_in(api.AdminApi(keycloak.url), cluster, ADMIN, JOB, check=True)  # type: ignore[arg-type]
    assert cluster.created == []


def test_check_mode_leaves_the_first_account(keycloak: FakeKeycloak) -> None:
    add_admin(keycloak, admin.BOOTSTRAP, "right", temporary=True)
    server = api.AdminApi(keycloak.url)
    assert lines(admin.sign_in(server, FakeCluster(), ADMIN, JOB, check=True)) == ["administrator admin: created"]  # type: ignore[arg-type]
    assert len(admin.settle(server, ADMIN, {"attributes": {"frontendUrl": "x"}}, check=True)) == 2
    assert keycloak.writes == []


def test_an_administrator_whom_guessers_locked_out_gets_in(keycloak: FakeKeycloak) -> None:
    add_admin(keycloak, "admin", "right", temporary=False)
    keycloak.locked.add("admin")
    server, cluster = api.AdminApi(keycloak.url), RecoveringCluster(keycloak)
    admin.sign_in(server, cluster, ADMIN, JOB, check=False)
    server.sign_in("admin", "right")


def test_a_failed_recovery_leaves_nothing_behind(keycloak: FakeKeycloak) -> None:
    cluster = RecoveringCluster(keycloak, fails=True)
    with pytest.raises(api.KeycloakError, match="BK-155: the administrator's password could not be set anew"):
        admin.sign_in(api.AdminApi(keycloak.url), cluster, ADMIN, JOB, check=False)  # type: ignore[arg-type]
    assert cluster.deleted[-1] == "keycloak-recovery"
    assert "Job" not in cluster.store


def test_settings_of_the_administrators_realm(keycloak: FakeKeycloak) -> None:
    add_admin(keycloak, "admin", "right", temporary=False)
    server = api.AdminApi(keycloak.url)
    server.sign_in("admin", "right")
    settings = {"attributes": {"frontendUrl": "http://127.0.0.1:32400"}}
    assert lines(admin.settle(server, ADMIN, settings, check=False)) == ["realm master: attributes.frontendUrl: None -> 'http://127.0.0.1:32400'"]
    assert admin.settle(server, ADMIN, settings, check=False) == []


def test_waiting_ends_with_what_was_seen(keycloak: FakeKeycloak) -> None:
    keycloak.refuse["GET", "/realms/master"] = 503
    with pytest.raises(api.KeycloakError, match="was refused with 503: no such thing here, for 0 s"):
        admin.wait_until_answering(api.AdminApi(keycloak.url), timeout=0)


def test_the_recovery_job_can_be_waited_for() -> None:
    assert workloads.parse([{"kind": "Job", "namespace": "identity", "name": "keycloak-recovery"}])
