# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Runs inside a pod, as ``python3 -c <this file> <request>``; the standard library is all it may use.

The request is a JSON object {calls, ready_url?, ready_timeout?}. Each call is {id, host, port, protocol (http,
postgres, redis, kafka, tcp, tls), timeout, patience?, while?, ca?}; a call is repeated for ``patience`` seconds until it
is answered, or as long as its outcome is in the list ``while``. The answer is a JSON object
{ready, results: {id: {outcome, detail, seconds}}}, on standard output.

Outcomes: answered (the peer itself replied), rbac_denied (a proxy denied the caller), reset (a connection was made
and closed without a reply), port_closed (refused at once), timeout (nothing came back: dropped), unavailable (a
proxy on the way had no usable peer), unresolved (no such name), error.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Result = dict[str, Any]

# Message SSLRequest of the PostgreSQL protocol; a server replies with one byte.
SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
# Request ApiVersions v0 of the Kafka protocol, without a client id.
API_VERSIONS = bytes([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255])


def outcome(name: str, detail: object = "") -> Result:
    return {"outcome": name, "detail": str(detail)[:200]}


def read_http(sock: socket.socket, host: str) -> Result:
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    data = b""
    while len(data) < 4096:
        part = sock.recv(4096)
        if not part:
            break
        data += part
    if not data:
        return outcome("reset", "closed without a reply")
    head = data.decode("latin-1")
    if not head.startswith("HTTP/"):
        return outcome("error", f"no HTTP reply: {head[:60]!r}")
    status = head.split(" ", 2)[1]
    if status == "403" and "RBAC: access denied" in head:
        return outcome("rbac_denied", "403 RBAC: access denied")
    if status in ("502", "503", "504") and ("upstream connect error" in head or "no healthy upstream" in head):
        reason = head.rsplit("\r\n\r\n", 1)[-1].strip()
        # The caller's own proxy passes on how the connection to the peer ended.
        if "connection timeout" in reason:
            return outcome("timeout", reason)
        return outcome("reset" if "reset" in reason or "termination" in reason else "unavailable", reason)
    return outcome("answered", f"HTTP {status}")


def exchange(sock: socket.socket, request: bytes, starts: tuple[bytes, ...]) -> Result:
    """Send a protocol's first message; a reply that begins as expected comes from the peer itself."""
    sock.sendall(request)
    reply = sock.recv(16)
    if not reply:
        return outcome("reset", "closed without a reply")
    if reply.startswith(starts):
        return outcome("answered", f"replied {reply[:16]!r}")
    return outcome("error", f"unexpected reply {reply!r}")


def read_postgres(sock: socket.socket, _host: str) -> Result:
    return exchange(sock, SSL_REQUEST, (b"S", b"N"))


def read_redis(sock: socket.socket, _host: str) -> Result:
    return exchange(sock, b"PING\r\n", (b"+PONG", b"-NOAUTH"))


def read_kafka(sock: socket.socket, _host: str) -> Result:
    return exchange(sock, API_VERSIONS, (b"\0",))


def read_tcp(_sock: socket.socket, _host: str) -> Result:
    return outcome("answered", "connected")


def read_tls(sock: socket.socket, call: dict[str, Any]) -> Result:
    """Read the peer's certificate, verified against the mesh's own authority; its name is the SPIFFE id."""
    context = ssl.create_default_context(cadata=call["ca"])
    # A SPIFFE id is a URI, not a host name: the caller compares it.
    context.check_hostname = False
    context.set_alpn_protocols(["istio-peer-exchange", "istio", "h2"])
    with context.wrap_socket(sock, server_hostname=call["host"]) as tls:
        return outcome("answered", spiffe_id(tls.getpeercert() or {}))


def spiffe_id(certificate: Any) -> str:
    """Return the URI of a verified certificate, as ssl.SSLSocket.getpeercert() gives it."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    return ", ".join(names) or "the certificate holds no SPIFFE id"


READERS = {"http": read_http, "postgres": read_postgres, "redis": read_redis, "kafka": read_kafka, "tcp": read_tcp}


def attempt(call: dict[str, Any]) -> Result:
    try:
        address = socket.getaddrinfo(call["host"], call["port"], socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except socket.gaierror as error:
        return outcome("unresolved", error)
    try:
        with socket.create_connection((str(address), call["port"]), timeout=call["timeout"]) as sock:
            if call["protocol"] == "tls":
                return read_tls(sock, call)
            return READERS[call["protocol"]](sock, call["host"])
    except TimeoutError:
        return outcome("timeout", f"nothing came back within {call['timeout']} s")
    except ConnectionRefusedError as error:
        return outcome("port_closed", error)
    except ssl.SSLCertVerificationError as error:
        return outcome("error", f"the peer's certificate is not from the mesh's authority: {error}")
    except (ConnectionResetError, BrokenPipeError, ssl.SSLError) as error:
        return outcome("reset", error)
    except OSError as error:
        return outcome("error", error)


def run(call: dict[str, Any]) -> Result:
    start = time.monotonic()
    deadline = start + call.get("patience", 0)
    while True:
        result = attempt(call)
        again = result["outcome"] in call["while"] if "while" in call else result["outcome"] != "answered"
        if not again or time.monotonic() >= deadline:
            return {**result, "seconds": round(time.monotonic() - start, 3)}
        time.sleep(0.3)


def proxy_ready(url: tuple[str, int, str], seconds: float) -> bool:
    """Wait for the pod's own proxy; without this a denied call would prove nothing."""
    host, port, path = url
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((host, port), timeout=1) as sock:
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                if b" 200 " in sock.recv(64):
                    return True
        except OSError as error:
            print(f"the pod's proxy does not listen yet: {error}", file=sys.stderr)
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.3)


def main() -> None:
    request = json.loads(sys.argv[1])
    ready = proxy_ready(request["ready_url"], request.get("ready_timeout", 20)) if request.get("ready_url") else True
    results = {}
    if ready:
        with ThreadPoolExecutor(max_workers=max(1, len(request["calls"]))) as pool:
            results = dict(zip([c["id"] for c in request["calls"]], pool.map(run, request["calls"]), strict=True))
    print(json.dumps({"ready": ready, "results": results}))


if __name__ == "__main__":
    main()
