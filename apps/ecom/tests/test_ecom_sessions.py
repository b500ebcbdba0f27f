"""E-06 and E-23: CSRF tokens and the end of a session."""

import asyncio
from typing import Any

import httpx2
import pytest
from conftest import Environment
from ecom_testing import Caller, book, http, problem_of, running, settings_of

from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import Issuer
from bookstore_common.tokens import LEEWAY_SECONDS
from ecom.sessions.schemas import CsrfTokenBody

pytestmark = pytest.mark.anyio
LOGOUT = "/internal/backchannel-logout"
LINE = {"book_id": book(1), "quantity": 1}


async def logout(internal: httpx2.AsyncClient, token: str | None, **options: Any) -> httpx2.Response:
    return await internal.post(LOGOUT, data={} if token is None else {"logout_token": token}, **options)


@pytest.mark.parametrize("role", ["customer", "admin"])
async def test_csrf_token(person: Any, role: str) -> None:
    somebody = person(role)
    first, second = await somebody.get("/ecom/csrf-token"), await somebody.get("/ecom/csrf-token")
    CsrfTokenBody.model_validate(first.json())
    assert first.json()["expires_in"] == 1800
    assert first.headers["cache-control"] == "no-store"
    assert first.json()["token"] != second.json()["token"]


async def test_several_tabs(customer: Caller) -> None:
    tokens = [(await customer.get("/ecom/csrf-token")).json()["token"] for _ in range(5)]
    for token in tokens:
        response = await customer.send("POST", "/ecom/cart/items", LINE, x_csrf_token=token)
        assert response.status_code == 200


async def test_no_csrf_token_without_redis(customer: Caller, redis_server: RedisServer) -> None:
    redis_server.stop()
    assert problem_of(await customer.get("/ecom/csrf-token")) == (503, "dependency_unavailable")
    redis_server.start()
    async with asyncio.timeout(10):
        while (answer := await customer.get("/ecom/csrf-token")).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # bounded polling: the client's pause after failures ends by itself
    assert answer.status_code == 200


async def test_logout_ends_the_session_everywhere(
    customer: Caller, internal: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer
) -> None:
    other_session = Caller(customer.client, issuer, sub=customer.sub)
    await customer.add(1)
    response = await logout(internal, issuer.logout_token(sid=customer.sid, sub=customer.sub))
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["cache-control"] == "no-store"
    for method, path, body in (("GET", "/ecom/cart", None), ("POST", "/ecom/cart/items", LINE)):
        assert problem_of(await customer.send(method, path, body)) == (401, "unauthenticated")
    with redis_server.connect() as redis:
        assert redis.ttl(f"revoked:{customer.sid}") > 300 + LEEWAY_SECONDS
        assert not redis.exists(f"csrf:{customer.sid}")
    # The same person on another device stays signed in.
    assert (await other_session.cart())["count"] == 1
    # Keycloak may say it twice.
    assert (await logout(internal, issuer.logout_token(sid=customer.sid))).status_code == 200


async def test_a_logout_token_without_session_ends_all_of_the_user(
    customer: Caller, internal: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """OpenID Connect Back-Channel Logout 1.0, 2.4: five devices, one logout token."""
    devices = [customer, *(Caller(customer.client, issuer, sub=customer.sub) for _ in range(4))]
    for device in devices:
        await device.add(1)
    bystander = Caller(customer.client, issuer)
    await bystander.add(1)
    assert (await logout(internal, issuer.logout_token(sid=None, sub=customer.sub))).status_code == 200
    for device in devices:
        for method, path, body in (("GET", "/ecom/cart", None), ("POST", "/ecom/cart/items", LINE)):
            assert problem_of(await device.send(method, path, body)) == (401, "unauthenticated")
    assert (await bystander.cart())["count"] == 1


async def test_a_mark_outlives_every_token_of_its_session(
    environment: Environment, fresh: str, issuer: Issuer, redis_server: RedisServer
) -> None:
    """The realm may be told to give out longer tokens: none may be good again once the mark is gone."""
    given = {"OIDC_ACCESS_LIFETIME_SECONDS": "1200", "OIDC_OUTAGE_SECONDS": "600"}
    settings = settings_of({**environment(fresh), **given})
    async with running(settings) as service, http(service.internal) as client:
        assert (await logout(client, issuer.logout_token(sid="long"))).status_code == 200
    with redis_server.connect() as redis:
        assert 1800 + LEEWAY_SECONDS < redis.ttl("revoked:long") <= 1800 + 2 * LEEWAY_SECONDS


async def test_only_logout_tokens_of_our_realm_count(
    customer: Caller, internal: httpx2.AsyncClient, issuer: Issuer
) -> None:
    await customer.cart()
    sid = customer.sid
    forged = issuer.logout_token(sid=sid).rsplit(".", 1)[0] + "." + issuer.logout_token(sid="x").rsplit(".", 1)[1]
    tokens = {
        "none": None,
        "empty": "",
        "garbage": "x",
        "access token": issuer.token(sid=sid),
        "forged": forged,
        "issuer": issuer.logout_token(sid=sid, iss="https://evil.test"),
        "audience": issuer.logout_token(sid=sid, aud="someone"),
        "expired": issuer.logout_token(sid=sid, exp=1),
        "no event": issuer.logout_token(sid=sid, events={}),
        "nonce": issuer.logout_token(sid=sid, nonce="n"),
        "nobody": issuer.logout_token(sid=None, sub=None),
        "huge": "a." * 50_000,
    }
    for name, token in tokens.items():
        response = await logout(internal, token)
        assert problem_of(response) == (400, "invalid_logout_token"), name
    as_json = await internal.post(LOGOUT, json={"logout_token": issuer.logout_token(sid=sid)})
    assert as_json.status_code == 400
    assert (await customer.get("/ecom/cart")).status_code == 200


async def test_logout_that_cannot_be_noted_is_no_success(
    customer: Caller, internal: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer
) -> None:
    redis_server.stop()
    response = await logout(internal, issuer.logout_token(sid=customer.sid))
    assert problem_of(response) == (503, "dependency_unavailable")


async def test_logout_is_not_reachable_from_outside(shop: httpx2.AsyncClient, issuer: Issuer) -> None:
    for path in (LOGOUT, "/ecom/backchannel-logout"):
        response = await shop.post(path, data={"logout_token": issuer.logout_token()})
        assert problem_of(response) == (404, "not_found")


async def test_the_gateway_gets_the_keys(shop: httpx2.AsyncClient, issuer: Issuer) -> None:
    """As Keycloak publishes them; it needs no token, and no limit on requests counts it."""
    answer = await shop.get("/ecom/token-keys")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    kids = {key["kid"] for key in answer.json()["keys"]}
    assert issuer.key.kid in kids
    assert "ratelimit-limit" not in answer.headers
