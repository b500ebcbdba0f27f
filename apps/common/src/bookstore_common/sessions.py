"""Ended sessions (SPEC 3): back-channel logout marks the session, every service looks for the mark."""

from bookstore_common.redis import RedisClient

# Longer than an access token lives (5 min) plus the leeway for clocks (30 s).
REVOKED_TTL_SECONDS = 360


def revoked_key(sid: str) -> str:
    return f"revoked:{sid}"


def csrf_key(sid: str) -> str:
    """Where the CSRF tokens of a session (of a user, for tokens without ``sid``) lie."""
    return f"csrf:{sid}"


async def revoke(redis: RedisClient, sid: str) -> None:
    """Refuse the session's tokens from now on and forget its CSRF tokens; harmless to repeat.

    Raises RedisUnavailableError; the mark and the deletion happen together or not at all.
    """
    async with redis.guarded() as connection, connection.pipeline(transaction=True) as pipe:
        pipe.set(revoked_key(sid), "1", ex=REVOKED_TTL_SECONDS)
        pipe.delete(csrf_key(sid))
        await pipe.execute()


async def is_revoked(redis: RedisClient, sid: str) -> bool:
    """Whether the session was ended; raises RedisUnavailableError."""
    async with redis.guarded() as connection:
        return bool(await connection.exists(revoked_key(sid)))
