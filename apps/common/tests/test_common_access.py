"""Who is let in, in which order the checks come, and what happens while Redis is away."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel

from bookstore_common import sessions
from bookstore_common.access import AccessControl, Limit, public, signed_in
from bookstore_common.application import create_app
from bookstore_common.jsonbody import JSONBytes
from bookstore_common.metrics import Metrics
from bookstore_common.redis import RedisClient
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import Issuer
from bookstore_common.tokens import Principal, TokenVerifier

pytestmark = pytest.mark.anyio
SHOP = "https://shop.bookstore.test:30000"
Customer = Annotated[Principal, Depends(signed_in("customer"))]
Admin = Annotated[Principal, Depends(signed_in("admin"))]
Anyone = Annotated[Principal, Depends(signed_in(limit=Limit.CSRF_TOKEN))]
Service = Annotated[Principal, Depends(signed_in("service", clients=("ecom-service",)))]
Checkout = Annotated[Principal, Depends(signed_in("customer", limit=Limit.CHECKOUT))]


class Body(BaseModel):
    """Something to send."""

    number: int


def router() -> APIRouter:
    router = APIRouter(prefix="/area")

    @router.get("/public", dependencies=[Depends(public())])
    async def anyone() -> JSONBytes:
        return JSONBytes(b"{}")

    @router.get("/search", dependencies=[Depends(public(Limit.SEARCH))])
    async def search() -> dict[str, str]:
        return {}

    @router.get("/mine")
    async def mine(who: Customer) -> JSONBytes:
        return JSONBytes(f'{{"sub":"{who.sub}"}}'.encode())

    @router.post("/mine")
    async def change(who: Customer, body: Body) -> dict[str, int]:
        return {"number": body.number}

    @router.delete("/mine", status_code=204)
    async def remove(who: Customer) -> None:
        return None

    @router.get("/missing")
    async def missing(who: Customer) -> None:
        raise RuntimeError("the endpoint failed")

    @router.get("/admin")
    async def administered(who: Admin) -> dict[str, str]:
        return {}

    @router.put("/admin")
    async def administer(who: Admin) -> dict[str, str]:
        return {}

    @router.get("/any")
    async def any_role(who: Anyone) -> dict[str, str]:
        return {}

    @router.post("/service")
    async def serve(who: Service) -> dict[str, str]:
        return {}

    @router.post("/checkout")
    async def checkout(who: Checkout) -> dict[str, str]:
        return {}

    return router


def build(listener: str, metrics: Metrics, verifier: TokenVerifier, redis: RedisClient) -> FastAPI:
    outward = listener == "public"
    app = create_app("test", listener=listener, metrics=metrics, cors_origins=[SHOP] if outward else [])
    app.include_router(router())
    app.state.access = AccessControl(verifier, redis, [SHOP] if outward else [], metrics, csrf=outward)
    return app


@pytest.fixture
def app(metrics: Metrics, verifier: TokenVerifier, redis_client: RedisClient) -> FastAPI:
    return build("public", metrics, verifier, redis_client)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api.test") as client:
        yield client


@pytest.fixture
async def internal(
    app: FastAPI, metrics: Metrics, verifier: TokenVerifier, redis_client: RedisClient
) -> AsyncIterator[httpx2.AsyncClient]:
    """The other listener of the same process."""
    inner = build("internal", metrics, verifier, redis_client)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(inner), base_url="http://api.test") as client:
        yield client


async def csrf_token(app: FastAPI, issuer: Issuer, **claims: Any) -> str:
    access: AccessControl = app.state.access
    return (await access.csrf.issue(await access.verifier.verify(issuer.token(**claims)))).token


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def refused(response: httpx2.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


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
    await sessions.revoke(redis_client, "s-1")
    response = await client.get("/area/mine", headers=issuer.headers(sid="s-1"))
    refused(response, 401, "unauthenticated")
    assert count(metrics, "auth_failures_total", reason="revoked") == 1
    assert (await client.get("/area/mine", headers=issuer.headers(sid="s-2"))).status_code == 200
    with redis_server.connect() as redis:
        assert 350 < redis.ttl("revoked:s-1") <= 360


async def test_ended_session_on_the_other_listener(
    internal: httpx2.AsyncClient, issuer: Issuer, redis_client: RedisClient
) -> None:
    await sessions.revoke(redis_client, "s-1")
    refused(await internal.post("/area/mine", headers=issuer.headers(sid="s-1")), 401, "unauthenticated")


# CSRF -----------------------------------------------------------------------------------------------------------------


async def post(client: httpx2.AsyncClient, issuer: Issuer, headers: dict[str, str], **claims: Any) -> httpx2.Response:
    return await client.post("/area/mine", json={"number": 5}, headers={**issuer.headers(**claims), **headers})


async def test_change_with_token(app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer) -> None:
    token = await csrf_token(app, issuer)
    for headers in ({}, {"Origin": SHOP}):
        response = await post(client, issuer, {"X-CSRF-Token": token, **headers})
        assert response.json() == {"number": 5}
        assert response.headers["ratelimit-limit"] == "60"
    assert (await client.delete("/area/mine", headers={**issuer.headers(), "X-CSRF-Token": token})).status_code == 204


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (None, "missing"),
        ("", "wrong"),
        ("x", "wrong"),
        ("A" * 43, "wrong"),
        ("TOKEN2", "wrong"),
        ("é" * 43, "wrong"),
        ("A" * 5000, "wrong"),
    ],
)
async def test_change_without_a_token_of_the_session(
    app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, metrics: Metrics, offered: str | None, reason: str
) -> None:
    foreign = await csrf_token(app, issuer, sid="another")
    headers = {} if offered is None else {"X-CSRF-Token": offered.replace("TOKEN2", foreign)}
    raw = [(name.encode(), value.encode()) for name, value in {**issuer.headers(), **headers}.items()]
    response = await client.post("/area/mine", json={"number": 5}, headers=raw)
    refused(response, 403, "csrf_invalid")
    assert count(metrics, "csrf_rejections_total", reason=reason) == 1


async def test_two_tokens_are_none(app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer) -> None:
    token = await csrf_token(app, issuer)
    headers = [*issuer.headers().items(), ("X-CSRF-Token", token), ("X-CSRF-Token", token)]
    refused(await client.post("/area/mine", json={"number": 5}, headers=headers), 403, "csrf_invalid")


@pytest.mark.parametrize(
    "origin", ["https://evil.test", "null", f"{SHOP}/", SHOP.upper(), "http://shop.bookstore.test"]
)
async def test_change_from_another_site(
    app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, metrics: Metrics, origin: str
) -> None:
    token = await csrf_token(app, issuer)
    response = await post(client, issuer, {"X-CSRF-Token": token, "Origin": origin})
    refused(response, 403, "origin_mismatch")
    assert count(metrics, "csrf_rejections_total", reason="origin") == 1


async def test_reading_from_another_site_is_the_browsers_business(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    response = await client.get("/area/mine", headers={**issuer.headers(), "Origin": "https://evil.test"})
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


async def test_internal_listener_asks_for_no_csrf_and_limits_nothing(
    internal: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer
) -> None:
    for _ in range(12):
        response = await internal.post("/area/checkout", headers={**issuer.headers(), "Origin": "https://evil.test"})
        assert response.status_code == 200
    assert (await internal.get("/area/public")).status_code == 200
    assert "ratelimit-limit" not in response.headers
    with redis_server.connect() as redis:
        assert redis.keys("*") == []
    refused(await internal.post("/area/checkout", headers=issuer.headers(roles=["admin"])), 403, "forbidden")


# Rate limits ----------------------------------------------------------------------------------------------------------


async def test_limit_per_user(app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, metrics: Metrics) -> None:
    async def checkout(**claims: Any) -> httpx2.Response:
        token = await csrf_token(app, issuer, **claims)
        return await client.post("/area/checkout", headers={**issuer.headers(**claims), "X-CSRF-Token": token})

    answers = [await checkout() for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == [*map(str, range(9, -1, -1)), "0"]
    refused(answers[-1], 429, "rate_limited")
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].headers["retry-after"] == answers[-1].headers["ratelimit-reset"]
    assert count(metrics, "rate_limited_total", limit="checkout") == 1
    # Another session of the same user shares the bucket, another user and another kind of request do not.
    assert (await checkout(sid="other-session")).status_code == 429
    assert (await checkout(sub="somebody-else", sid="s-9")).status_code == 200
    assert (await client.get("/area/mine", headers=issuer.headers())).status_code == 200


async def test_refused_requests_are_not_counted(
    app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer
) -> None:
    """Of strangers and of those without the role: they could use up a user's share, or Redis' memory."""
    await client.post("/area/checkout")
    await client.post("/area/checkout", headers=issuer.headers(roles=["admin"]))
    with redis_server.connect() as redis:
        assert redis.keys("limits*") == []


async def test_guessing_csrf_tokens_is_limited(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    codes = [
        (await client.post("/area/checkout", headers={**issuer.headers(), "X-CSRF-Token": "A" * 43})).status_code
        for _ in range(11)
    ]
    assert codes == [403] * 10 + [429]


async def test_anonymous_share_a_bucket_per_address(app: FastAPI) -> None:
    async def get(address: str, path: str = "/area/public", **headers: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(app, client=(address, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as client:
            return await client.get(path, headers=headers)

    assert (await get("10.0.0.1")).headers["ratelimit-remaining"] == "1199"
    forged = {"X-Forwarded-For": "9.9.9.9", "X-Real-IP": "9.9.9.9", "Forwarded": "for=9.9.9.9"}
    assert (await get("10.0.0.1", **forged)).headers["ratelimit-remaining"] == "1198"
    assert (await get("10.0.0.2")).headers["ratelimit-remaining"] == "1199"
    assert (await get("10.0.0.1", "/area/search")).headers["ratelimit-limit"] == "120"


async def test_public_endpoint_with_a_token(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    response = await client.get("/area/public", headers=issuer.headers())
    assert (response.status_code, response.headers["ratelimit-limit"]) == (200, "300")
    search = await client.get("/area/search", headers=issuer.headers())
    assert search.headers["ratelimit-limit"] == "120"
    refused(await client.get("/area/public", headers={"Authorization": "Bearer a.b.c"}), 401, "unauthenticated")


async def test_admins_have_their_own_limit(app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer) -> None:
    headers = {**issuer.headers(roles=["admin"]), "X-CSRF-Token": await csrf_token(app, issuer)}
    limits = [
        (await client.request(m, "/area/admin", headers=headers)).headers["ratelimit-limit"] for m in ("GET", "PUT")
    ]
    assert limits == ["300", "120"]


async def test_load_tests_may_raise_the_limits(
    app: FastAPI, client: httpx2.AsyncClient, metrics: Metrics, verifier: TokenVerifier, redis_client: RedisClient
) -> None:
    app.state.access = AccessControl(verifier, redis_client, [SHOP], metrics, csrf=True, rate_factor=100)
    assert (await client.get("/area/public")).headers["ratelimit-limit"] == "120000"


# Redis away -----------------------------------------------------------------------------------------------------------


async def test_redis_down(
    app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, metrics: Metrics, redis_server: RedisServer
) -> None:
    token = await csrf_token(app, issuer)
    redis_server.stop()
    reading = await client.get("/area/mine", headers=issuer.headers())
    assert reading.status_code == 200
    assert "ratelimit-limit" not in reading.headers
    assert (await client.get("/area/public")).status_code == 200
    assert count(metrics, "rate_limiter_errors_total") == 2
    assert count(metrics, "session_checks_skipped_total") == 1
    changing = await post(client, issuer, {"X-CSRF-Token": token})
    refused(changing, 503, "dependency_unavailable")
    assert changing.headers["retry-after"] == "1"
    assert count(metrics, "csrf_rejections_total", reason="store_unavailable") == 1
    refused(await post(client, issuer, {"X-CSRF-Token": token, "Origin": "https://evil.test"}), 403, "origin_mismatch")
    refused(await client.get("/area/mine"), 401, "unauthenticated")
    # Back without a restart of ours; it is empty, so a new token is needed.
    redis_server.start()
    async with asyncio.timeout(5):
        while (answer := await post(client, issuer, {"X-CSRF-Token": token})).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # bounded polling: the pause after failures ends by itself
    refused(answer, 403, "csrf_invalid")
    assert (await post(client, issuer, {"X-CSRF-Token": await csrf_token(app, issuer)})).status_code == 200


async def test_redis_restarted(
    app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer
) -> None:
    """Its scripts and our connections are gone; no request fails for that."""
    headers = {"X-CSRF-Token": await csrf_token(app, issuer)}
    assert (await post(client, issuer, headers)).status_code == 200
    redis_server.stop()
    redis_server.start()
    assert (await client.get("/area/mine", headers=issuer.headers())).headers["ratelimit-remaining"] == "299"
    headers = {"X-CSRF-Token": await csrf_token(app, issuer)}
    assert (await post(client, issuer, headers)).status_code == 200


async def test_redis_that_does_not_answer_holds_nobody_up(
    client: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer
) -> None:
    await client.get("/area/mine", headers=issuer.headers())
    with redis_server.frozen():
        started = time.perf_counter()
        answers = [(await client.get("/area/mine", headers=issuer.headers())).status_code for _ in range(20)]
        assert answers == [200] * 20
        # Three time-outs of 0.2 s, then a pause in which nothing is asked.
        assert time.perf_counter() - started < 2


async def test_round_trips(app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer) -> None:
    """One for the limit, one for mark and CSRF token together."""
    headers = {"X-CSRF-Token": await csrf_token(app, issuer)}
    await post(client, issuer, headers)
    await client.get("/area/mine", headers=issuer.headers())

    with redis_server.connect() as redis:

        def reads() -> int:
            stats: dict[str, int] = redis.info("stats")
            return stats["total_reads_processed"]

        before = reads()
        assert (await post(client, issuer, headers)).status_code == 200
        between = reads()
        assert (await client.get("/area/mine", headers=issuer.headers())).status_code == 200
        after = reads()
    # Asking is one read itself.
    assert (between - before - 1, after - between - 1) == (2, 2)


# OpenAPI --------------------------------------------------------------------------------------------------------------


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
