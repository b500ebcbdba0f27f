"""The tool inside of the pod, against a stand-in of Superset that wants what the real one wants."""

from __future__ import annotations

import base64
import gzip
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

SOURCE = Path(__file__).parents[1] / "src/assets_door.py"


class Superset(BaseHTTPRequestHandler):
    """Signs in, hands out a token with a cookie, and wants both back."""

    uploads: ClassVar[list[dict[str, str]]] = []
    refuse = False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
        """Say nothing."""

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Token and export."""
        if self.headers["Authorization"] != "Bearer t":
            self._answer(401, b"{}")
        elif self.path.endswith("/csrf_token/"):
            self._answer(200, b'{"result": "c"}', Set_Cookie="superset=s; Path=/")
        else:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("assets_export_20260101/charts/a.yaml", "uuid: a")
            self._answer(200, packed.getvalue())

    def do_POST(self) -> None:
        """Sign-in and import."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/login"):
            right = json.loads(body) == {"username": "admin", "password": "p4ss", "provider": "db", "refresh": False}
            self._answer(200 if right else 401, b'{"access_token": "t"}' if right else b'{"message": "Not authorized"}')
        elif self.refuse:
            self._answer(422, b'{"message": "charts/a.yaml: Missing data"}')
        else:
            assert self.headers["X-CSRFToken"] == "c"
            assert self.headers["Cookie"] == "superset=s"
            border = self.headers["Content-Type"].split("boundary=")[1].encode()
            content = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + border, 1)[0]
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                self.uploads.append({name: archive.read(name).decode() for name in archive.namelist()})
            self._answer(200, b'{"message": "OK"}')


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The tool, and a server for it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Superset)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin/username").write_text("admin\n", encoding="utf-8")
    (tmp_path / "admin/password").write_text("p4ss\n", encoding="utf-8")
    monkeypatch.setenv("SUPERSET_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("SUPERSET_PORT", str(server.server_port))
    monkeypatch.setattr(Superset, "uploads", [])
    # Not imported: that would leave a compiled copy among the sources.
    module = ModuleType("assets_door")
    exec(compile(SOURCE.read_text(encoding="utf-8"), str(SOURCE), "exec"), module.__dict__)
    yield module
    server.shutdown()
    thread.join()
    server.server_close()


def test_export_prints_the_files_without_the_folder(door: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    door.main(["export"])
    assert json.loads(capsys.readouterr().out) == {"charts/a.yaml": "uuid: a"}


def packed(files: dict[str, str]) -> str:
    return base64.b64encode(gzip.compress(json.dumps(files).encode())).decode()


def test_import_sends_an_archive_with_cookie_and_token(door: ModuleType) -> None:
    door.main(["import", packed({"metadata.yaml": "type: assets", "charts/a.yaml": "uuid: a"})])
    assert Superset.uploads == [{"assets/metadata.yaml": "type: assets", "assets/charts/a.yaml": "uuid: a"}]


def test_a_refusal_is_told_in_superset_s_words(door: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Superset, "refuse", True)
    with pytest.raises(SystemExit, match=r"BK-246: Superset refused /api/v1/assets/import/ with 422: .*charts/a\.yaml: Missing data"):
        door.main(["import", packed({})])


def test_a_wrong_password_is_told_without_it(door: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "admin/password").write_text("wr0ng", encoding="utf-8")
    with pytest.raises(SystemExit, match="BK-246: .*login with 401") as caught:
        door.main(["export"])
    assert "wr0ng" not in str(caught.value)


def test_an_unknown_command_is_refused(door: ModuleType) -> None:
    with pytest.raises(SystemExit, match="BK-246: use export or import"):
        door.main(["delete"])
