"""The tools of Flink's image, and a small REST server in Flink's place."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.plugin_utils import doors

TOOLS = Path(__file__).parents[1] / "src"


class Rest:
    """Answers from a table of (method, path) to [(status, body), ...]; the last one stays. Keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.port = 0

    def on(self, method: str, path: str, *answers: tuple[int, Any]) -> None:
        """Set the answers of one address."""
        self.answers[method, path] = list(answers)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        self.asked.append((method, path, json.loads(body) if body else None))
        queue = self.answers.get((method, path), [(404, {"errors": [f"Not found: {path}"]})])
        status, content = queue.pop(0) if len(queue) > 1 else queue[0]
        return status, content if isinstance(content, bytes) else json.dumps(content).encode()


@pytest.fixture
def rest() -> Iterator[Rest]:
    state = Rest()

    class Handler(BaseHTTPRequestHandler):
        def do_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, body = state.answer(self.command, self.path, self.rfile.read(length))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PATCH = do_any  # noqa: N815

        def log_message(self, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, rest: Rest, tmp_path: Path) -> Any:
    """Return a function that loads a tool which talks to ``rest`` and keeps its state in ``tmp_path``."""
    monkeypatch.setenv("FLINK_REST_PORT", str(rest.port))
    monkeypatch.setenv("FLINK_DOOR_HOSTS", ",".join(doors.names("analytics", ["flink-jobmanager", "flink-jobmanager-ui"])))
    monkeypatch.setenv("FLINK_STATE", str(tmp_path))
    monkeypatch.setenv("FLINK_TIMEOUT", "0.5")

    def import_tool(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"flink_{name}", TOOLS / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return import_tool
