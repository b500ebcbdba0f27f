"""A door to the cluster's REST API through which nobody can change anything.

Flink's own switches do not close it: web.submit.enable=false takes away the upload of archives and web.cancel.enable=false
a button, yet POST /jobs (any class, serialized) and PATCH /jobs/ID still work. So Flink listens on the loopback address,
and others come through here: GET and HEAD, except the two addresses that stop a job although they are asked with GET.
"""

from __future__ import annotations

import http.client
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REST = ("127.0.0.1", int(os.environ.get("FLINK_REST_PORT", "8082")))
PORT = int(os.environ.get("FLINK_DOOR_PORT", "8081"))
# Answers without asking the cluster: this process works.
ALIVE = "/-/alive"
# Flink's YarnCancelJobTerminationHeaders and YarnStopJobTerminationHeaders.
CHANGING = re.compile(r"/yarn-(cancel|stop)/*$", re.IGNORECASE)
PASSED = ("Accept", "If-Modified-Since", "If-None-Match")
RETURNED = ("Content-Type", "Cache-Control", "Expires", "Last-Modified", "ETag", "Location")
TIMEOUT_S = 15.0


class Door(BaseHTTPRequestHandler):
    """Hands a request on to the cluster, and its answer back."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "door", ""
    timeout = 60

    def do_GET(self) -> None:
        """Answer GET and HEAD."""
        path = self.path.partition("?")[0]
        if path == ALIVE:
            self.reply(200, b"")
        elif CHANGING.search(path) or "%" in path:
            # No address that the interface uses is written with escapes.
            self.reply(403, b'{"errors":["this door changes nothing"]}\n')
        else:
            self.hand_on()

    do_HEAD = do_GET  # noqa: N815 (the name of the base class)

    def hand_on(self) -> None:
        """Ask the cluster; 502 when it does not answer."""
        asked = {name: self.headers[name] for name in PASSED if name in self.headers}
        connection = http.client.HTTPConnection(*REST, timeout=TIMEOUT_S)
        try:
            connection.request(self.command, self.path, headers=asked)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.reply(502, f'{{"errors":["the JobManager does not answer: {type(error).__name__}"]}}\n'.encode())
            return
        finally:
            connection.close()
        self.reply(answer.status, body, {name: answer.headers[name] for name in RETURNED if name in answer.headers})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/json"}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the name of the base class)
        """Keep quiet: probes and the interface ask every few seconds."""


class Server(ThreadingHTTPServer):
    """One thread for each connection; none is waited for at the end."""

    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    """Serve until the process is ended."""
    with Server(("", PORT), Door) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
