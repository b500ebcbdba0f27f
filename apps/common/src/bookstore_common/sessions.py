"""Ended sessions (SPEC 3): back-channel logout marks the session, every service looks for the mark."""

from bookstore_common.redis import Call, RedisClient, Script

# For clocks, and for a token that was issued while its session was ended.
_MARGIN_SECONDS = 30
_ENDED = Script("return redis.call('EXISTS', KEYS[1])")


def revoked_key(sid: str) -> str:
    return f"revoked:{sid}"


def csrf_key(sid: str) -> str:
    """Where the CSRF tokens of a session (of a user, for tokens without ``sid``) lie."""
    return f"csrf:{sid}"


async def revoke(redis: RedisClient, sid: str, *, token_life_seconds: int) -> None:
    """Refuse the session's tokens from now on and forget its CSRF tokens; harmless to repeat.

    ``token_life_seconds``: how long an access token is accepted at most (``TokenVerifier.token_life_seconds``); the
    mark outlives it. Raises RedisUnavailableError; the mark and the deletion happen together or not at all.
    """
    async with redis.guarded() as connection, connection.pipeline(transaction=True) as pipe:
        pipe.set(revoked_key(sid), "1", ex=token_life_seconds + _MARGIN_SECONDS)
        pipe.delete(csrf_key(sid))
        await pipe.execute()


def asking(sid: str) -> Call:
    """Whether the session was ended: 1 or 0."""
    return _ENDED.call([revoked_key(sid)])


async def is_revoked(redis: RedisClient, sid: str) -> bool:
    """Whether the session was ended; raises RedisUnavailableError."""
    return bool(await redis.run_one(asking(sid)))
