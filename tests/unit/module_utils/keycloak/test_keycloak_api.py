"""The admin REST API's client: errors, proxies, and that nothing secret is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from keycloak_server import TOKEN, FakeKeycloak

from ansible_collections.bookstore.platform.plugins.module_utils.keycloak import api


@pytest.fixture
def keycloak() -> Iterator[FakeKeycloak]:
    server = FakeKeycloak()
    server.passwords["admin"] = "right"
    yield server
    server.stop()


@pytest.fixture
def admin(keycloak: FakeKeycloak) -> api.AdminApi:
    client = api.AdminApi(keycloak.url)
    client.sign_in("admin", "right")
    return client


def test_a_missing_object_is_none(admin: api.AdminApi) -> None:
    assert admin.get("nowhere") is None


def test_a_wrong_password_is_named_as_such_without_itself(keycloak: FakeKeycloak) -> None:
    with pytest.raises(api.SignInRefusedError) as caught:
        api.AdminApi(keycloak.url).sign_in("admin", "wr0ng")
    assert "admin" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_a_server_error_at_sign_in_is_no_wrong_password(keycloak: FakeKeycloak) -> None:
    keycloak.refuse["POST", "/realms/master/protocol/openid-connect/token"] = 503
    with pytest.raises(api.KeycloakError) as caught:
        api.AdminApi(keycloak.url).sign_in("admin", "right")
    assert not isinstance(caught.value, api.SignInRefusedError)
    assert caught.value.status == 503


def test_a_refusal_quotes_the_server_and_no_secret(keycloak: FakeKeycloak, admin: api.AdminApi) -> None:
    keycloak.refuse["PUT", "/admin/realms/master"] = 400
    with pytest.raises(api.KeycloakError, match="BK-153: PUT .*/admin/realms/master was refused with 400: no such thing here") as caught:
        admin.put("master", body={"secret": "s3cret"})
    assert "s3cret" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_no_answer_names_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        client = api.AdminApi(url)
        assert client.answers().startswith(f"BK-154: Keycloak does not answer on {url}")


def test_the_loopback_address_is_reached_without_the_proxy(keycloak: FakeKeycloak, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert api.AdminApi(keycloak.url).answers() == ""


def test_parts_of_a_path_are_quoted(keycloak: FakeKeycloak, admin: api.AdminApi) -> None:
    assert admin.get("a/b?c") is None
    assert keycloak.requests[-1] == ("GET", "/admin/realms/a%2Fb%3Fc")
