"""Gives out and takes in Superset's assets, over its own interface and from inside of its pod.

``assets_door.py export`` prints {path: text} of all assets as one line of JSON. ``assets_door.py import <bundle>`` imports the
same shape, gzipped and in base64, over what there is. It signs in with the password from the mounted Secret.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sys
import uuid
import zipfile
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPCookieProcessor, OpenerDirector, ProxyHandler, Request, build_opener

SECRETS = Path(os.environ["SUPERSET_RUN_DIR"])
URL = f"http://127.0.0.1:{os.environ['SUPERSET_PORT']}"
SECONDS = 60


class Session:
    """A signed-in administrator."""

    def __init__(self) -> None:
        # Never by a proxy: this is the pod's own loopback address.
        self._opener: OpenerDirector = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))
        self._headers: dict[str, str] = {}
        credentials = {key: (SECRETS / "admin" / key).read_text(encoding="utf-8").strip() for key in ("username", "password")}
        answer = self.call("/api/v1/security/login", {**credentials, "provider": "db", "refresh": False})
        self._headers["Authorization"] = f"Bearer {json.loads(answer)['access_token']}"
        token = json.loads(self.call("/api/v1/security/csrf_token/"))["result"]
        self._headers |= {"X-CSRFToken": token, "Referer": f"{URL}/"}

    def call(self, path: str, body: dict[str, Any] | bytes | None = None, kind: str = "application/json") -> bytes:
        """Return the answer to a request; with a body it is a POST."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = Request(f"{URL}{path}", data=data, headers={**self._headers, "Content-Type": kind})
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                found: bytes = answer.read()
        except HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            raise SystemExit(f"BK-246: Superset refused {path} with {error.code}: {text[:1500]}") from error
        except URLError as error:
            raise SystemExit(f"BK-246: Superset does not answer: {error.reason}") from error
        return found


def export(session: Session) -> dict[str, str]:
    """Return the files of all assets; the folder at the top of the archive, which is named after the time, is left out."""
    with zipfile.ZipFile(io.BytesIO(session.call("/api/v1/assets/export/"))) as archive:
        return {name.split("/", 1)[1]: archive.read(name).decode() for name in archive.namelist()}


def replace(session: Session, files: dict[str, str]) -> None:
    """Import the files over what there is."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"assets/{name}", text)
    border = uuid.uuid4().hex
    head = f'--{border}\r\nContent-Disposition: form-data; name="bundle"; filename="assets.zip"\r\nContent-Type: application/zip\r\n\r\n'
    body = head.encode() + packed.getvalue() + f"\r\n--{border}--\r\n".encode()
    session.call("/api/v1/assets/import/", body, f"multipart/form-data; boundary={border}")


def main(arguments: list[str]) -> None:
    """Run one command."""
    if arguments == ["export"]:
        print(json.dumps(export(Session())))
    elif len(arguments) == 2 and arguments[0] == "import":
        replace(Session(), json.loads(gzip.decompress(base64.b64decode(arguments[1]))))
    else:
        raise SystemExit("BK-246: use export or import <bundle>")


if __name__ == "__main__":
    main(sys.argv[1:])
