"""The token with which a service calls another one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from bookstore_common.metrics import Metrics
from bookstore_common.outbound import (
    UpstreamUnavailableError,
)
from bookstore_common.redis import RedisClient
from bookstore_common.sealed import SealedStore
from bookstore_common.service_token import ServiceToken, ServiceTokenError, ServiceTokenSettings
from bookstore_common.settings import load_settings
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.tokens import TOKEN_PATH, Issuer
from polling import until

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when a test says so."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def service_token(
    issuer: Issuer, metrics: Metrics, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ServiceToken]:
    for name, value in issuer.service_environment().items():
        monkeypatch.setenv(name, value)
    token = ServiceToken(load_settings(ServiceTokenSettings), metrics, clock=clock)
    yield token
    await token.close()


def fetches(issuer: Issuer) -> int:
    return len(issuer.server.requests_to("POST", TOKEN_PATH))


async def test_fetched_once_until_it_nears_its_end(service_token: ServiceToken, issuer: Issuer, clock: Clock) -> None:
    wanted = issuer.answer_service_tokens(lifetime=300)
    assert await asyncio.gather(*(service_token.get() for _ in range(10))) == [wanted] * 10
    (request,) = issuer.server.requests_to("POST", TOKEN_PATH)
    assert request.form() == {"grant_type": ["client_credentials"]}
    assert request.headers["authorization"].startswith("Basic ")
    clock.seconds = 269
    await service_token.get()
    assert fetches(issuer) == 1
    clock.seconds = 271
    assert await service_token.get() == wanted  # nobody waits while it is good
    await until(lambda: fetches(issuer) == 2)


async def test_forgotten_on_request(service_token: ServiceToken, issuer: Issuer) -> None:
    issuer.answer_service_tokens()
    await service_token.get()
    service_token.forget()
    await service_token.get()
    assert fetches(issuer) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": "invalid_client"}),
        (400, {}),
        (200, []),
        (200, {}),
        (200, {"access_token": "", "expires_in": 300}),
        (200, {"access_token": "t", "expires_in": "300"}),
        (200, {"access_token": "t", "expires_in": True}),
    ],
)
async def test_refused(
    service_token: ServiceToken, issuer: Issuer, log_stream: LogStream, status: int, body: object
) -> None:
    issuer.server.answer("POST", TOKEN_PATH, status, body)
    with pytest.raises(ServiceTokenError) as caught:
        await service_token.get()
    assert caught.value.status == 503
    assert issuer.client_secret not in log_stream.getvalue().decode()
    token = issuer.answer_service_tokens()
    assert await service_token.get() == token


async def test_keycloak_down_and_up(service_token: ServiceToken, issuer: Issuer, clock: Clock) -> None:
    issuer.stop()
    with pytest.raises(UpstreamUnavailableError):
        await service_token.get()
    issuer.start()
    token = issuer.answer_service_tokens()
    assert await service_token.get() == token


async def test_the_last_token_goes_on_while_keycloak_is_away(
    service_token: ServiceToken, issuer: Issuer, clock: Clock
) -> None:
    old = issuer.answer_service_tokens(lifetime=300)
    await service_token.get()
    issuer.stop()
    clock.seconds = 310
    assert await service_token.get() == old
    # Nobody waits from now on: each call answers before the next attempt has come to its end.
    for seconds in range(320, 3900, 60):
        clock.seconds = seconds
        async with asyncio.timeout(0.5):
            assert await service_token.get() == old
    issuer.start()
    new = issuer.answer_service_tokens(lifetime=300)
    clock.seconds = 4000
    assert await service_token.get() == old
    await until(lambda: service_token._token == new)
    assert await service_token.get() == new


async def test_a_start_while_keycloak_is_away(
    service_token: ServiceToken, issuer: Issuer, metrics: Metrics, redis_client: RedisClient
) -> None:
    store = SealedStore(redis_client, SecretStr("seal"))
    first = ServiceToken(load_settings(ServiceTokenSettings), metrics, store=store, outage_seconds=600)
    token = issuer.answer_service_tokens()
    assert await first.get() == token
    issuer.stop()
    second = ServiceToken(load_settings(ServiceTokenSettings), Metrics(), store=store, outage_seconds=600)
    assert await second.get() == token
    stranger = ServiceToken(
        load_settings(ServiceTokenSettings), Metrics(), store=SealedStore(redis_client, SecretStr("other"))
    )
    with pytest.raises(UpstreamUnavailableError):
        await stranger.get()
    for client in (first, second, stranger):
        await client.close()
