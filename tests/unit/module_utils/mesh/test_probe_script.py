"""The probe's outcomes against real sockets on this host's loopback."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import probe_script

RBAC = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 19\r\n\r\nRBAC: access denied"
UPSTREAM = (
    b"HTTP/1.1 503 Service Unavailable\r\nserver: envoy\r\n\r\n"
    b"upstream connect error or disconnect/reset before headers. reset reason: "
)


@contextmanager
def server(reply: bytes | None, hold: bool = False) -> Iterator[int]:
    """Serve ``reply`` to what is sent; None closes the connection hard; ``hold`` never replies."""
    ended = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if hold:
                ended.wait(10)
                return
            self.request.recv(4096)
            if reply is None:
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.request.sendall(reply)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running.server_address[1]
        ended.set()
        running.shutdown()


def call(port: int, protocol: str = "http", **more: Any) -> dict[str, Any]:
    return {"id": "c1", "host": "127.0.0.1", "port": port, "protocol": protocol, "timeout": 0.3, **more}


@pytest.mark.parametrize(
    ("protocol", "reply", "outcome"),
    [
        ("http", b"HTTP/1.1 404 Not Found\r\n\r\n{}", "answered"),
        ("http", b"HTTP/1.1 403 Forbidden\r\n\r\n{}", "answered"),
        ("http", RBAC, "rbac_denied"),
        ("http", UPSTREAM + b"connection timeout", "timeout"),
        ("http", UPSTREAM + b"connection termination", "reset"),
        ("http", b"HTTP/1.1 503 Service Unavailable\r\n\r\nno healthy upstream", "unavailable"),
        ("http", b"", "reset"),
        ("http", None, "reset"),
        ("http", b"SSH-2.0", "error"),
        ("postgres", b"N", "answered"),
        ("postgres", b"", "reset"),
        ("postgres", b"E", "error"),
        ("redis", b"-NOAUTH Authentication required.\r\n", "answered"),
        ("kafka", b"\0\0\1\0", "answered"),
    ],
)
def test_outcomes(protocol: str, reply: bytes | None, outcome: str) -> None:
    with server(reply) as port:
        assert probe_script.attempt(call(port, protocol))["outcome"] == outcome


def test_silence_is_a_timeout_and_a_closed_port_is_not() -> None:
    with server(b"", hold=True) as port:
        assert probe_script.attempt(call(port))["outcome"] == "timeout"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert probe_script.attempt(call(free.getsockname()[1]))["outcome"] == "port_closed"


def test_unknown_name() -> None:
    assert probe_script.attempt({**call(1), "host": "no-such-host.invalid"})["outcome"] == "unresolved"


def test_patience_repeats_until_answered() -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        result = probe_script.run(call(port, patience=60))
    assert result["outcome"] == "answered"
    assert result["seconds"] < 60


def test_a_silence_is_repeated_and_a_reply_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not know the caller yet is asked again; what it says then counts, whatever it says."""
    replies = iter(["timeout", "timeout", "reset", "answered"])
    monkeypatch.setattr(probe_script, "attempt", lambda _: probe_script.outcome(next(replies)))
    monkeypatch.setattr(probe_script.time, "sleep", lambda _: None)
    assert probe_script.run({"patience": 5, "while": ["timeout"]})["outcome"] == "reset"
    assert probe_script.run({"patience": 5, "while": ["timeout"]})["outcome"] == "answered"


def test_runs_as_a_program_and_waits_for_the_proxy() -> None:
    with server(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        request = {"ready_url": ["127.0.0.1", port, "/"], "calls": [call(port), {**call(port), "id": "c2"}]}
        ran = subprocess.run(
            [sys.executable, probe_script.__file__, json.dumps(request)],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer["ready"]
    assert {key: value["outcome"] for key, value in answer["results"].items()} == {"c1": "answered", "c2": "answered"}


def test_without_its_proxy_nothing_is_called() -> None:
    with server(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as port:
        assert not probe_script.proxy_ready(("127.0.0.1", port, "/"), 0)


def test_spiffe_id_of_a_certificate() -> None:
    certificate = {"subjectAltName": (("URI", "spiffe://cluster.local/ns/ecom/sa/ecom-db"),)}
    assert probe_script.spiffe_id(certificate) == "spiffe://cluster.local/ns/ecom/sa/ecom-db"
    assert probe_script.spiffe_id({}) == "the certificate holds no SPIFFE id"
