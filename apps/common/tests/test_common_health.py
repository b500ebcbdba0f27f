"""Liveness asks nobody; readiness asks all, in bounded time."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from bookstore_common.health import CheckFailedError, Readiness, create_management_app
from bookstore_common.metrics import Metrics

pytestmark = pytest.mark.anyio


async def good() -> None:
    return None


async def bad() -> None:
    raise CheckFailedError("schema revision 0001 is older than 0002")


async def broken() -> None:
    raise OSError("refused\nwith details")


async def slow() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def readiness() -> Readiness:
    return Readiness({"database": good}, timeout=0.05)


@pytest.fixture
async def client(readiness: Readiness) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_management_app(readiness, Metrics())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://pod") as client:
        yield client


async def test_ready(client: httpx2.AsyncClient) -> None:
    response = await client.get("/health/ready")
    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert response.json()["checks"]["database"]["status"] == "ok"


async def test_not_ready_tells_which_and_why(client: httpx2.AsyncClient, readiness: Readiness) -> None:
    readiness._checks = {"database": good, "schema": bad, "cache": broken, "queue": slow}
    response = await client.get("/health/ready")
    body = response.json()
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert body["code"] == "dependency_unavailable"
    assert body["detail"] == "Not usable: schema, cache, queue."
    details = {name: check.get("detail") for name, check in body["checks"].items()}
    assert details == {
        "database": None,
        "schema": "schema revision 0001 is older than 0002",
        "cache": "OSError: refused",
        "queue": "no answer within 0.05 s",
    }
    assert (await client.get("/health/live")).json() == {"status": "ok"}


async def test_draining_is_not_ready(client: httpx2.AsyncClient, readiness: Readiness) -> None:
    readiness.draining = True
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()["code"]) == (503, "shutting_down")


async def test_an_end_that_begins_during_a_look_counts(client: httpx2.AsyncClient, readiness: Readiness) -> None:
    async def meanwhile() -> None:
        readiness.draining = True

    readiness._checks = {"database": meanwhile}
    response = await client.get("/health/ready")
    assert (response.status_code, response.json()["code"]) == (503, "shutting_down")


async def test_metrics_are_exposed(client: httpx2.AsyncClient) -> None:
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "process_cpu_seconds_total" in response.text


async def test_unknown_path_is_a_problem(client: httpx2.AsyncClient) -> None:
    response = await client.get("/health")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
