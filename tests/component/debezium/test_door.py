"""The door in front of a Debezium Server: its health and how far a snapshot is, by its own names, and nothing else."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from .pipeline import Debezium, until

pytestmark = pytest.mark.timeout(600)
HEALTH = "/q/health/live"


def ask(debezium: Debezium, path: str, host: str = "localhost", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", debezium.door, timeout=15)
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def listens(debezium: Debezium) -> bool:
    """Whether somebody answers at the door's port."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", debezium.door)) == 0


def test_the_door_shows_the_health_by_its_own_names_and_nothing_else(debezium: Debezium) -> None:
    debezium.container.start()
    until(lambda: listens(debezium) or not debezium.container.running, "the door")
    # The guard is at work, and the server not there yet: a refusal is one all the same.
    assert ask(debezium, HEALTH, host="evil.test")[0] == 421
    debezium.container.restart()
    debezium.first_snapshot()
    for host in ("localhost", "LOCALHOST:32300", "127.0.0.1:32300", "[::1]", "debezium-ecom:8080", "debezium-ecom.infra.svc.cluster.local"):
        status, headers, body = ask(debezium, HEALTH, host=host)
        assert (status, json.loads(body)["status"]) == (200, "UP"), host
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert ask(debezium, "/q/snapshot", host="evil.test")[0] == 421
    status, headers, body = ask(debezium, "/q/snapshot")
    assert (status, json.loads(body), headers["cache-control"]) == (200, {"stage": "none"}, "no-store")
    for host in ("evil.test", "evil.test:32300", "localhost.evil.test", "localhost, evil.test", "192.0.2.7", "2130706433", "127.1", ""):
        assert ask(debezium, HEALTH, host=host)[0] in (400, 421), host
    for path in (
        "/",
        "/q/metrics",
        "/q/dev",
        "/q/health/../metrics",
        "/q/health/live/",
        "/q/health/live;x",
        "//q/health/live",
        "/q/health%2Flive",
    ):
        # Two slashes at the start are no path of this host: 400.
        assert ask(debezium, path)[0] in (400, 404), path
    for method in ("POST", "PUT", "DELETE", "TRACE", "OPTIONS"):
        assert ask(debezium, HEALTH, method=method)[0] == 405, method
    status, headers, body = ask(debezium, HEALTH, method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_slow_clients_keep_nobody_out(debezium: Debezium) -> None:
    debezium.first_snapshot()
    slow = [socket.create_connection(("127.0.0.1", debezium.door), timeout=15) for _ in range(100)]
    try:
        for one in slow:
            one.sendall(b"GET /q/health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert ask(debezium, HEALTH)[0] == 200
        # It was answered beside them, not after the server gave them up.
        slow[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            slow[-1].recv(1)
        # The first of them is not waited for without an end.
        slow[0].settimeout(60)
        assert slow[0].recv(100)[:12] in (b"", b"HTTP/1.1 408")
    except ConnectionResetError:
        pass
    finally:
        for one in slow:
            one.close()
