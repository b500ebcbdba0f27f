"""When the realm's keys are fetched, and how long they count."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr

from bookstore_common.health import CheckFailedError
from bookstore_common.metrics import Metrics
from bookstore_common.problem import DependencyUnavailableError
from bookstore_common.redis import RedisClient
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import JWKS_PATH, Issuer
from bookstore_common.tokens import OidcSettings, TokenCheckUnavailableError, TokenVerifier, UnauthenticatedError
from polling import until

pytestmark = pytest.mark.anyio
BEGAN = time.time() - 1000


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


async def test_renewed_beside_the_requests(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    await timed.verify(issuer.token(sub="a"))
    clock.seconds += 29
    await timed.verify(issuer.token(sub="b"))
    assert issuer.requests == 1
    issuer.server.answer("GET", JWKS_PATH, body={"keys": [issuer.key.jwk()]}, delay=1)
    clock.seconds += 2
    async with asyncio.timeout(0.5):
        await timed.verify(issuer.token(sub="c"))
    await until(lambda: issuer.requests == 2)


async def test_renewed_without_requests(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    """Else keys nobody used would be old when Keycloak goes away."""
    await timed.check()
    clock.seconds += 31
    await timed.check()
    await until(lambda: issuer.requests == 2)


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


async def test_old_keys_serve_an_hour_and_nobody_waits(
    oidc_settings: OidcSettings, metrics: Metrics, issuer: Issuer, clock: Clock, log_stream: LogStream
) -> None:
    """Keycloak hangs, which is worse than a refused connection: a request that waited would wait for two seconds."""
    timed = TokenVerifier(
        oidc_settings.model_copy(update={"oidc_jwks_timeout_seconds": 2}), metrics, clock=clock, now=lambda: wall(clock)
    )
    await timed.load()
    issuer.server.always("GET", JWKS_PATH, delay=60)
    slowest = 0.0
    for minute in range(1, 61):
        clock.seconds += 60
        began = time.monotonic()
        await timed.verify(issuer.token(sub=f"u-{minute}", lifetime=7200))
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1
    assert stale_uses(metrics) == 50
    await timed.close()


async def test_too_old_keys_are_no_refusal(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    await timed.verify(issuer.token(sub="a"))
    issuer.stop()
    clock.seconds += 4501
    with pytest.raises(TokenCheckUnavailableError):
        await timed.verify(issuer.token(sub="d"))
    issuer.start()
    clock.seconds += 2
    assert (await timed.verify(issuer.token(sub="d"))).sub == "d"


async def test_an_outage_is_logged_once(
    timed: TokenVerifier, issuer: Issuer, clock: Clock, log_stream: LogStream
) -> None:
    await timed.load()
    issuer.stop()
    for _ in range(5):
        clock.seconds += 31
        assert await timed._jwks.is_away()
        await timed.verify(issuer.token(sub="b"))
    assert [event["event"] for event in log_stream.events()].count("jwks_unavailable") == 1


async def test_an_unknown_key_is_no_refusal_while_keycloak_is_away(
    timed: TokenVerifier, issuer: Issuer, clock: Clock
) -> None:
    """It may be the realm's newest."""
    await timed.load()
    issuer.stop()
    issuer.rotate()
    for _ in range(3):
        with pytest.raises(TokenCheckUnavailableError):
            await timed.verify(issuer.token())
    issuer.start()
    issuer.publish()
    clock.seconds += 31
    assert await timed.verify(issuer.token())


async def test_a_withdrawn_key_ends_what_it_signed(timed: TokenVerifier, issuer: Issuer, clock: Clock) -> None:
    old = issuer.token()
    await timed.load()
    await timed.verify(old)
    issuer.rotate()
    issuer.keys = [issuer.key]
    issuer.publish()
    clock.seconds += 31
    await timed.verify(issuer.token())  # renews the keys
    with pytest.raises(UnauthenticatedError):
        await timed.verify(old)


# Tokens that end while Keycloak is away, and starts in that time ------------------------------------------------------


def wall(clock: Clock) -> float:
    """Unix seconds that pass with the test's clock."""
    return BEGAN + clock.seconds


@pytest.fixture
async def dated(
    oidc_settings: OidcSettings, metrics: Metrics, redis_client: RedisClient, clock: Clock
) -> AsyncIterator[Callable[..., TokenVerifier]]:
    """Makes verifiers of one service, as it starts again and again."""
    made = []

    def make(seal: str = "seal") -> TokenVerifier:
        settings = oidc_settings.model_copy(update={"oidc_store_seal": SecretStr(seal)})
        made.append(TokenVerifier(settings, metrics, redis=redis_client, clock=clock, now=lambda: wall(clock)))
        return made[-1]

    yield make
    for verifier in made:
        await verifier.close()


def lasting(issuer: Issuer, clock: Clock, seconds: float) -> str:
    return issuer.token(iat=int(wall(clock)), exp=int(wall(clock) + seconds))


async def test_a_token_outlives_its_end_while_nobody_can_renew_it(
    dated: Callable[..., TokenVerifier], issuer: Issuer, clock: Clock
) -> None:
    verifier = dated()
    await verifier.load()
    long_over = lasting(issuer, clock, -60)
    token = lasting(issuer, clock, 300)
    issuer.stop()
    clock.seconds += 3600
    assert await verifier.verify(token)
    with pytest.raises(UnauthenticatedError, match="expired"):  # its holder could have renewed it
        await verifier.verify(long_over)
    issuer.start()
    clock.seconds += 31
    await verifier.load()
    with pytest.raises(UnauthenticatedError, match="expired"):
        await verifier.verify(token)


async def test_an_expired_token_is_refused_at_once_while_keycloak_answers(
    dated: Callable[..., TokenVerifier], issuer: Issuer, clock: Clock
) -> None:
    """Also in the seconds before the next renewal of the keys, when the last one was before the token's end."""
    verifier = dated()
    token = lasting(issuer, clock, 60)
    clock.seconds += 85
    await verifier.load()
    clock.seconds += 10
    with pytest.raises(UnauthenticatedError, match="expired"):
        await verifier.verify(token)
    assert issuer.requests == 2


async def test_no_token_goes_on_for_ever(dated: Callable[..., TokenVerifier], issuer: Issuer, clock: Clock) -> None:
    verifier = dated()
    await verifier.load()
    token = lasting(issuer, clock, 300)
    issuer.stop()
    clock.seconds += 4501
    with pytest.raises(TokenCheckUnavailableError):
        await verifier.verify(token)


async def test_a_start_while_keycloak_is_away(
    dated: Callable[..., TokenVerifier], issuer: Issuer, clock: Clock, redis_server: RedisServer
) -> None:
    first = dated()
    await first.load()
    token = lasting(issuer, clock, 300)
    issuer.stop()
    clock.seconds += 3000
    redis_server.flush()  # Redis starts anew, too: a service that runs puts them there again
    assert await first.verify(token)
    await until(lambda: keys_in(redis_server) == 1)
    second = dated()
    await second.check()
    assert await second.verify(token)
    clock.seconds += 1600  # they have their age
    with pytest.raises(TokenCheckUnavailableError):
        await second.verify(token)


async def test_nobody_else_can_plant_keys(
    dated: Callable[..., TokenVerifier], issuer: Issuer, redis_server: RedisServer, log_stream: LogStream
) -> None:
    await dated("theirs").load()
    issuer.stop()
    ours = dated("ours")
    with redis_server.connect() as redis:
        (theirs,) = redis.keys("sealed:*")
        ours_key = ours.store._key("jwks")  # type: ignore[union-attr]
        assert theirs != ours_key
        text = redis.get(theirs)
        assert issuer.key.jwk()["n"] not in text
        for planted in (text, "e30=", "not base64", ""):
            redis.set(ours_key, planted)
            with pytest.raises(TokenCheckUnavailableError):
                await ours.load()
    assert [event["event"] for event in log_stream.events()].count("sealed_document_refused") == 4


def keys_in(server: RedisServer) -> int:
    with server.connect() as redis:
        return len(redis.keys("sealed:*"))


# Answers that are no keys ---------------------------------------------------------------------------------------------


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
