"""CSRF tokens in Redis: what is stored, how long, and how many."""

import asyncio
import base64
import hashlib

import pytest

from bookstore_common import sessions
from bookstore_common.csrf import CsrfInvalidError, CsrfStore, SessionState, examining, state_of
from bookstore_common.redis import RedisClient, RedisUnavailableError
from bookstore_common.testing.redis import RedisServer
from bookstore_common.tokens import LogoutToken, Principal

pytestmark = pytest.mark.anyio
HALF_AN_HOUR_MS = 30 * 60 * 1000


def principal(sid: str | None = "s-1", sub: str = "u-1", issued_at: int = 1000) -> Principal:
    return Principal(sub, sid, "ui-client", frozenset({"customer"}), 0, "", issued_at)


class Store(CsrfStore):
    """Asks about sessions and tokens as AccessControl does."""

    def __init__(self, redis: RedisClient) -> None:
        super().__init__(redis)
        self.redis = redis

    async def examine(self, who: Principal, token: str | None) -> SessionState:
        return state_of(await self.redis.run_one(examining(who, token)), token)

    async def check(self, who: Principal, token: str | None) -> None:
        if not (await self.examine(who, token)).csrf_valid:
            raise CsrfInvalidError


@pytest.fixture
def store(redis_client: RedisClient) -> Store:
    return Store(redis_client)


async def is_revoked(redis: RedisClient, who: Principal) -> bool:
    return bool(await redis.run_one(sessions.asking(who)))


async def test_only_the_digest_is_stored(store: Store, redis_server: RedisServer) -> None:
    issued = await store.issue(principal())
    assert issued.expires_in == 1800
    assert len(base64.urlsafe_b64decode(issued.token + "=")) == 32
    with redis_server.connect() as redis:
        assert redis.keys("*") == ["csrf:s-1"]
        assert redis.zrange("csrf:s-1", 0, -1) == [hashlib.sha256(issued.token.encode()).hexdigest()]
        ttl: int = redis.pttl("csrf:s-1")
    assert HALF_AN_HOUR_MS - 5000 < ttl <= HALF_AN_HOUR_MS


async def test_never_the_same(store: Store) -> None:
    assert len({(await store.issue(principal())).token for _ in range(20)}) == 20


async def test_bound_to_the_session(store: Store) -> None:
    token = (await store.issue(principal("s-1"))).token
    await store.check(principal("s-1"), token)
    for other in (principal("s-2"), principal(None)):
        with pytest.raises(CsrfInvalidError):
            await store.check(other, token)


async def test_without_a_session_bound_to_the_user(store: Store) -> None:
    token = (await store.issue(principal(None, "u-1"))).token
    await store.check(principal(None, "u-1"), token)
    with pytest.raises(CsrfInvalidError):
        await store.check(principal(None, "u-2"), token)


@pytest.mark.parametrize("offered", [None, "", "x" * 43, "x" * 44])
async def test_wrong(store: Store, offered: str | None) -> None:
    await store.issue(principal())
    with pytest.raises(CsrfInvalidError):
        await store.check(principal(), offered)


async def test_the_digest_is_no_token(store: Store, redis_server: RedisServer) -> None:
    """Who can read Redis cannot use what stands there."""
    await store.issue(principal())
    with redis_server.connect() as redis:
        digests: list[str] = redis.zrange("csrf:s-1", 0, -1)
    with pytest.raises(CsrfInvalidError):
        await store.check(principal(), digests[0])


async def test_five_tabs(store: Store) -> None:
    tokens = [(await store.issue(principal())).token for _ in range(5)]
    await asyncio.sleep(0.002)  # the order below is by time, in ms
    await store.check(principal(), tokens[0])
    await asyncio.sleep(0.002)
    newest = (await store.issue(principal())).token
    live = [(await store.examine(principal(), token)).csrf_valid for token in [*tokens, newest]]
    assert live.count(True) == 5
    # The one that was used made no room for the sixth.
    assert live[0]
    assert live[-1]


async def test_use_grants_another_half_hour_to_that_token_alone(store: Store, redis_server: RedisServer) -> None:
    used, idle = [(await store.issue(principal())).token for _ in range(2)]
    with redis_server.connect() as redis:
        for digest, score in redis.zrange("csrf:s-1", 0, -1, withscores=True):
            redis.zadd("csrf:s-1", {digest: score - HALF_AN_HOUR_MS + 60_000})  # one minute left for both
        redis.pexpire("csrf:s-1", 60_000)
        await store.check(principal(), used)
        scores = {token: redis.zscore("csrf:s-1", hashlib.sha256(token.encode()).hexdigest()) for token in (used, idle)}
        seconds, _ = redis.time()
        ttl: int = redis.pttl("csrf:s-1")
    assert scores[used] - seconds * 1000 > HALF_AN_HOUR_MS - 5000
    assert scores[idle] - seconds * 1000 < 61_000
    assert ttl > HALF_AN_HOUR_MS - 5000


async def test_expired(store: Store, redis_server: RedisServer) -> None:
    old, new = [(await store.issue(principal())).token for _ in range(2)]
    with redis_server.connect() as redis:
        redis.zadd("csrf:s-1", {hashlib.sha256(old.encode()).hexdigest(): 1})
    await store.check(principal(), new)
    with pytest.raises(CsrfInvalidError):
        await store.check(principal(), old)


async def test_ended_with_the_session(store: Store, redis_client: RedisClient, redis_server: RedisServer) -> None:
    token = (await store.issue(principal())).token
    other = (await store.issue(principal("s-2"))).token
    await sessions.revoke(redis_client, LogoutToken(None, "s-1", 0), token_life_seconds=330)
    await sessions.revoke(redis_client, LogoutToken(None, "s-1", 0), token_life_seconds=330)
    state = await store.examine(principal(), token)
    assert (state.revoked, state.csrf_valid) == (True, False)
    assert await is_revoked(redis_client, principal("s-1"))
    assert not (await store.examine(principal("s-2"), other)).revoked
    assert not await is_revoked(redis_client, principal("s-2"))
    with redis_server.connect() as redis:
        assert redis.exists("csrf:s-1") == 0


async def test_no_use_extends_an_ended_session(store: Store, redis_client: RedisClient) -> None:
    """A token that another request got after the logout."""
    await sessions.revoke(redis_client, LogoutToken(None, "s-1", 0), token_life_seconds=330)
    token = (await store.issue(principal())).token
    assert (await store.examine(principal(), token)).revoked


async def test_all_sessions_of_a_user_end_as_of_a_moment(redis_client: RedisClient, redis_server: RedisServer) -> None:
    """By Keycloak's clock and in whole seconds: what was issued in that second is over, what came later is not."""
    ended = LogoutToken("u-1", None, 1000)
    await sessions.revoke(redis_client, ended, token_life_seconds=330)
    for sid in ("s-1", "s-2", None):
        for issued, revoked in ((999, True), (1000, True), (1001, False)):
            assert await is_revoked(redis_client, principal(sid, issued_at=issued)) is revoked
    assert not await is_revoked(redis_client, principal("s-3", "u-2", issued_at=1))
    with redis_server.connect() as redis:
        assert 350 < redis.ttl("revoked-sub:u-1") <= 360


async def test_a_late_logout_token_does_not_bring_back_what_ended_since(redis_client: RedisClient) -> None:
    for issued in (2000, 1000):
        await sessions.revoke(redis_client, LogoutToken("u-1", None, issued), token_life_seconds=330)
    assert await is_revoked(redis_client, principal(issued_at=1500))


async def test_everybody_ends(redis_client: RedisClient) -> None:
    await sessions.revoke(redis_client, LogoutToken(None, None, 1000), token_life_seconds=330)
    for sub in ("u-1", "u-2"):
        assert await is_revoked(redis_client, principal(sub=sub, issued_at=1000))
        assert not await is_revoked(redis_client, principal(sub=sub, issued_at=1001))


@pytest.mark.parametrize("whose", ["u-1", None])
async def test_csrf_tokens_of_before_end_with_the_sessions(
    store: Store, redis_client: RedisClient, redis_server: RedisServer, whose: str | None
) -> None:
    """Also where the session goes on with a new access token, as after a role was withdrawn."""
    before = (await store.issue(principal("s-1"))).token
    ended = LogoutToken(whose, None, 1000)
    await sessions.revoke(redis_client, ended, token_life_seconds=330)
    assert (await store.examine(principal("s-1", issued_at=1000), before)).revoked
    renewed = principal("s-1", issued_at=1001)
    assert not (await store.examine(renewed, before)).csrf_valid
    # Redis counts in ms: the next token must not be of the mark's own.
    with redis_server.connect() as redis:
        moment = redis.time()
        while redis.time() <= (moment[0], moment[1] + 2000):
            pass
    after = (await store.issue(renewed)).token
    assert (await store.examine(renewed, after)).csrf_valid
    # Said twice, it does not end what began since.
    await sessions.revoke(redis_client, ended, token_life_seconds=330)
    assert (await store.examine(renewed, after)).csrf_valid


async def test_redis_down(store: Store, redis_server: RedisServer) -> None:
    token = (await store.issue(principal())).token
    redis_server.stop()
    for call in (store.issue(principal()), store.check(principal(), token)):
        with pytest.raises(RedisUnavailableError):
            await call
