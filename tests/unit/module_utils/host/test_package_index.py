"""Package registries are those of the host's own clients: real clients against a registry of this test, on the loopback address."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.base import environment
from ansible_collections.bookstore.platform.plugins.module_utils.host import package_index
from ansible_collections.bookstore.platform.plugins.module_utils.images import builders, cache, commands, node

PASSWORD = "not-to-be-shown"
INDEX = Path(package_index.__file__)
NAME = "bookstore_sample"
TOOLCHAINS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bookstore-platform/wheels"


def wheel() -> bytes:
    """The smallest package that can be installed."""
    buffer = io.BytesIO()
    info = f"{NAME}-1.0.dist-info"
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{NAME}.py", "answer = 42\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{NAME}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return buffer.getvalue()


class Registry:
    """Serves one package to whoever has the password, and notes each request."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        content = wheel()
        file = f"{NAME}-1.0-py3-none-any.whl"
        page = f'<a href="/files/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'.encode()
        wanted = f"Basic {base64.b64encode(f'reader:{PASSWORD}'.encode()).decode()}"
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                known = {"/simple/bookstore-sample/": page, f"/files/{file}": content}
                allowed = self.headers.get("Authorization") == wanted
                body = known.get(self.path, b"") if allowed else b""
                self.send_response(200 if body else 404 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
                self.end_headers()
                self.wfile.write(body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.index = f"http://reader:{PASSWORD}@{self.address}/simple/"


@pytest.fixture
def registry() -> Iterator[Registry]:
    served = Registry()
    threading.Thread(target=served.server.serve_forever, daemon=True).start()
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any configuration or proxy."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_", "npm_", "NPM_", "GO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    builders._pip_settings.cache_clear()
    return tmp_path


def pip_conf(home: Path, text: str) -> None:
    (home / ".config/pip").mkdir(parents=True, exist_ok=True)
    (home / ".config/pip/pip.conf").write_text(text)


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ("index-url = {index}", {}),
        ("", {"PIP_INDEX_URL": "{index}"}),
        ("index-url = http://127.0.0.1:9/simple/", {"PIP_INDEX_URL": "{index}"}),
    ],
)
def test_the_factory_fetches_from_where_pip_does(
    home: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, settings: str, variables: dict[str, str]
) -> None:
    pip_conf(home, f"[global]\nuser = true\ntarget = /nowhere\n{settings.format(index=registry.index)}\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(index=registry.index))
    context = builders.Context(cache.Cache(home / "cache"), home, home / "logs", {})
    folder = builders._wheel(context, f"{NAME}==1.0", "sample")
    assert (folder / f"{NAME}.py").is_file()
    assert PASSWORD not in (home / "logs/sample.log").read_text()


def test_the_virtual_environment_is_filled_from_where_pip_fetches(home: Path, registry: Registry) -> None:
    """As tools/venv calls them; what else pip.conf says about installing has no part in it."""
    pip_conf(home, f"[global]\nindex-url = {registry.index}\n[install]\nuser = true\nprefix = /nowhere\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "own")], check=True)
    # This one's pip: to unpack another takes half a minute.
    next((home / "own/lib").glob("python*/site-packages")).joinpath("pip.pth").write_text(str(Path(pytest.__file__).parents[1]))
    python, uv = str(home / "own/bin/python"), str(Path(sys.executable).with_name("uv"))
    for installer in ([python, "-m", "pip", "install"], [uv, "pip", "install", "--reinstall", "--python", python]):
        command = [python, "-I", str(INDEX), *installer, f"{NAME}==1.0"]
        registry.requests.clear()
        done = subprocess.run(command, env=environment.clean(os.environ), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        assert "/simple/bookstore-sample/" in registry.requests
        assert subprocess.run([python, "-c", f"import {NAME}"], check=False).returncode == 0


def test_npm_asks_the_registry_of_its_npmrc(home: Path, registry: Registry) -> None:
    toolchain = next(TOOLCHAINS.glob("toolchain-node-*"), None)
    if toolchain is None:
        pytest.skip("Node.js comes with the first make up")
    (home / ".npmrc").write_text(f"registry=http://{registry.address}/npm/\nomit=dev\n")
    (home / "asked").mkdir()
    command, env = node.question(toolchain, home / "asked")
    assert commands.capture(command, env=env)[0] != 0
    assert registry.requests == ["/npm/picocolors"]


def test_go_asks_the_proxy_of_its_own_configuration(home: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain = next(TOOLCHAINS.glob("toolchain-go-*"), None)
    if toolchain is None:
        pytest.skip("the Go toolchain comes with the first make up")
    monkeypatch.setattr(builders, "_wheel", lambda *_: toolchain)
    (home / ".config/go").mkdir(parents=True)
    (home / ".config/go/env").write_text(f"GOPROXY=http://{registry.address}/go,off\nGOOS=plan9\nGOFLAGS=-mod=vendor\n")
    context = builders.Context(cache.Cache(home / "cache"), home, home / "logs", {"go": "1"})
    command = ["go", "-C", str(home), "list", "-m", "golang.org/x/mod@latest"]
    code, _ = commands.capture(command, env=builders.go_env(context))
    assert code != 0
    assert registry.requests[0].startswith("/go/golang.org/x/mod/")


def test_further_indexes_count_as_they_do_for_pip() -> None:
    pip = package_index.parsed("global.extra-index-url='\\nhttps://a\\nhttps://b'\n")
    assert package_index.for_uv(pip, {"HOME": "/nowhere"}) == {
        "UV_NO_CONFIG": "1", "UV_INDEX": "https://a https://b", "UV_INDEX_STRATEGY": "unsafe-best-match",
    }  # fmt: skip


def test_what_uv_is_told_itself_counts_more(home: Path) -> None:
    pip = {"index-url": "https://pip"}
    assert package_index.for_uv(pip, {"HOME": str(home)}) == {"UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": "https://pip"}
    assert package_index.for_uv(pip, {"HOME": str(home), "UV_DEFAULT_INDEX": "https://uv"}) == {"UV_NO_CONFIG": "1"}
    (home / ".config/uv").mkdir(parents=True)
    file = home / ".config/uv/uv.toml"
    file.write_text('[[index]]\nurl = "https://uv"\ndefault = true\n')
    assert package_index.for_uv(pip, {"HOME": str(home)}) == {"UV_CONFIG_FILE": str(file)}
    file.write_text("native-tls = true\n")
    assert package_index.for_uv(pip, {"HOME": str(home)}) == {"UV_CONFIG_FILE": str(file), "UV_DEFAULT_INDEX": "https://pip"}


def test_certificates_and_proxies_are_handed_on() -> None:
    pip = package_index.parsed(
        "global.cert='/ca.pem'\nglobal.proxy='mirror:3128'\nglobal.trusted-host='a\\nb'\nglobal.index-url='https://a'\n"
        "install.index-url='https://b'\n:env:.timeout='5'\nfreeze.index-url='https://c'\nglobal.user='true'\n"
    )
    assert package_index.for_uv(pip, {"HOME": "/nowhere"}) == {
        "UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": "https://b", "UV_INSECURE_HOST": "a b", "UV_HTTP_TIMEOUT": "5", "SSL_CERT_FILE": "/ca.pem",
        "HTTP_PROXY": "http://mirror:3128", "HTTPS_PROXY": "http://mirror:3128",
    }  # fmt: skip
    own = {"HOME": "/nowhere", "https_proxy": "http://shell", "SSL_CERT_FILE": "/own.pem"}
    assert not {"HTTP_PROXY", "HTTPS_PROXY", "SSL_CERT_FILE"} & set(package_index.for_uv(pip, own))
    assert package_index.for_uv({}, {"HOME": "/nowhere", "REQUESTS_CA_BUNDLE": "/bundle.pem"})["SSL_CERT_FILE"] == "/bundle.pem"
    assert "PIP_USER" not in package_index.for_pip(pip)
