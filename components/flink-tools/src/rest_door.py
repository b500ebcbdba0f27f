"""A door to the cluster's REST API through which nobody can change anything.

Flink's own switches do not close it: web.submit.enable=false takes away the upload of archives and web.cancel.enable=false
a button, yet POST /jobs (any class, serialized) and PATCH /jobs/ID still work, and GET /jobs/ID/yarn-cancel stops a job.
So Flink listens on the loopback address, and others come through here: GET and HEAD of the addresses in ROUTES, which are
those that Flink's interface reads. All else is refused, because two programs that read an address differently (netty ends
a path at "#" as well as at "?") make holes in every list of what is forbidden.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REST = ("127.0.0.1", int(os.environ.get("FLINK_REST_PORT", "8082")))
PORT = int(os.environ.get("FLINK_DOOR_PORT", "8081"))
# The names of this door, with any port or none. Others are refused, else a web page whose name is made to point here
# (DNS rebinding) could read the answers. Its own address counts as well: the kubelet's probes and the mesh's use it.
HOSTS = frozenset(os.environ.get("FLINK_DOOR_HOSTS", "localhost").split(","))
# Answers without asking the cluster: this process works.
ALIVE = "/-/alive"

# Parts of Flink's addresses: the ids of jobs and vertices are hexadecimal, a TaskManager's is its pod's name or its address.
ID = "[0-9a-f]{1,32}"
NUMBER = "[0-9]{1,10}"
NAME = "[A-Za-z0-9_-](?:[A-Za-z0-9_:-]|[.](?![.]|/|$))*"
VERTEX = f"/jobs/{ID}/vertices/{ID}"
ATTEMPT = f"{VERTEX}/subtasks/{NUMBER}"
ROUTES = (
    # The interface itself.
    "/(?:index[.]html)?",
    "/[0-9a-z]+[.][0-9a-f]+[.](?:css|js)",
    f"/assets(?:/{NAME})+",
    # What it reads (flink-runtime, org.apache.flink.runtime.rest.messages, those asked with GET).
    "/config", "/overview",
    "/jobs", "/jobs/overview", "/jobs/metrics",
    f"/jobs/{ID}",
    f"/jobs/{ID}/(?:accumulators|config|exceptions|execution-result|metrics|plan|resource-requirements|status)",
    f"/jobs/{ID}/jobmanager/(?:config|environment|log-url)",
    f"/jobs/{ID}/taskmanagers/{NAME}/log-url",
    f"/jobs/{ID}/checkpoints",
    f"/jobs/{ID}/checkpoints/config",
    f"/jobs/{ID}/checkpoints/details/{NUMBER}",
    f"/jobs/{ID}/checkpoints/details/{NUMBER}/subtasks/{ID}",
    VERTEX,
    f"{VERTEX}/(?:accumulators|backpressure|flamegraph|jm-operator-metrics|metrics|subtasktimes|taskmanagers|watermarks)",
    f"{VERTEX}/subtasks/(?:accumulators|metrics)",
    ATTEMPT,
    f"{ATTEMPT}/metrics",
    f"{ATTEMPT}/attempts/{NUMBER}",
    f"{ATTEMPT}/attempts/{NUMBER}/accumulators",
    "/jobmanager/(?:config|environment|log|logs|metrics|stdout|thread-dump)",
    f"/jobmanager/logs/{NAME}",
    "/taskmanagers", "/taskmanagers/metrics",
    f"/taskmanagers/{NAME}",
    f"/taskmanagers/{NAME}/(?:log|logs|metrics|stdout|thread-dump)",
    f"/taskmanagers/{NAME}/logs/{NAME}",
)  # fmt: skip
# Escapes are no part of these paths. The interface writes them into queries (names of metrics hold brackets), which choose no route.
QUERY = "[A-Za-z0-9._~!$'()*+,:@/?=&-]|%[0-9A-Fa-f]{2}"
ALLOWED = re.compile(f"(?:{'|'.join(ROUTES)})(?:[?](?:{QUERY})*)?", re.ASCII)
REQUEST_LINE = re.compile(r"(?:GET|HEAD) (\S+) HTTP/1[.][01]", re.ASCII)
AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?", re.ASCII)

PASSED = ("Accept", "If-Modified-Since", "If-None-Match")
RETURNED = ("Content-Type", "Cache-Control", "Expires", "Last-Modified", "ETag", "Location")
PROTECTING = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
TIMEOUT_S = 15.0


def allowed(target: str) -> bool:
    """Return whether a request target, exactly as it was sent, is one that is handed on."""
    return ALLOWED.fullmatch(target) is not None


def own_host(authority: str, address: str) -> bool:
    """Return whether a Host header names this door, which was reached at the IP ``address``."""
    found = AUTHORITY.fullmatch(authority)
    if not found:
        return False
    host = found[1].strip("[]").lower()
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return host in HOSTS
    return literal.is_loopback or literal == ipaddress.ip_address(address) or host == os.environ.get("POD_IP")


class Door(BaseHTTPRequestHandler):
    """Hands a request on to the cluster, and its answer back."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "door", ""
    timeout = 60

    def do_GET(self) -> None:
        """Answer GET and HEAD."""
        # Of the line as it was sent: `path` is already mended by the base class.
        line = REQUEST_LINE.fullmatch(self.requestline)
        hosts = self.headers.get_all("Host") or []
        if "Transfer-Encoding" in self.headers or self.headers.get_all("Content-Length", ["0"]) != ["0"]:
            # What is not read would be taken for the next request.
            self.close_connection = True
            self.reply(400, b'{"errors":["this door takes no body"]}\n')
        elif len(hosts) != 1 or not own_host(hosts[0], self.connection.getsockname()[0]):
            self.reply(421, b'{"errors":["this door answers to its own names only, such as localhost"]}\n')
        elif line and line[1] == ALIVE:
            self.reply(200, b"")
        elif line and allowed(line[1]):
            self.hand_on(line[1])
        else:
            self.reply(403, b'{"errors":["this door shows what the interface of Flink reads, and changes nothing"]}\n')

    do_HEAD = do_GET  # noqa: N815 (the name of the base class)

    def hand_on(self, target: str) -> None:
        """Ask the cluster; 502 when it does not answer."""
        asked = {name: self.headers[name] for name in PASSED if name in self.headers}
        connection = http.client.HTTPConnection(*REST, timeout=TIMEOUT_S)
        try:
            connection.request(self.command, target, headers=asked)
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

    def end_headers(self) -> None:
        """End the headers of any answer, refusals of the base class included, with those that protect a browser."""
        for name, value in PROTECTING.items():
            self.send_header(name, value)
        super().end_headers()

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
