"""Stand-in for the REST API of Flink's JobManager on a port of this host."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class FlinkRest:
    """Answers what ``answers`` has, by path, and 503 to all else, as a JobManager does that is not the leader."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        flink = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                flink.asked.append(self.path)
                self.send_response(200 if self.path in flink.answers else 503)
                self.end_headers()
                self.wfile.write(json.dumps(flink.answers.get(self.path)).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
