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


async def ask(app: FastAPI, address: str | None, path: str = "/area/search", **headers: str) -> httpx2.Response:
    """As it comes through the gateway, which all requests have their peer address from."""
    sent = {**headers, **({} if address is None else {"X-Client-Address": address})}
    transport = httpx2.ASGITransport(app, client=("127.0.0.6", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as client:
        return await client.get(path, headers=sent)


def remaining(response: httpx2.Response) -> int:
    return int(response.headers["ratelimit-remaining"])


async def test_one_guest_does_not_stop_another(app: FastAPI) -> None:
    codes = [(await ask(app, f"203.0.112.1:{port}")).status_code for port in range(5000, 5121)]
    assert codes == [200] * 120 + [429]
    assert (await ask(app, "203.0.112.2:5000")).status_code == 200


async def test_what_a_client_says_of_itself_chooses_no_bucket(app: FastAPI) -> None:
    forged = {
        "X-Forwarded-For": "9.9.9.9, 8.8.8.8", "X-Real-IP": "9.9.9.9", "Forwarded": "for=9.9.9.9",
        "X-Envoy-External-Address": "9.9.9.9", "True-Client-IP": "9.9.9.9",
    }  # fmt: skip
    assert remaining(await ask(app, "203.0.112.1:1")) == 119
    assert remaining(await ask(app, "203.0.112.1:2", **forged)) == 118
    assert remaining(await ask(app, "203.0.112.2:1", **forged)) == 119


@pytest.mark.parametrize("pair", ["2a00:1450:4001:81b::1 2a00:1450:4001:81b:ffff::2", "8.8.8.8 ::ffff:8.8.8.8"])
async def test_addresses_of_one_customer_share_a_bucket(app: FastAPI, pair: str) -> None:
    for expected, address in zip((119, 118), pair.split(), strict=True):
        assert remaining(await ask(app, f"[{address}]:1" if ":" in address else f"{address}:1")) == expected


async def test_another_network_has_another_bucket(app: FastAPI) -> None:
    assert remaining(await ask(app, "[2a00:1450:4001:81b::1]:1")) == 119
    assert remaining(await ask(app, "[2a00:1450:4001:81c::1]:1")) == 119


@pytest.mark.parametrize(
    "address", [None, "", "8.8.8.8", "8.8.8.8:1, 9.9.9.9:1", "999.1.1.1:1", "[8.8.8.8", "[::1%eth0]:1", "localhost:1"]
)
async def test_what_the_gateway_would_not_write_is_one_unknown_client(app: FastAPI, address: str | None) -> None:
    assert remaining(await ask(app, None)) == 119
    assert remaining(await ask(app, address)) == 118


async def test_guests_behind_one_translator_do_not_stop_each_other(app: FastAPI) -> None:
    """As on kind, where the gateway sees a node's address: a connection has a bucket, all have a larger one."""
    codes = [(await ask(app, "172.18.0.3:4000")).status_code for _ in range(130)]
    assert codes == [200] * 120 + [429] * 10
    others = [await ask(app, f"172.18.0.3:{port}") for port in range(4001, 4001 + 10 * 120 - 120)]
    assert {answer.status_code for answer in others} == {200}
    assert {remaining(answer) for answer in others} == {119}
    # All together are bounded, and those behind another address are not concerned.
    assert (await ask(app, "172.18.0.3:3999")).status_code == 429
    assert (await ask(app, "172.18.0.4:4000")).status_code == 200


async def test_limits_of_anonymous_readers(app: FastAPI) -> None:
    assert (await ask(app, "8.8.8.8:1", "/area/public")).headers["ratelimit-limit"] == "1200"


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
        # Three time-outs of 2 s, then pauses in which nothing is asked. Without them: 200 time-outs.
        assert time.perf_counter() - started < 200 * 2 / 2


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
