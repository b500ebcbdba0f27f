"""A real local HTTP server whose answers a test scripts and whose requests it records: a peer that may misbehave."""

import json
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


@dataclass(frozen=True)
class RecordedRequest:
    """What came in; header names in lower case, ``query`` with a list per name."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())


@dataclass(frozen=True)
class Answer:
    """What to reply. ``delay`` in seconds; ``drop`` closes the connection without a word."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    drop: bool = False

    def content(self) -> bytes:
        """Bytes and text as they are, anything else as JSON; None is an empty body."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class HttpStub:
    """Answers by route: queued answers first, in order, each once; then the standing answer; else 404."""

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self._queued: dict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self._standing: dict[tuple[str, str], Answer] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        """Base address without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, status: int = 200, body: Any = None, **options: Any) -> None:
        """Queue one answer for ``method path`` (without query); ``options`` as in :class:`Answer`."""
        with self._lock:
            self._queued[method, path].append(Answer(status, body, **options))

    def always(self, method: str, path: str, status: int = 200, body: Any = None, **options: Any) -> None:
        """Answer ``method path`` so whenever nothing is queued for it."""
        with self._lock:
            self._standing[method, path] = Answer(status, body, **options)

    def reset(self) -> None:
        """Forget answers and requests; start again if stopped."""
        with self._lock:
            self._queued.clear()
            self._standing.clear()
            self.requests.clear()
        self.start()

    def requests_to(self, method: str, path: str) -> list[RecordedRequest]:
        with self._lock:
            return [request for request in self.requests if (request.method, request.path) == (method, path)]

    def start(self) -> None:
        """Listen, on the same port as before; harmless if it already does."""
        if self._server is not None:
            return
        stub = self

        class Handler(_Handler):
            owner = stub

        self._closing.clear()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on, and cut those that are open."""
        if self._server is None or self._thread is None:
            return
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def take(self, request: RecordedRequest) -> Answer:
        """Record ``request`` and return what to reply."""
        with self._lock:
            self.requests.append(request)
            queue = self._queued[request.method, request.path]
            if queue:
                return queue.popleft()
            return self._standing.get((request.method, request.path), Answer(404, {"detail": "not scripted"}))

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass, or less if the server stops."""
        self._closing.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):  # kept-alive ones, too: a stopped peer has none
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # already gone

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away while it is answered is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    owner: HttpStub
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client, or stop(), closed the connection
            self.close_connection = True

    def _reply(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        address = urlsplit(self.path)
        answer = self.owner.take(
            RecordedRequest(
                self.command,
                address.path,
                parse_qs(address.query, keep_blank_values=True),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(length),
            )
        )
        if answer.delay:
            self.owner.wait(answer.delay)
        if answer.drop:
            self.close_connection = True
            return
        content = answer.content()
        self.send_response(answer.status)
        for name, value in {"content-type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _reply  # noqa: N815 # the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class's name
        """Tests look at ``requests``."""


@pytest.fixture
def upstream() -> Iterator[HttpStub]:
    """A peer for one test."""
    stub = HttpStub()
    yield stub
    stub.stop()
