"""The Redis client: bounded waits, errors, recovery."""

import asyncio

import pytest

from bookstore_common.health import CheckFailedError, Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.redis import RedisClient, RedisSettings, RedisUnavailableError
from bookstore_common.settings import SettingsError, load_settings
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.redis import RedisServer, find_binary

pytestmark = pytest.mark.anyio


async def test_values(redis_client: RedisClient, redis_server: RedisServer) -> None:
    assert await redis_client.get("k") is None
    await redis_client.set("k", "ä", ttl_seconds=60)
    assert await redis_client.get("k") == "ä"
    with redis_server.connect() as redis:
        assert 55 < redis.ttl("k") <= 60


async def test_more_callers_than_connections(
    redis_client: RedisClient, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_POOL_SIZE", "2")
    small = RedisClient(load_settings(RedisSettings))
    await asyncio.gather(*(small.set(f"k{number}", "v", ttl_seconds=60) for number in range(50)))
    with redis_server.connect() as redis:
        assert len(redis.keys("k*")) == 50
    await small.close()


async def test_down_and_up(redis_client: RedisClient, redis_server: RedisServer, log_stream: LogStream) -> None:
    await redis_client.set("k", "v", ttl_seconds=60)
    redis_server.stop()
    for _ in range(10):
        with pytest.raises(RedisUnavailableError) as caught:
            await redis_client.get("k")
    assert (caught.value.status, caught.value.code) == (503, "dependency_unavailable")
    with pytest.raises(CheckFailedError, match="Redis does not answer"):
        await redis_client.check()
    redis_server.start()
    await redis_client.check()  # ends the pause
    assert await redis_client.get("k") is None
    names = [event["event"] for event in log_stream.events()]
    assert (names.count("redis_unavailable"), names.count("redis_recovered")) == (1, 1)


async def test_wrong_password(redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "wrong-password")
    stranger = RedisClient(load_settings(RedisSettings))
    with pytest.raises(RedisUnavailableError):
        await stranger.get("k")
    await stranger.close()


async def test_no_answer(redis_client: RedisClient, redis_server: RedisServer) -> None:
    await redis_client.get("k")
    with redis_server.frozen(), pytest.raises(RedisUnavailableError):  # it would wait for ever
        await redis_client.get("k")
    assert await redis_client.get("k") is None


async def test_pause_after_failures(redis_server: RedisServer, redis_client: RedisClient) -> None:
    moment = 0.0
    client = RedisClient(load_settings(RedisSettings), clock=lambda: moment)
    redis_server.stop()
    for _ in range(3):
        with pytest.raises(RedisUnavailableError):
            await client.get("k")
    redis_server.start()
    with pytest.raises(RedisUnavailableError):  # nothing is asked
        await client.get("k")
    moment = 1.1
    assert await client.get("k") is None
    await client.close()


async def test_one_failure_is_no_reason_to_pause(redis_client: RedisClient, redis_server: RedisServer) -> None:
    redis_server.stop()
    with pytest.raises(RedisUnavailableError):
        await redis_client.get("k")
    redis_server.start()
    assert await redis_client.get("k") is None


async def test_a_refusal_is_an_answer(
    redis_client: RedisClient, redis_server: RedisServer, log_stream: LogStream
) -> None:
    """A full store refuses to write and still tells which sessions were ended."""
    await redis_client.set("k", "v", ttl_seconds=60)
    with redis_server.full():
        for _ in range(5):
            with pytest.raises(RedisUnavailableError):
                await redis_client.set("other", "v", ttl_seconds=60)
            assert await redis_client.get("k") == "v"
    await redis_client.set("other", "v", ttl_seconds=60)
    (line,) = [event for event in log_stream.events() if event["event"].startswith("redis_")]
    assert (line["event"], line["error"]) == ("redis_refused", "OutOfMemoryError")


async def test_connections_that_died_while_idle_fail_nobody(
    redis_client: RedisClient, redis_server: RedisServer
) -> None:
    await asyncio.gather(*(redis_client.get(str(number)) for number in range(8)))
    redis_server.stop()
    redis_server.start()
    answers = await asyncio.gather(*(redis_client.get(str(number)) for number in range(8)))
    assert answers == [None] * 8


async def test_our_own_mistakes_stay_visible(redis_client: RedisClient) -> None:
    with pytest.raises(ZeroDivisionError):
        async with redis_client.guarded():
            _ = 1 / 0
    assert await redis_client.get("k") is None


async def test_degraded_is_ready(redis_client: RedisClient, redis_server: RedisServer) -> None:
    async def fine() -> None:
        return None

    readiness = Readiness({"database": fine}, 2, degrading={"redis": redis_client.check})
    assert (await readiness.examine())["redis"]["status"] == "ok"
    redis_server.stop()
    checks = await readiness.examine()
    assert (checks["database"]["status"], checks["redis"]["status"]) == ("ok", "degraded")
    assert "Redis does not answer" in checks["redis"]["detail"]
    assert (await readiness.answer()).status_code == 200
    assert create_management_app(readiness, Metrics()) is not None


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_HOST", "redis.test")
    monkeypatch.setenv("REDIS_PORT", "66000")
    with pytest.raises(SettingsError) as caught:
        load_settings(RedisSettings)
    assert "REDIS_PORT: '66000' is wrong" in str(caught.value)
    assert "REDIS_PASSWORD: not set" in str(caught.value)


def test_a_missing_server_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SERVER_BIN", "/nowhere/redis-server")
    with pytest.raises(RuntimeError, match="REDIS_SERVER_BIN"):
        find_binary()
