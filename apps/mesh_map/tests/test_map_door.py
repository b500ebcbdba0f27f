"""The door: its own names only, protecting headers on every answer, nothing that changes anything, the page's files."""

import gzip
from pathlib import Path

import httpx2
import pytest

from mesh_map.pages import Pages, PagesError

pytestmark = pytest.mark.anyio
FOREIGN = (
    "evil.test",
    "localhost.evil.test:32100",
    "127.0.0.1.nip.test",
    "192.0.2.7:32100",
    "localhost, evil.test",
    "",
    "[::2]",
)


@pytest.mark.parametrize(
    "host",
    ["localhost:32100", "LOCALHOST", "127.0.0.1:32100", "[::1]:32100", "mesh-map.observability.svc", "10.1.2.3:8080"],
)
async def test_own_names_are_answered(client: httpx2.AsyncClient, host: str) -> None:
    assert (await client.get("/health", headers={"host": host})).json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["/", "/api/map", "/health", "/nothing"])
@pytest.mark.parametrize("host", FOREIGN)
async def test_foreign_names_are_refused_whatever_is_asked_for(
    client: httpx2.AsyncClient, host: str, path: str
) -> None:
    response = await client.get(path, headers={"host": host})
    assert response.status_code == 421
    assert response.headers["x-frame-options"] == "DENY"


async def test_two_host_headers_open_nothing(client: httpx2.AsyncClient) -> None:
    headers = [("host", "localhost"), ("host", "evil.test")]
    assert (await client.get("/api/map", headers=headers)).status_code == 421


@pytest.mark.parametrize("path", ["/", "/api/map", "/assets/index-abc.js", "/nothing", "/api/workloads/a/b"])
async def test_every_answer_protects_itself(client: httpx2.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/api/map", "/api/workloads/ecom/ecom-api", "/health"])
async def test_nothing_can_be_changed(client: httpx2.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"


async def test_figures_are_not_stored_and_files_are_kept_by_their_names(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/map")).headers["cache-control"] == "no-store"
    assert (await client.get("/")).headers["cache-control"] == "no-cache"
    assert "immutable" in (await client.get("/assets/index-abc.js")).headers["cache-control"]
    head = await client.head("/")
    assert (head.status_code, head.content) == (200, b"")


async def test_files_are_compressed_for_who_takes_it(client: httpx2.AsyncClient) -> None:
    plain = await client.get("/assets/index-abc.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    for accepted, packed in (("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("br", False)):
        async with client.stream("GET", "/assets/index-abc.js", headers={"accept-encoding": accepted}) as response:
            assert (response.headers.get("content-encoding") == "gzip") == packed
            raw = b"".join([chunk async for chunk in response.aiter_raw()])
        assert (gzip.decompress(raw) if packed else raw) == plain.content
    again = await client.get("/assets/index-abc.js", headers={"if-none-match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets/nothing.js", "/assets/..%2findex.html", "/index.html", "/token", "/metrics"]
)
async def test_other_files_are_not_served(client: httpx2.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_folder_without_the_page_ends_the_start(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(PagesError, match=r"PAGES_DIR=.*no index.html there"):
            Pages(folder)
