"""Who may do what: every endpoint, before anything else is looked at (SPEC 3, 5.1)."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest
from admin_testing import BOOK_ID, ENDPOINTS, SHOP, SUMMARY, Endpoint, changes_of, http, script
from conftest import with_csrf

from admin.app import Service
from bookstore_common.sessions import revoke
from bookstore_common.testing.http_stub import HttpStub
from bookstore_common.testing.redis import RedisServer
from bookstore_common.tokens import LogoutToken

pytestmark = pytest.mark.anyio
Headers = Callable[..., dict[str, str]]
ALL = [SUMMARY, *ENDPOINTS]
CHANGES = [endpoint for endpoint in ENDPOINTS if endpoint.changes]
every_endpoint = pytest.mark.parametrize("endpoint", ALL, ids=str)
every_change = pytest.mark.parametrize("endpoint", CHANGES, ids=str)


@pytest.fixture(autouse=True)
def peers(ecom: HttpStub, inventory: HttpStub) -> tuple[HttpStub, ...]:
    """Both, answering everything."""
    script(ecom, inventory)
    return ecom, inventory


def check(response: httpx2.Response, status: int, code: str, *silent: HttpStub) -> None:
    """``response`` is this problem, and no peer was asked."""
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert [request for stub in silent for request in stub.requests] == []


@every_endpoint
async def test_anonymous(service: Service, peers: tuple[HttpStub, ...], endpoint: Endpoint) -> None:
    async with http(service.public) as client:
        response = await endpoint.call(client)
    check(response, 401, "unauthenticated", *peers)
    assert response.headers["www-authenticate"].startswith("Bearer")


@every_endpoint
async def test_wrong_role(service: Service, headers: Headers, peers: tuple[HttpStub, ...], endpoint: Endpoint) -> None:
    """With a valid CSRF token: the role alone decides."""
    async with http(service.public) as client:
        for roles in (("customer",), ("service",), ("customer", "Admin", "administrator"), ()):
            response = await endpoint.call(client, headers=await with_csrf(service, headers(*roles)))
            check(response, 403, "forbidden", *peers)


@every_endpoint
async def test_token_not_meant_for_this(
    service: Service, headers: Headers, peers: tuple[HttpStub, ...], endpoint: Endpoint
) -> None:
    strange: list[dict[str, Any]] = [
        {"azp": "ecom-service"}, {"audience": "account"}, {"lifetime": -60}, {"iss": "https://evil.test"},
    ]  # fmt: skip
    async with http(service.public) as client:
        for claims in strange:
            check(await endpoint.call(client, headers=headers("admin", **claims)), 401, "unauthenticated", *peers)


@every_change
async def test_without_csrf_token(
    service: Service, admin: dict[str, str], peers: tuple[HttpStub, ...], endpoint: Endpoint
) -> None:
    async with http(service.public) as client:
        check(await endpoint.call(client, headers=admin), 403, "csrf_invalid", *peers)
        forged = {**admin, "x-csrf-token": "A" * 43}
        check(await endpoint.call(client, headers=forged), 403, "csrf_invalid", *peers)


@every_change
async def test_another_sessions_csrf_token(
    service: Service, headers: Headers, peers: tuple[HttpStub, ...], endpoint: Endpoint
) -> None:
    foreign = await with_csrf(service, headers("admin", sid="another-session"))
    mine = headers("admin", sid="my-session")
    async with http(service.public) as client:
        response = await endpoint.call(client, headers={**foreign, **mine})
    check(response, 403, "csrf_invalid", *peers)


@every_change
async def test_foreign_origin(client: httpx2.AsyncClient, peers: tuple[HttpStub, ...], endpoint: Endpoint) -> None:
    response = await endpoint.call(client, headers={"origin": "https://evil.test"})
    check(response, 403, "origin_mismatch", *peers)


@every_endpoint
async def test_ended_session(
    service: Service, client: httpx2.AsyncClient, peers: tuple[HttpStub, ...], endpoint: Endpoint
) -> None:
    life = service.verifier.token_life_seconds
    await revoke(service.redis, LogoutToken(None, "session-1", 0), token_life_seconds=life)
    check(await endpoint.call(client), 401, "unauthenticated", *peers)


@every_endpoint
async def test_allowed(client: httpx2.AsyncClient, ecom: HttpStub, endpoint: Endpoint) -> None:
    """The same requests are answered when everything is right; with the quota, and never from a cache."""
    response = await endpoint.call(client)
    assert response.status_code == endpoint.success, response.text
    assert response.headers["ratelimit-limit"] == ("120" if endpoint.changes else "300")
    assert response.headers["access-control-allow-origin"] == SHOP
    if endpoint.success != 204:
        assert response.headers["cache-control"] == "no-store"


@every_change
async def test_session_store_down(
    client: httpx2.AsyncClient, redis_server: RedisServer, peers: tuple[HttpStub, ...], endpoint: Endpoint
) -> None:
    """Nothing is changed without a check of the CSRF token."""
    redis_server.stop()
    check(await endpoint.call(client), 503, "dependency_unavailable", *peers)
    redis_server.start()


@pytest.mark.parametrize("endpoint", [item for item in ALL if not item.changes], ids=str)
async def test_reads_without_session_store(
    client: httpx2.AsyncClient, redis_server: RedisServer, endpoint: Endpoint
) -> None:
    redis_server.stop()
    assert (await endpoint.call(client)).status_code == 200
    redis_server.start()


async def test_changes_are_limited(client: httpx2.AsyncClient, inventory: HttpStub, redis_server: RedisServer) -> None:
    """120 a minute (SPEC 5.1), whichever endpoints they are."""
    path = f"/admin/stock/{BOOK_ID}"
    first = await client.put(path, json={"quantity": 1})
    assert first.headers["ratelimit-remaining"] == "119"
    with redis_server.connect() as redis:
        [key] = [key for key in redis.keys("*") if "admin_mutation" in key]
        [newest] = redis.lrange(key, 0, 0)
        redis.lpush(key, *[newest] * 119)
    inventory.requests.clear()
    response = await client.put(path, json={"quantity": 1})
    check(response, 429, "rate_limited", inventory)
    assert 0 < int(response.headers["retry-after"]) <= 60
    assert (await client.get("/admin/books")).status_code == 200


async def test_invalid_bodies_reach_no_peer(client: httpx2.AsyncClient, peers: tuple[HttpStub, ...]) -> None:
    for endpoint in CHANGES:
        if endpoint.body is None:
            continue
        for body in _wrong(endpoint.body):
            response = await client.request(endpoint.method, endpoint.path, json=body)
            check(response, 422, "validation_error", *peers)
            assert response.json()["errors"], endpoint
    assert changes_of(*peers) == []


def _wrong(body: Mapping[str, Any]) -> list[Any]:
    """Too little, too much, other kinds, and the right names with the wrong kind of value."""
    return [{}, {**body, "unknown": 1}, [], None, "text", {name: [1] for name in body}]
