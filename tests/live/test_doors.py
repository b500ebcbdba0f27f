"""The doors on the host's loopback address (N2 to N8): each answers to its own names only, and cannot be framed."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

import pytest

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table

from .conftest import PLACES
from .declared import NODE_PORTS, WORKLOADS

# What verify asks for, too.
DEPLOYED = {row["id"]: row["path"] for row in workload_table.node_port_requests(WORKLOADS)}
DOORS = {row["id"]: row["node_port"] for row in NODE_PORTS if row["id"] in DEPLOYED}
FOREIGN = (
    "evil.test",
    "evil.test:{port}",
    "localhost.evil.test:{port}",
    "127.0.0.1.nip.test:{port}",
    "192.0.2.7:{port}",
    "localhost, evil.test",
)


def ask(port: int, path: str, *hosts: str, forwarded: str = "") -> tuple[int, dict[str, str]]:
    """Status and headers (lower case) of an answer to a request with these Host headers, and X-Forwarded-Host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest("GET", path, skip_host=True)
        for host in hosts:
            connection.putheader("Host", host)
        if forwarded:
            connection.putheader("X-Forwarded-Host", forwarded)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def test_every_door_that_is_deployed_is_looked_at() -> None:
    """Whoever adds one says in the table what to ask it for; the gateway (N1) has tests of its own."""
    assert set(workload_table.required_node_ports(WORKLOADS)) - {"N1"} == set(DOORS)


@pytest.mark.parametrize("door", list(DEPLOYED))
def test_own_names_are_answered_with_headers_that_protect(door: str) -> None:
    port, path = DOORS[door], DEPLOYED[door]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        status, headers = ask(port, path, host)
        assert status == 200, host
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] in ("DENY", "SAMEORIGIN")


# A page may send this header, and no Host but its own.
@pytest.mark.parametrize("forwarded", ["", "localhost", "{site}"])
@pytest.mark.parametrize("door", list(DEPLOYED))
@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_names_are_refused_whatever_is_asked_for(door: str, host: str, forwarded: str) -> None:
    port = DOORS[door]
    for path in (DEPLOYED[door], "/", "/nothing/here", "/admin/master/console/"):
        # The mesh's proxy refuses what is no name at all, with 400.
        status, _ = ask(port, path, host.format(port=port), forwarded=forwarded.format(site=urlsplit(PLACES.id).netloc))
        assert status in ((400, 421) if "," in host else (421,)), path


def test_the_header_of_the_gateway_opens_what_the_gateway_shows_and_no_more() -> None:
    port, site = DOORS["N8"], urlsplit(PLACES.id).netloc
    assert ask(port, "/realms/bookstore/.well-known/openid-configuration", "evil.test", forwarded=site)[0] == 200
    for path in ("/realms/master", "/realms/bookstore/../master", "/realms/bookstore/%2e%2e/master", "/realms/bookstore//../master",
                 "/resources/../admin/master/console/", "/admin/master/console/", "/realms/bookstore;/../master"):  # fmt: skip
        assert ask(port, path, "evil.test", forwarded=site)[0] in (400, 421), path


@pytest.mark.parametrize("door", list(DEPLOYED))
def test_a_second_host_header_opens_nothing(door: str) -> None:
    """No browser sends two. Keycloak's server takes the first one for both."""
    port = DOORS[door]
    for hosts in (("evil.test", "localhost"), (), *([] if door == "N8" else [("localhost", "evil.test")])):
        assert ask(port, DEPLOYED[door], *hosts)[0] in (400, 421), hosts
