"""The reader of kubeconfigs against real TLS, and commands in pods against a server that speaks their protocol."""

from __future__ import annotations

import base64
import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tls_server import certified

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import kubeconfig
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def write(folder: Path, cluster: Any, user: Any) -> str:
    document = {
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": user}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(folder / "kubeconfig")


class Handler(http.server.BaseHTTPRequestHandler):
    """Tells who asks; a pod's exec writes what the command's words say: channel, text."""

    def do_GET(self) -> None:
        if "/exec?" in self.path:
            self.session()
            return
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        text = yaml.safe_dump({"peer": bool(peer), "token": self.headers.get("Authorization")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def session(self) -> None:
        if "gone" in self.path:
            self.send_error(404)
            return
        accept = base64.b64encode(hashlib.sha1((self.headers["Sec-WebSocket-Key"] + GUID).encode()).digest()).decode()
        self.wfile.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
            f"Sec-WebSocket-Protocol: {self.headers['Sec-WebSocket-Protocol']}\r\n\r\n".encode()
        )
        if "command=slow" in self.path:
            self.rfile.read(1)
            return
        whole = "ü".encode()
        # A character may be cut by two frames.
        frames = [b"\1out " + whole[:1], b"\1" + whole[1:], b"\2err"]
        if "command=cut" not in self.path:
            failed = b'\3{"status": "Failure", "message": "exit code 3"}'
            frames.append(failed if "command=bad" in self.path else b'\3{"status": "Success"}')
        for frame in frames:
            self.wfile.write(bytes([0x82, len(frame)]) + frame)
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def parts(folder: Path) -> tuple[ssl.SSLContext, bytes, bytes]:
    """Return a server's settings, the certificate that it and its clients have, and the key."""
    context, pem = certified("localhost", folder)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=pem)
    both = (folder / "both.pem").read_bytes()
    return context, pem.encode(), both[: both.index(b"-----BEGIN CERTIFICATE")]


def asked(path: str) -> Any:
    return yaml.safe_load(Cluster(path).raw("/"))


def test_client_certificate_inline_and_as_files(tmp_path: Path) -> None:
    context, certificate, key = parts(tmp_path)
    (tmp_path / "c.pem").write_bytes(certificate)
    (tmp_path / "k.pem").write_bytes(key)
    with serving(context) as port:
        server = f"https://localhost:{port}"
        data = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
        assert asked(write(tmp_path, {"server": server, "certificate-authority-data": encoded(certificate)}, data))["peer"] is True
        files = {"client-certificate": "c.pem", "client-key": "k.pem"}
        assert asked(write(tmp_path, {"server": server, "certificate-authority": "c.pem"}, files))["peer"] is True
        without = asked(write(tmp_path, {"server": server, "certificate-authority": "c.pem"}, {"token": "abc"}))
        assert without == {"peer": False, "token": "Bearer abc"}


def test_other_servers_are_refused(tmp_path: Path) -> None:
    context, certificate, _ = parts(tmp_path)
    with serving(context) as port:
        for cluster in (
            {"server": f"https://localhost:{port}"},  # not signed by a public authority
            {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": encoded(certificate)},  # another name
        ):
            with pytest.raises(ClusterError, match=r"BK-202: .*certificate"):
                asked(write(tmp_path, cluster, {}))


@pytest.mark.parametrize(
    ("cluster", "user", "fault"),
    [
        ({}, {}, "the cluster k has no server"),
        ({"server": "https://a", "proxy-url": "http://b"}, {}, "proxy-url is not supported"),
        ("https://a", {}, "cluster of k in clusters is no mapping"),
        ({"server": "https://a"}, ["token"], "user of u in users is no mapping"),
        ({"server": "http://a"}, {"token": "sword\nfish"}, "token: a token has no spaces and no control characters"),
        ({"server": "http://a"}, {"token": "swörd"}, "token: a token has no spaces"),
        ({"server": "https://a"}, {"exec": {"command": "x"}}, "exec is not supported"),
        ({"server": "https://a", "certificate-authority-data": "%"}, {}, "certificate-authority-data: "),
        ({"server": "https://a", "certificate-authority": "none.pem"}, {}, "certificate-authority-data: .*none.pem"),
        ({"server": "https://a", "certificate-authority-data": encoded(b"x")}, {}, "certificate or key: "),
        ({"server": "https://a"}, {"client-key-data": encoded(b"x")}, "a client certificate needs its key"),
    ],
)
def test_faults_are_named(tmp_path: Path, cluster: Any, user: Any, fault: str) -> None:
    with pytest.raises(kubeconfig.KubeconfigError, match=fault):
        kubeconfig.load(write(tmp_path, cluster, user))


def test_contexts(tmp_path: Path) -> None:
    path = write(tmp_path, {"server": "http://a/"}, {})
    assert kubeconfig.load(path, "c").server == "http://a"
    with pytest.raises(kubeconfig.KubeconfigError, match="contexts has no d"):
        kubeconfig.load(path, "d")
    Path(path).write_text("[", encoding="utf-8")
    with pytest.raises(kubeconfig.KubeconfigError, match="it cannot be read"):
        kubeconfig.load(path)


@pytest.mark.parametrize("encrypted", [False, True])
def test_commands_in_pods(tmp_path: Path, encrypted: bool) -> None:
    context, certificate, _ = parts(tmp_path)
    with serving(context if encrypted else None) as port:
        server = f"https://localhost:{port}" if encrypted else f"http://127.0.0.1:{port}"
        api = Cluster(write(tmp_path, {"server": server, "certificate-authority-data": encoded(certificate)}, {}))
        assert api.execute("n", "p", "c", ["good"], 5) == "out ü"
        for command, fault in (
            ("bad", "the command in n/p: exit code 3: err"),
            ("cut", "the command in n/p: the connection ended before the command did"),
            ("slow", "the command in n/p took longer than 1 s"),
        ):
            with pytest.raises(ClusterError, match=f"BK-204: {fault}"):
                api.execute("n", "p", "c", [command], 1)
        with pytest.raises(ClusterError, match="BK-204: no command can be run in n/gone") as caught:
            api.execute("n", "gone", "c", ["good"], 5)
        assert caught.value.status == 404


def test_no_answer_to_a_command(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="BK-204: no command can be run in n/p"):
        Cluster(write(tmp_path, {"server": "http://127.0.0.1:9"}, {})).execute("n", "p", "c", ["x"], 1)
