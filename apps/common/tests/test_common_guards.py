"""CSRF, rate limits, and what happens while Redis is away."""

import asyncio
import time
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from access_testing import SHOP, app, client, count, csrf_token, internal, post, refused
from bookstore_common import sessions
from bookstore_common.access import AccessControl
from bookstore_common.metrics import Metrics
from bookstore_common.redis import RedisClient, RedisUnavailableError
from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import Issuer
from bookstore_common.tokens import LogoutToken, TokenVerifier

__all__ = ["app", "client", "internal"]
pytestmark = pytest.mark.anyio


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
        answers = [(await client.get("/area/mine", headers=issuer.headers())).status_code for _ in range(200)]
        assert answers == [200] * 200
        # Three time-outs of 0.2 s, then pauses in which nothing is asked. Without them: 200 time-outs.
        assert time.perf_counter() - started < 200 * 0.2 / 2


async def test_round_trips(app: FastAPI, client: httpx2.AsyncClient, issuer: Issuer, redis_server: RedisServer) -> None:
    """One: mark or CSRF token, and limit. A trip costs more than most handlers do."""
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
    assert (between - before - 1, after - between - 1) == (1, 1)


async def test_full_redis_still_knows_ended_sessions(
    app: FastAPI,
    client: httpx2.AsyncClient,
    issuer: Issuer,
    redis_client: RedisClient,
    redis_server: RedisServer,
    metrics: Metrics,
) -> None:
    """Refused writes of limits and tokens are no outage: nobody gets in again because memory ran out."""
    token = await csrf_token(app, issuer)
    await sessions.revoke(redis_client, LogoutToken(None, "ended", 0), token_life_seconds=330)
    with redis_server.full():
        for _ in range(5):
            assert (await client.get("/area/mine", headers=issuer.headers())).status_code == 200
            refused(await client.get("/area/mine", headers=issuer.headers(sid="ended")), 401, "unauthenticated")
            refused(await post(client, issuer, {"X-CSRF-Token": token}, sid="ended"), 401, "unauthenticated")
            assert (await post(client, issuer, {"X-CSRF-Token": token})).status_code == 200
        access: AccessControl = app.state.access
        with pytest.raises(RedisUnavailableError):
            await access.csrf.issue(await access.verifier.verify(issuer.token()))
    assert count(metrics, "session_checks_skipped_total") == 0
    assert count(metrics, "rate_limiter_errors_total") == 10
