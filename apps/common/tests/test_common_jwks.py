"""When the realm's keys are fetched, and how long they count."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bookstore_common.health import CheckFailedError
from bookstore_common.metrics import Metrics
from bookstore_common.problem import DependencyUnavailableError
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.tokens import JWKS_PATH, Issuer
from bookstore_common.tokens import OidcSettings, TokenVerifier, UnauthenticatedError

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed(oidc_settings: OidcSettings, metrics: Metrics, clock: Clock) -> AsyncIterator[TokenVerifier]:
    verifier = TokenVerifier(oidc_settings, metrics, clock=clock)
    yield verifier
    await verifier.close()


def stale_uses(metrics: Metrics) -> float:
    value = metrics.registry.get_sample_value("jwks_stale_uses_total")
    assert value is not None
    return value


async def test_fetched_once_for_all(timed: TokenVerifier, issuer: Issuer) -> None:
    issuer.server.answer("GET", JWKS_PATH, body={"keys": [issuer.key.jwk()]}, delay=0.2)
    principals = await asyncio.gather(*(timed.verify(issuer.token(sub=f"u-{number}")) for number in range(20)))
    assert len({principal.sub for principal in principals}) == 20
    assert issuer.requests == 1


async def test_a_caller_that_leaves_does_not_take_the_fetch_along(timed: TokenVerifier, issuer: Issuer) -> None:
    issuer.server.answer("GET", JWKS_PATH, body={"keys": [issuer.key.jwk()]}, delay=0.3)
    leaving = asyncio.create_task(timed.verify(issuer.token(sub="leaving")))
    staying = asyncio.create_task(timed.verify(issuer.token(sub="staying")))
    await asyncio.sleep(0.05)
    leaving.cancel()
    assert (await staying).sub == "staying"
    assert issuer.requests == 1


async def test_fresh_for_ten_minutes(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    await timed.verify(issuer.token(sub="a"))
    clock.seconds += 599
    await timed.verify(issuer.token(sub="b"))
    assert issuer.requests == 1
    clock.seconds += 2
    await timed.verify(issuer.token(sub="c"))
    assert issuer.requests == 2


async def test_new_key_works_at_once(timed: TokenVerifier, issuer: Issuer) -> None:
    await timed.verify(issuer.token())
    issuer.rotate()
    assert (await timed.verify(issuer.token(sub="new"))).sub == "new"
    assert issuer.requests == 2


async def test_invented_keys_cost_one_fetch_in_half_a_minute(
    timed: TokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    await timed.verify(issuer.token())
    for number in range(5):
        with pytest.raises(UnauthenticatedError):
            await timed.verify(issuer.key.sign(issuer.claims(), {"alg": "RS256", "kid": f"invented-{number}"}))
    assert issuer.requests == 2
    issuer.rotate()
    clock.seconds += 31
    assert await timed.verify(issuer.token())
    assert issuer.requests == 3


async def test_stale_keys_serve_an_hour(
    timed: TokenVerifier, issuer: Issuer, clock: Clock, metrics: Metrics, log_stream: LogStream
) -> None:
    await timed.verify(issuer.token(sub="a"))
    issuer.stop()
    clock.seconds += 601
    await timed.verify(issuer.token(sub="b"))
    await timed.verify(issuer.token(sub="c"))
    assert stale_uses(metrics) == 2
    # One attempt, then none for half a minute: no request waits for a Keycloak that is gone.
    assert [event["event"] for event in log_stream.events()].count("jwks_unavailable") == 1
    clock.seconds += 3000
    with pytest.raises(DependencyUnavailableError):
        await timed.verify(issuer.token(sub="d"))
    issuer.start()
    clock.seconds += 31
    assert (await timed.verify(issuer.token(sub="d"))).sub == "d"
    assert stale_uses(metrics) == 2


async def test_a_withdrawn_key_ends_what_it_signed(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    old = issuer.token()
    await timed.load()
    await timed.verify(old)
    issuer.rotate()
    issuer.keys = [issuer.key]
    issuer.publish()
    clock.seconds += 601
    await timed.verify(issuer.token())  # renews the keys
    with pytest.raises(UnauthenticatedError):
        await timed.verify(old)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"keys": []}),
        (200, "<html>"),
        (200, []),
        (200, {"keys": {}}),
        (200, {"keys": []}),
        (200, {"keys": [{"kid": "k", "kty": "oct", "k": "AA"}]}),
        (200, "x" * 300_000),
        (302, {}),
    ],
)
async def test_unusable_answers(timed: TokenVerifier, issuer: Issuer, clock: Clock, status: int, body: object) -> None:
    issuer.server.answer("GET", JWKS_PATH, status, body)
    with pytest.raises(DependencyUnavailableError):
        await timed.verify(issuer.token())
    clock.seconds += 2
    assert await timed.verify(issuer.token())


async def test_unusable_answers_leave_the_keys(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    await timed.load()
    issuer.server.answer("GET", JWKS_PATH, body={"keys": []})
    clock.seconds += 601
    assert await timed.verify(issuer.token())


async def test_a_slow_answer_is_not_waited_for(oidc_settings: OidcSettings, metrics: Metrics, issuer: Issuer) -> None:
    hurried = TokenVerifier(oidc_settings.model_copy(update={"oidc_jwks_timeout_seconds": 0.2}), metrics)
    issuer.server.answer("GET", JWKS_PATH, delay=60)
    async with asyncio.timeout(30):
        with pytest.raises(DependencyUnavailableError):
            await hurried.load()
    await hurried.close()


async def test_readiness(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    issuer.stop()
    with pytest.raises(CheckFailedError, match="OIDC_JWKS_URL"):
        await timed.check()
    issuer.start()
    await timed.check()
    issuer.stop()
    clock.seconds += 7200
    await timed.check()  # loaded at least once: the answers then say what is wrong, request by request
