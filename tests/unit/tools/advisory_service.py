"""A service that answers as OSV does, on this host, and in every wrong way that a service or a proxy may answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Status, body and headers of an answer.
Answer = tuple[int, str, dict[str, str]]


@dataclass
class Advisories:
    """``known``: (ecosystem, name) to ids. ``records``: the advisories. ``spoil`` may replace an answer, by path and its body."""

    known: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    spoil: Callable[[str, Any], Answer | None] = lambda _path, _answer: None
    pages: int = 1
    asked: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""

    def batch(self, queries: list[dict[str, Any]]) -> dict[str, Any]:
        """Answer a batch; with several ``pages`` each tells one advisory."""
        self.asked += queries
        return {"results": [self._result(query) for query in queries]}

    def _result(self, query: dict[str, Any]) -> dict[str, Any]:
        ids = self.known.get((query["package"]["ecosystem"], query["package"]["name"]), [])
        if self.pages == 1:
            return {"vulns": [{"id": name, "modified": "2026-01-01T00:00:00Z"} for name in ids]} if ids else {}
        page = int(query.get("page_token", "0"))
        shown = {"vulns": [{"id": name} for name in ids[page:page + 1]]}
        return {**shown, "next_page_token": str(page + 1)} if ids and page + 1 < self.pages else shown


@contextmanager
def served(advisories: Advisories) -> Iterator[Advisories]:
    """Serve on a free port of this host."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(advisories.batch(body["queries"]))

        def do_GET(self) -> None:
            record = advisories.records.get(self.path.rpartition("/")[2])
            self.answer(record) if record is not None else self.answer({"code": 5, "message": "Bug not found."}, 404)

        def answer(self, body: Any, status: int = 200) -> None:
            spoiled = advisories.spoil(self.path, body)
            status, text, headers = spoiled or (status, json.dumps(body), {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    advisories.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield advisories
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
