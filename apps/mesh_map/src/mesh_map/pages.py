"""The built page: read once at the start, compressed once, and served from memory."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from bookstore_common.problem import NotFoundError

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Vite names what it builds by its content.
_FOR_EVER = "public, max-age=31536000, immutable"
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?!;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)


class PagesError(Exception):
    """The page cannot be served; the text names the variable and the remedy."""


@dataclass(frozen=True)
class _File:
    content: bytes
    packed: bytes
    kind: str
    tag: str


class Pages:
    """Files of ``folder`` by their paths. Raises PagesError without an index.html."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, _File] = {}
        for file in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if file.suffix in _TYPES and file.is_file():
                content = file.read_bytes()
                tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
                self._files[file.relative_to(folder).as_posix()] = _File(
                    content, gzip.compress(content, 9, mtime=0), _TYPES[file.suffix], tag
                )
        if "index.html" not in self._files:
            raise PagesError(f"PAGES_DIR={folder}: no index.html there; write the folder with the built page")

    def answer(self, name: str, request: Request) -> Response:
        """The file, compressed where the client takes it; 304 where it has it; 404 where there is none."""
        file = self._files.get(name)
        if file is None:
            raise NotFoundError("Nothing is served under this path.")
        headers = {
            "etag": file.tag,
            "vary": "Accept-Encoding",
            "cache-control": _FOR_EVER if name.startswith("assets/") else "no-cache",
        }
        if request.headers.get("if-none-match") == file.tag:
            return Response(status_code=304, headers=headers)
        if _GZIP.search(request.headers.get("accept-encoding", "")):
            return Response(file.packed, headers={**headers, "content-encoding": "gzip"}, media_type=file.kind)
        return Response(file.content, headers=headers, media_type=file.kind)


def pages_router(pages: Pages) -> APIRouter:
    """The page and its files."""
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    async def get_page(request: Request) -> Response:
        return pages.answer("index.html", request)

    @router.get("/assets/{name}", include_in_schema=False)
    async def get_asset(name: str, request: Request) -> Response:
        return pages.answer(f"assets/{name}", request)

    @router.get("/icon.svg", include_in_schema=False)
    async def get_icon(request: Request) -> Response:
        return pages.answer("icon.svg", request)

    return router
