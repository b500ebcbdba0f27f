"""Who is let in, by token, role and session, and what the document says of it."""

import re
import time
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from access_testing import app, client, count, csrf_token, internal, post, refused
from bookstore_common import sessions
from bookstore_common.access import Limit
from bookstore_common.metrics import Metrics
from bookstore_common.redis import RedisClient
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import Issuer
from bookstore_common.tokens import LogoutToken

__all__ = ["app", "client", "internal"]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "missing"),
        ([("Authorization", "Basic dXNlcjpwYXNz")], "scheme"),
        ([("Authorization", "Bearer")], "malformed"),
        ([("Authorization", "Bearer  ")], "malformed"),
        ([("Authorization", "Bearer a.b.c")], "malformed"),
        ([("Authorization", "TOKEN")], "scheme"),
        ([("Authorization", "TOKEN"), ("Authorization", "TOKEN")], "malformed"),
        ([("Authorization", "Bearer TOKEN, Bearer TOKEN")], "malformed"),
        ([("Cookie", "access_token=TOKEN")], "missing"),
        ([("X-Forwarded-User", "admin"), ("X-Auth-Roles", "customer")], "missing"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_anonymous(
    client: httpx2.AsyncClient,
    issuer: Issuer,
    metrics: Metrics,
    headers: list[tuple[str, str]],
    reason: str,
    method: str,
) -> None:
    sent = [(name, value.replace("TOKEN", issuer.token())) for name, value in headers]
    response = await client.request(
        method, "/area/mine", headers=sent, json={"number": 1} if method == "POST" else None
    )
    refused(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert count(metrics, "auth_failures_total", reason=reason) == 1


async def test_token_in_the_query_counts_for_nothing(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    refused(await client.get("/area/mine", params={"access_token": issuer.token()}), 401, "unauthenticated")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_signed_in(client: httpx2.AsyncClient, issuer: Issuer, log_stream: LogStream, scheme: str) -> None:
    token = issuer.token(sub="user-7")
    response = await client.get("/area/mine", headers={"Authorization": f"{scheme} {token}"})
    assert response.json() == {"sub": "user-7"}
    assert response.headers["ratelimit-limit"] == "300"
    assert response.headers["ratelimit-remaining"] == "299"
    assert 0 < int(response.headers["ratelimit-reset"]) <= 60
    line = next(event for event in log_stream.events() if event["event"] == "request")
    assert line["sub"] == "user-7"
    assert token not in log_stream.getvalue().decode()
    await client.get("/area/public")
    assert "sub" not in log_stream.events()[-1]


async def test_headers_come_with_every_kind_of_answer(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    head = await client.head("/area/mine", headers=issuer.headers())
    failed = await client.get("/area/missing", headers=issuer.headers())
    assert (head.status_code, failed.status_code) == (200, 500)
    assert [answer.headers["ratelimit-remaining"] for answer in (head, failed)] == ["299", "298"]


@pytest.mark.parametrize(
    ("path", "claims", "reason"),
    [
        ("/area/mine", {"roles": ["admin"]}, "role"),
        ("/area/mine", {"roles": []}, "role"),
        ("/area/mine", {"roles": ["Customer", "customer "]}, "role"),
        ("/area/admin", {"roles": ["customer"]}, "role"),
        ("/area/service", {"roles": ["service"], "azp": "ui-client"}, "client"),
        ("/area/service", {"roles": ["customer"], "azp": "ecom-service"}, "role"),
    ],
)
async def test_wrong_role_or_client(
    client: httpx2.AsyncClient, issuer: Issuer, metrics: Metrics, path: str, claims: dict[str, Any], reason: str
) -> None:
    method = "POST" if path == "/area/service" else "GET"
    refused(await client.request(method, path, headers=issuer.headers(**claims)), 403, "forbidden")
    assert count(metrics, "auth_failures_total", reason=reason) == 1


async def test_no_roles_asked_means_any(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    response = await client.get("/area/any", headers=issuer.headers(roles=[]))
    assert (response.status_code, response.headers["ratelimit-limit"]) == (200, "30")


async def test_ended_session(
    client: httpx2.AsyncClient, issuer: Issuer, redis_client: RedisClient, metrics: Metrics, redis_server: RedisServer
) -> None:
    assert (await client.get("/area/mine", headers=issuer.headers(sid="s-1"))).status_code == 200
    await sessions.revoke(redis_client, LogoutToken(None, "s-1", 0), token_life_seconds=330)
    response = await client.get("/area/mine", headers=issuer.headers(sid="s-1"))
    refused(response, 401, "unauthenticated")
    assert count(metrics, "auth_failures_total", reason="revoked") == 1
    assert (await client.get("/area/mine", headers=issuer.headers(sid="s-2"))).status_code == 200
    with redis_server.connect() as redis:
        assert 350 < redis.ttl("revoked:s-1") <= 360


async def test_ended_session_on_the_other_listener(
    internal: httpx2.AsyncClient, issuer: Issuer, redis_client: RedisClient
) -> None:
    await sessions.revoke(redis_client, LogoutToken(None, "s-1", 0), token_life_seconds=330)
    refused(await internal.post("/area/mine", headers=issuer.headers(sid="s-1")), 401, "unauthenticated")


async def test_all_sessions_of_a_user_end_in_every_service(
    app: FastAPI, client: httpx2.AsyncClient, internal: httpx2.AsyncClient, issuer: Issuer, redis_client: RedisClient
) -> None:
    now = int(time.time())
    tokens: list[dict[str, Any]] = [
        {"sub": "u-1", "sid": f"s-{number}", "iat": now - 10 + number} for number in range(5)
    ]
    csrf_tokens = [await csrf_token(app, issuer, **claims) for claims in tokens]
    await sessions.revoke(redis_client, LogoutToken("u-1", None, now), token_life_seconds=330)
    for claims, token in zip(tokens, csrf_tokens, strict=True):
        refused(await client.get("/area/mine", headers=issuer.headers(**claims)), 401, "unauthenticated")
        refused(await post(client, issuer, {"X-CSRF-Token": token}, **claims), 401, "unauthenticated")
        refused(await internal.post("/area/mine", headers=issuer.headers(**claims)), 401, "unauthenticated")
    # A later sign-in, another user and a service's own token are not concerned.
    others: list[dict[str, Any]] = [{"sub": "u-1", "iat": now + 1}, {"sub": "u-2"}, {"sub": "service", "sid": None}]
    for claims in others:
        assert (await client.get("/area/mine", headers=issuer.headers(**claims))).status_code == 200


async def test_document(app: FastAPI) -> None:
    document = app.openapi()
    paths = document["paths"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    change = paths["/area/mine"]["post"]
    assert change["security"] == [{"bearer": []}]
    assert (change["x-roles"], change["x-csrf"]) == (["customer"], True)
    assert change["x-rate-limit"] == {"name": "mutation", "per_minute": 60}
    assert {"401", "403", "422", "429", "503"} <= set(change["responses"])
    assert paths["/area/mine"]["get"]["x-csrf"] is False
    assert paths["/area/any"]["get"]["x-roles"] == []
    assert paths["/area/service"]["post"]["x-clients"] == ["ecom-service"]
    assert paths["/area/admin"]["put"]["x-rate-limit"]["name"] == "admin_mutation"
    anyone = paths["/area/public"]["get"]
    assert "security" not in anyone
    assert "x-roles" not in anyone
    assert anyone["x-rate-limit"]["per_minute"] == 1200
    assert app.openapi() == document


def test_limits_are_those_of_the_specification() -> None:
    assert {limit.label: limit.per_minute for limit in Limit} == {
        "anonymous": 1200, "read": 300, "search": 120, "csrf_token": 30, "mutation": 60, "checkout": 10,
        "admin_mutation": 120,
    }  # fmt: skip
    assert all(re.fullmatch("[a-z_]+", limit.label) for limit in Limit)
