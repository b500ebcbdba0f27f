"""The doors on the host's loopback address (N2 to N8): each answers to its own names only, and cannot be framed."""

from __future__ import annotations

import http.client

import pytest

from .conftest import NETWORK

DEPLOYED = {"N3": "/health", "N5": "/overview", "N6": "/q/health", "N7": "/q/health", "N8": "/realms/master"}
DOORS = {row["id"]: row["node_port"] for row in NETWORK["bookstore_nodeports"] if row["id"] in DEPLOYED}
FOREIGN = (
    "evil.test",
    "evil.test:{port}",
    "localhost.evil.test:{port}",
    "127.0.0.1.nip.test:{port}",
    "192.0.2.7:{port}",
    "localhost, evil.test",
)


def ask(port: int, path: str, *hosts: str) -> tuple[int, dict[str, str]]:
    """Status and headers (lower case) of an answer to a request with these Host headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest("GET", path, skip_host=True)
        for host in hosts:
            connection.putheader("Host", host)
        connection.putheader("X-Forwarded-Host", "localhost")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def test_every_door_that_is_deployed_is_looked_at() -> None:
    """PgAdmin and Kiali (N2, N4) join when they are there."""
    assert {row["id"] for row in NETWORK["bookstore_nodeports"]} - {"N1", "N2", "N4"} == set(DOORS)


@pytest.mark.parametrize("door", list(DEPLOYED))
def test_own_names_are_answered_with_headers_that_protect(door: str) -> None:
    port, path = DOORS[door], DEPLOYED[door]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        status, headers = ask(port, path, host)
        assert status == 200, host
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] in ("DENY", "SAMEORIGIN")


@pytest.mark.parametrize("door", list(DEPLOYED))
@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_names_are_refused_whatever_is_asked_for(door: str, host: str) -> None:
    port = DOORS[door]
    for path in (DEPLOYED[door], "/", "/nothing/here"):
        assert ask(port, path, host.format(port=port))[0] == 421, path


@pytest.mark.parametrize("door", list(DEPLOYED))
def test_a_second_host_header_opens_nothing(door: str) -> None:
    port = DOORS[door]
    for hosts in (("evil.test", "localhost"), ("localhost", "evil.test"), ()):
        assert ask(port, DEPLOYED[door], *hosts)[0] in (400, 421), hosts
