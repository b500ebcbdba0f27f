"""PgAdmin on its door: sign-in, the four servers, a statement in each, and what its role may not do (SPEC 9)."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from tests.pgadmin_client import PgAdmin, RefusedError, sign_in

from .declared import door
from .signin import Hidden
from .tls import plain_client

URL = f"http://127.0.0.1:{door('N2')}"
SERVERS = {"ecom-db": "ecom_ro", "inventory-db": "inventory_ro", "keycloak-db": "keycloak_ro", "analytics-db": "analytics_ro"}
# A table of each that the role may read.
KNOWN = {"ecom-db": "books", "inventory-db": "stock_movements", "keycloak-db": "keycloak_role", "analytics-db": "fact_orders"}


@pytest.fixture(scope="module")
def visitor() -> Iterator[httpx2.Client]:
    """A browser that has not signed in."""
    with plain_client(base_url=URL, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def person(cluster: Cluster) -> Iterator[PgAdmin]:
    """The account's session."""
    secret = cluster.get("Secret", "admin-tools", "pgadmin-admin")
    assert secret is not None, "admin-tools/pgadmin-admin does not exist; run make up"
    name, password = (base64.b64decode(secret["data"][key]).decode("utf-8") for key in ("username", "password"))
    with plain_client(base_url=URL, timeout=60) as client:
        assert sign_in(client, name, Hidden(password))
        yield PgAdmin(client)


@pytest.mark.parametrize("path", ["/browser/", "/browser/server_group/nodes/", "/preferences/", "/user_management/"])
def test_nothing_is_shown_without_a_sign_in(visitor: httpx2.Client, path: str) -> None:
    assert visitor.get(path).status_code in (302, 401, 404)


def test_the_four_servers_are_registered(person: PgAdmin) -> None:
    assert set(SERVERS) <= set(person.servers())


@pytest.mark.parametrize("server", list(SERVERS))
def test_each_answers_without_a_typed_password_and_changes_nothing(person: PgAdmin, server: str) -> None:
    assert person.query(server, "SELECT current_user, current_setting('transaction_read_only')") == [[SERVERS[server], "on"]]
    assert len(person.query(server, f"SELECT count(*) FROM {KNOWN[server]}")) == 1
    with pytest.raises(RefusedError, match="read-only transaction"):
        person.query(server, f"DELETE FROM {KNOWN[server]}")


def test_of_keycloak_it_reads_no_secrets(person: PgAdmin) -> None:
    for table in ("credential", "client", "component_config", "realm_smtp_config", "offline_user_session"):
        with pytest.raises(RefusedError, match="permission denied"):
            person.query("keycloak-db", f"SELECT * FROM {table}")
