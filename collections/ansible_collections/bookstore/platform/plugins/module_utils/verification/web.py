# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to the gateway's ports on this host, by the standard library; certificates are always verified."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import struct

from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Answer, Object, Web

LOOPBACK = "127.0.0.1"
# As long as the gateway itself lets a request take (SPEC 4.1): until then it may only be slow, afterwards it is broken.
TIMEOUT = 15.0
ALERT, HANDSHAKE = 0x15, 0x16
PROTOCOL_VERSION = 70


class LiveWeb(Web):
    """Talks to 127.0.0.1 with the right Host and SNI, so that it works without name resolution.

    ``authority``: PEM of the platform's CA. Requests raise OSError (ssl.SSLError is one).
    """

    def __init__(self, authority: str, https_port: int, http_port: int, timeout: float = TIMEOUT) -> None:
        self.https_port = https_port
        self.http_port = http_port
        self.timeout = timeout
        self._authority = authority

    def https(
        self, host: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> Answer:
        with self._connect(self.https_port) as raw, self._secured(raw, host) as sock:
            return _exchange(sock, f"{host}:{self.https_port}", path, method, headers, body)

    def http(self, host: str, path: str, port: int | None = None) -> Answer:
        with self._connect(port or self.http_port) as sock:
            return _exchange(sock, f"{host}:{port or self.http_port}", path, "GET")

    def certificate(self, host: str) -> Object:
        with self._connect(self.https_port) as raw, self._secured(raw, host) as sock:
            found: Object = dict(sock.getpeercert() or {})
            return found

    def old_tls(self, host: str) -> str:
        with self._connect(self.https_port) as sock:
            sock.sendall(client_hello(host))
            try:
                return reading_of(sock.recv(7))
            except ConnectionResetError:
                return "connection reset"

    def _secured(self, raw: socket.socket, host: str) -> ssl.SSLSocket:
        # Checks run in threads: each connection has settings of its own.
        return ssl.create_default_context(cadata=self._authority).wrap_socket(raw, server_hostname=host)

    def _connect(self, port: int) -> socket.socket:
        return socket.create_connection((LOOPBACK, port), timeout=self.timeout)


def _exchange(
    sock: socket.socket,
    host: str,
    path: str,
    method: str,
    headers: dict[str, str] | None = None,
    body: str | None = None,
) -> Answer:
    connection = http.client.HTTPConnection(host)
    connection.sock = sock
    own = {"Host": host, "Accept": "application/json", "Connection": "close"}
    try:
        connection.request(method, path, body=body, headers={**own, **(headers or {})})
        response = connection.getresponse()
        found: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            found[key] = f"{found[key]}, {value}" if key in found else value
        return Answer(response.status, found, response.read())
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


def client_hello(host: str) -> bytes:
    """Return a ClientHello that offers TLS 1.1 at most (RFC 4346), with a server name (RFC 6066).

    Written by hand, because the OpenSSL of most distributions refuses to offer it, which would prove nothing.
    """
    name = host.encode("ascii")
    entry = struct.pack("!BH", 0, len(name)) + name
    server_name = struct.pack("!HHH", 0, len(entry) + 2, len(entry)) + entry
    groups = struct.pack("!HHHHH", 10, 6, 4, 0x001D, 0x0017)
    points = struct.pack("!HHBB", 11, 2, 1, 0)
    extensions = server_name + groups + points
    # ECDHE-ECDSA and ECDHE-RSA with AES-CBC, AES128-SHA: what a TLS 1.1 server would choose from.
    suites = struct.pack("!HHHHH", 0xC009, 0xC00A, 0xC013, 0xC014, 0x002F)
    body = b"\x03\x02" + os.urandom(32) + b"\x00" + struct.pack("!H", len(suites)) + suites + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack("!H", len(message)) + message


def reading_of(data: bytes) -> str:
    """Return what the first bytes of a TLS server's reply mean: accepted, or how it refused."""
    if not data:
        return "connection closed"
    if data[0] == HANDSHAKE:
        return "accepted"
    if data[0] == ALERT and len(data) >= 7:
        return "alert protocol_version" if data[6] == PROTOCOL_VERSION else f"alert {data[6]}"
    return f"unexpected reply {data!r}"
