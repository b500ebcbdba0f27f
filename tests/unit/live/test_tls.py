"""Threads that connect at once never use the same TLS settings: clients change them at each connect (tests/live/tls.py)."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tls_server import certified

from ansible_collections.bookstore.platform.plugins.module_utils.verification.web import LiveWeb
from tests.live.tls import Trust, plain_client

HOST = "localhost"
THREADS, CONNECTS = 16, 5


class Answering(BaseHTTPRequestHandler):
    """Closes each connection after its answer (HTTP/1.0), so that each request is a connect."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Set-Cookie", "seen=yes")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class TlsServer(ThreadingHTTPServer):
    """Each connection's handshake is made by its own thread."""

    request_queue_size = 128

    def __init__(self, settings: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.settings = settings

    def get_request(self) -> tuple[Any, Any]:
        plain, address = super().get_request()
        return self.settings.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address


class Watched(ssl.SSLContext):
    """Remembers the threads that use it."""

    threads: set[int]

    def set_alpn_protocols(self, alpn_protocols: Any) -> None:
        self.threads.add(threading.get_ident())
        super().set_alpn_protocols(alpn_protocols)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        self.threads.add(threading.get_ident())
        return super().wrap_socket(*arguments, **options)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The port of a server, and the authority of its certificate."""
    settings, pem = certified(HOST, tmp_path)
    settings.set_alpn_protocols(["http/1.1"])
    with TlsServer(settings) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port, pem
        server.shutdown()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    """All settings that are made from here on."""
    found: list[Watched] = []

    def make(*_: Any, cadata: str) -> Watched:
        one = Watched(ssl.PROTOCOL_TLS_CLIENT)
        one.load_verify_locations(cadata=cadata)
        one.threads = set()
        found.append(one)
        return one

    monkeypatch.setattr(ssl, "create_default_context", make)
    return found


def one_client(stack: ExitStack, port: int, pem: str) -> Callable[[], int]:
    client = stack.enter_context(Trust(pem).client())
    return lambda: client.get(f"https://{HOST}:{port}/").status_code


def clients_of_one_trust(stack: ExitStack, port: int, pem: str) -> Callable[[], int]:
    trust = Trust(pem)

    def ask() -> int:
        with trust.client() as client:
            return client.get(f"https://{HOST}:{port}/").status_code

    return ask


def verification(stack: ExitStack, port: int, pem: str) -> Callable[[], int]:
    web = LiveWeb(pem, port, 0)
    return lambda: web.https(HOST, "/").status


@pytest.mark.parametrize("prepare", [one_client, clients_of_one_trust, verification])
def test_threads_share_no_settings(authority: tuple[int, str], made: list[Watched], prepare: Any) -> None:
    together = threading.Barrier(THREADS)
    with ExitStack() as stack:
        ask = prepare(stack, *authority)

        def use(_: int) -> list[int]:
            together.wait(60)
            return [ask() for _ in range(CONNECTS)]

        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(use, range(THREADS)))
    assert answers == [[200] * CONNECTS] * THREADS
    used = [one.threads for one in made if one.threads]
    assert {len(threads) for threads in used} == {1}
    assert len(set().union(*used)) == THREADS


def test_a_client_has_one_cookie_jar_for_all_threads(authority: tuple[int, str]) -> None:
    port, pem = authority
    with Trust(pem).client() as client:
        thread = threading.Thread(target=client.get, args=(f"https://{HOST}:{port}/",))
        thread.start()
        thread.join()
        assert dict(client.cookies) == {"seen": "yes"}


def test_nobody_else_is_trusted(authority: tuple[int, str]) -> None:
    port, pem = authority
    for client in (Trust(None).client(), plain_client(), Trust(pem).client(base_url=f"https://127.0.0.1:{port}")):
        with client, pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client.get("/" if str(client.base_url) else f"https://{HOST}:{port}/")
