"""CSRF tokens, kept server-side (SPEC 5.1): 32 random bytes, only their SHA-256 is stored.

``csrf:<sid>`` (``sub`` for tokens without a session) is a sorted set: member = digest, score = when it ends, in ms of
Redis' clock. At most five live, the one unused for longest makes room; each use grants another 30 minutes.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from bookstore_common.problem import ProblemError
from bookstore_common.redis import Call, RedisClient, Script
from bookstore_common.sessions import ENDED, csrf_key, marks_of
from bookstore_common.tokens import Principal

HEADER = "X-CSRF-Token"
LIFETIME_SECONDS = 1800
MAX_LIVE = 5
_TOKEN_BYTES = 32
_TOKEN_LENGTH = 43  # base64url of 32 bytes, without padding

# KEYS: tokens. ARGV: digest, lifetime in ms, most tokens.
_ISSUE = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- ZADD first: Redis may refuse it for lack of memory, but not once a script has written.
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -(ARGV[3] + 1))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")
# KEYS: the three marks, tokens. ARGV: issued at, digest, lifetime in ms. Returns {ended, live digests}; the caller
# compares, in constant time. The token's time is extended here to spare a second round trip. One whose last use was
# before the sessions of its user were ended is no longer live: its session may go on, but it is not to be used in it.
_EXAMINE = Script(
    ENDED
    + """
local over, cut = ended(ARGV[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local live = redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. math.max(now, cut + ARGV[3]), '+inf')
if not over then
    for _, digest in ipairs(live) do
        if digest == ARGV[2] then
            -- Refused while memory is full; the token then ends when it would have.
            redis.pcall('ZADD', KEYS[4], 'XX', now + ARGV[3], digest)
            redis.call('PEXPIRE', KEYS[4], ARGV[3])
        end
    end
end
return {over and 1 or 0, live}
"""
)


class CsrfInvalidError(ProblemError):
    """The token is missing, wrong, expired or another session's."""

    status = 403
    code = "csrf_invalid"

    def __init__(self) -> None:
        super().__init__(f"{HEADER} is missing or not valid for this session; get a new one and try again.")


@dataclass(frozen=True, slots=True)
class CsrfToken:
    """A new token; ``expires_in`` in seconds, counted from its last use."""

    token: str
    expires_in: int = LIFETIME_SECONDS


@dataclass(frozen=True, slots=True)
class SessionState:
    """What Redis knows of a principal's session."""

    revoked: bool
    csrf_valid: bool


def key_of(principal: Principal) -> str:
    """Whose tokens: the session's, or the user's where there is no session."""
    return principal.sid or principal.sub


def _offered(token: str | None) -> str:
    return _digest(token) if token is not None and len(token) == _TOKEN_LENGTH else ""


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def examining(principal: Principal, token: str | None) -> Call:
    """Ask whether the session was ended and which tokens it has, in one round trip and along with something else.

    :func:`state_of` reads the result.
    """
    keys = [*marks_of(principal), csrf_key(key_of(principal))]
    return _EXAMINE.call(keys, principal.issued_at, _offered(token), LIFETIME_SECONDS * 1000)


def state_of(result: Any, token: str | None) -> SessionState:
    """The session's state by the result of :func:`examining`."""
    ended, live = result
    valid = False
    for digest in live:  # all of them: the time taken tells nothing
        valid |= hmac.compare_digest(digest, _offered(token))
    return SessionState(bool(ended), valid)


class CsrfStore:
    """All methods raise RedisUnavailableError (503): without the store nothing that changes state is let in."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    async def issue(self, principal: Principal) -> CsrfToken:
        """Make a token for the principal's session."""
        token = base64.urlsafe_b64encode(secrets.token_bytes(_TOKEN_BYTES)).rstrip(b"=").decode()
        keys = [csrf_key(key_of(principal))]
        await self._redis.run_one(_ISSUE.call(keys, _digest(token), LIFETIME_SECONDS * 1000, MAX_LIVE))
        return CsrfToken(token)
