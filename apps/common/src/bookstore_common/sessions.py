"""Ended sessions (SPEC 3): logout tokens leave marks, every service looks for them.

Three marks: one session's; a user's, which ends all access tokens issued to the user until then; and the realm's, the
same for everybody. A token's time of issue and a mark's are both by Keycloak's clock, in whole seconds, so a token of
the mark's own second is refused, too: who gets one in that second gets another a second later.
"""

from bookstore_common.redis import Call, RedisClient, Script
from bookstore_common.tokens import LogoutToken, Principal

# For clocks, and for a token that was issued while its session was ended.
_MARGIN_SECONDS = 30
_EVERYBODY = "revoked-realm"

# A mark with a time holds "<Keycloak's second> <ms of Redis' clock at which it came>"; the latter tells CSRF tokens of
# before it, which Redis' clock stamps. ended() is for other scripts, too; KEYS begin as marks_of gives them.
ENDED = """
local function ended(issued)
    local cut = 0
    local over = redis.call('EXISTS', KEYS[1]) == 1
    for place = 2, 3 do
        local mark = redis.call('GET', KEYS[place])
        if mark then
            local until_second, came = mark:match('^(%d+) (%d+)$')
            cut = math.max(cut, tonumber(came))
            over = over or tonumber(issued) <= tonumber(until_second)
        end
    end
    return over, cut
end
"""
_ASK = Script(ENDED + "local over = ended(ARGV[1]) return over and 1 or 0")
# KEYS: mark. ARGV: second, life in s. Logout tokens may come twice, and out of order: a mark never goes back.
_MARK = Script("""
local t = redis.call('TIME')
local came = t[1] * 1000 + math.floor(t[2] / 1000)
local mark = redis.call('GET', KEYS[1])
local known = mark and tonumber(mark:match('^(%d+) ')) or -1
if tonumber(ARGV[1]) > known then
    redis.call('SET', KEYS[1], string.format('%d %d', ARGV[1], came), 'EX', ARGV[2])
else
    redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 1
""")


def revoked_key(sid: str) -> str:
    return f"revoked:{sid}"


def revoked_user_key(sub: str) -> str:
    return f"revoked-sub:{sub}"


def csrf_key(sid: str) -> str:
    """Where the CSRF tokens of a session (of a user, for tokens without ``sid``) lie."""
    return f"csrf:{sid}"


def marks_of(principal: Principal) -> list[str]:
    """The keys of all marks that concern ``principal``: session, user, everybody."""
    # Without a session nothing can be marked as ended; the script still wants a key, so it gets one that never exists.
    return [revoked_key(principal.sid or ""), revoked_user_key(principal.sub), _EVERYBODY]


async def revoke(redis: RedisClient, ended: LogoutToken, *, token_life_seconds: int) -> None:
    """Refuse the tokens of what ``ended`` names and forget its CSRF tokens; harmless to repeat.

    ``token_life_seconds``: how long an access token is accepted at most (``TokenVerifier.token_life_seconds``); the
    mark outlives it. Raises RedisUnavailableError; then nothing counts as done.
    """
    life = token_life_seconds + _MARGIN_SECONDS
    if ended.sid is None:
        key = revoked_user_key(ended.sub) if ended.sub is not None else _EVERYBODY
        await redis.run_one(_MARK.call([key], ended.issued_at, life))
        return
    async with redis.guarded() as connection, connection.pipeline(transaction=True) as pipe:
        pipe.set(revoked_key(ended.sid), "1", ex=life)
        pipe.delete(csrf_key(ended.sid))
        await pipe.execute()


def asking(principal: Principal) -> Call:
    """Whether the principal's token was ended: 1 or 0."""
    return _ASK.call(marks_of(principal), principal.issued_at)
