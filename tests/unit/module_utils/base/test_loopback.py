"""Requests to the loopback address go there directly, whatever proxy the environment names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.base import loopback


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # its name is the protocol
        self.send_response(200 if self.path == "/v2/" else 403)
        self.send_header("Docker-Content-Digest", "sha256:1")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server on the loopback address; yields its URL."""
    with HTTPServer(("127.0.0.1", 0), _Answer) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that cannot be reached, as urllib would use it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def test_a_proxy_has_no_part(server: str) -> None:
    assert loopback.failure(f"{server}/v2/") is None
    assert (loopback.head(f"{server}/v2/", {}) or {})["docker-content-digest"] == "sha256:1"


def test_an_error_status_is_named(server: str) -> None:
    assert loopback.failure(f"{server}/other") == "HTTP status 403"
    assert loopback.head(f"{server}/other", {}) is None


def test_silence_is_named() -> None:
    assert "refused" in (loopback.failure("http://127.0.0.1:9/v2/") or "")
    with pytest.raises(OSError, match="refused"):
        loopback.head("http://127.0.0.1:9/v2/", {})
