"""Who may call an endpoint, and how often (SPEC 3, 5.1): FastAPI dependencies over one AccessControl per application.

Order of checks: 401, 403 role, 401 revoked, 429, 403 origin_mismatch, 403 csrf_invalid (503 if Redis is down).
Identity headers of any hop, X-Forwarded-For included, are not looked at; ``addresses`` says what the gateway tells of a
client's address.
"""

from collections.abc import Sequence

import structlog
from fastapi import Request

from bookstore_common import addresses, csrf, sessions
from bookstore_common.csrf import CsrfInvalidError, CsrfStore, SessionState
from bookstore_common.metrics import Metrics
from bookstore_common.middleware import add_response_headers
from bookstore_common.problem import ProblemError
from bookstore_common.ratelimit import Hit, Limit, RateLimitedError, RateLimiter, Window
from bookstore_common.redis import RedisClient, RedisUnavailableError
from bookstore_common.tokens import Principal, TokenVerifier, UnauthenticatedError

__all__ = ["AccessControl", "ForbiddenError", "Limit", "OriginMismatchError", "public", "signed_in"]
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ForbiddenError(ProblemError):
    """Known, but not allowed."""

    status = 403
    code = "forbidden"


class OriginMismatchError(ProblemError):
    """A browser says that another site sent the request."""

    status = 403
    code = "origin_mismatch"


class AccessControl:
    """What the dependencies of one application share; put it into ``app.state.access``."""

    def __init__(
        self,
        verifier: TokenVerifier,
        redis: RedisClient,
        origins: Sequence[str],
        metrics: Metrics,
        csrf: bool,
        *,
        rate_factor: float = 1.0,
    ) -> None:
        """``csrf``: True on the public listener; False on the internal one, which has no rate limits either.

        ``origins`` are those that CORS allows; ``rate_factor`` multiplies the limits, for load tests only.
        """
        self.verifier = verifier
        self.csrf = CsrfStore(redis)
        self._redis = redis
        self._origins = frozenset(origins)
        self._metrics = metrics
        self._guards_browsers = csrf
        self._limiter = RateLimiter(redis, factor=rate_factor)

    async def admit(self, request: Request, roles: frozenset[str], clients: frozenset[str], limit: Limit) -> Principal:
        """The principal of ``request`` if all checks pass; raises the problem of the first that does not."""
        principal = await self._authenticate(request)
        if roles and not roles & principal.roles:
            raise self._forbidden("role", f"This needs one of the roles: {', '.join(sorted(roles))}.")
        if clients and principal.azp not in clients:
            raise self._forbidden("client", "This client may not do that.")
        guarded = self._guards_browsers and request.method not in SAFE_METHODS
        tokens = request.headers.getlist(csrf.HEADER)
        hit = self._limiter.counting(limit, f"sub:{principal.sub}") if self._guards_browsers else None
        token = tokens[0] if len(tokens) == 1 else None
        state, window = await self._ask(principal, token, hit, ask_csrf=guarded)
        if state is not None and state.revoked:
            raise self._refuse(UnauthenticatedError("revoked", "The session has ended; sign in again."))
        if hit is not None:
            self._judge(request, limit, window)
        if guarded:
            self._check_origin(request)
            self._check_csrf(tokens, state)
        return principal

    async def admit_anyone(self, request: Request, limit: Limit) -> None:
        """Rate limit only. A token, if sent, must be valid; its ``sub`` is counted then, as a signed-in reader."""
        if not self._guards_browsers:
            return
        if "authorization" not in request.headers:
            bucket = addresses.bucket_of(request.headers.getlist(addresses.HEADER))
            await self.limit(request, limit, bucket.key, bucket.shared)
            return
        principal = await self._authenticate(request)
        await self.limit(request, Limit.READ if limit is Limit.ANONYMOUS else limit, f"sub:{principal.sub}")

    async def limit(self, request: Request, limit: Limit, key: str, shared: str | None = None) -> None:
        """Count the request; raises RateLimitedError. Without Redis everyone passes, and that is counted."""
        if not self._guards_browsers:
            return
        try:
            window = await self._limiter.hit(limit, key, shared)
        except RedisUnavailableError:
            window = None
        self._judge(request, limit, window)

    def _judge(self, request: Request, limit: Limit, window: Window | None) -> None:
        if window is None:
            self._metrics.rate_limiter_errors.inc()
            return
        if not window.allowed:
            self._metrics.rate_limited.labels(limit.label).inc()
            raise RateLimitedError(window)
        add_response_headers(request.scope, window.headers())

    async def _authenticate(self, request: Request) -> Principal:
        try:
            principal = await self.verifier.verify(bearer_token(request))
        except UnauthenticatedError as error:
            raise self._refuse(error) from None
        structlog.contextvars.bind_contextvars(sub=principal.sub)
        return principal

    async def _ask(
        self, principal: Principal, token: str | None, hit: Hit | None, *, ask_csrf: bool
    ) -> tuple[SessionState | None, Window | None]:
        """What Redis knows of the session, and the counted request, in one round trip; None: it does not say."""
        asked = csrf.examining(principal, token) if ask_csrf else sessions.asking(principal)
        calls = [asked, *([hit.call] if hit else [])]
        try:
            known, *counted = await self._redis.run(*calls)
        except RedisUnavailableError as error:
            known, *counted = [error] * len(calls)
        state: SessionState | None = None
        if isinstance(known, RedisUnavailableError):
            self._metrics.session_checks_skipped.inc()
        else:
            state = csrf.state_of(known, token) if ask_csrf else SessionState(bool(known), csrf_valid=False)
        try:
            window = hit.window(counted[0]) if hit else None
        except RedisUnavailableError:
            window = None
        return state, window

    def _check_origin(self, request: Request) -> None:
        offered = request.headers.getlist("origin")
        if offered and (len(offered) > 1 or offered[0] not in self._origins):
            self._metrics.csrf_rejections.labels("origin").inc()
            raise OriginMismatchError("Requests that change something are accepted from the shop's pages only.")

    def _check_csrf(self, tokens: Sequence[str], state: SessionState | None) -> None:
        if not tokens:
            self._metrics.csrf_rejections.labels("missing").inc()
            raise CsrfInvalidError
        if state is None:
            self._metrics.csrf_rejections.labels("store_unavailable").inc()
            raise RedisUnavailableError
        if not state.csrf_valid:
            self._metrics.csrf_rejections.labels("wrong").inc()
            raise CsrfInvalidError

    def _refuse(self, error: UnauthenticatedError) -> UnauthenticatedError:
        self._metrics.auth_failures.labels(error.reason).inc()
        return error

    def _forbidden(self, reason: str, detail: str) -> ForbiddenError:
        self._metrics.auth_failures.labels(reason).inc()
        return ForbiddenError(detail)


def bearer_token(request: Request) -> str:
    """The token of the one ``Authorization: Bearer`` header (RFC 6750, 2.1); raises UnauthenticatedError."""
    offered = request.headers.getlist("authorization")
    if not offered:
        raise UnauthenticatedError("missing", "Sign in: this needs an Authorization header with a Bearer token.")
    if len(offered) > 1:
        raise UnauthenticatedError("malformed", "There must be one Authorization header.")
    scheme, _, token = offered[0].partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError("scheme", "The Authorization header must use the scheme Bearer.")
    return token.strip(" ")


class SignedIn:
    """Dependency made by :func:`signed_in`; its attributes document the operation."""

    def __init__(self, roles: Sequence[str], limit: Limit | None, clients: Sequence[str]) -> None:
        self.roles = tuple(roles)
        self.clients = tuple(clients)
        self._role_set = frozenset(roles)
        self._client_set = frozenset(clients)
        self._safe = limit or Limit.READ
        self._unsafe = limit or (Limit.ADMIN_MUTATION if self.roles == ("admin",) else Limit.MUTATION)

    def limit_of(self, method: str) -> Limit:
        return self._safe if method in SAFE_METHODS else self._unsafe

    async def __call__(self, request: Request) -> Principal:
        access: AccessControl = request.app.state.access
        return await access.admit(request, self._role_set, self._client_set, self.limit_of(request.method))


class Public:
    """Dependency made by :func:`public`."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit

    async def __call__(self, request: Request) -> None:
        access: AccessControl = request.app.state.access
        await access.admit_anyone(request, self.limit)


def public(limit: Limit = Limit.ANONYMOUS) -> Public:
    """Dependency: anyone may call, so often as ``limit`` says."""
    return Public(limit)


def signed_in(*roles: str, limit: Limit | None = None, clients: Sequence[str] = ()) -> SignedIn:
    """Dependency that returns the Principal: a valid token with one of ``roles`` (any, if none is given).

    ``clients``: values of ``azp`` that may call, if not all. ``limit`` None: READ for safe methods, MUTATION for the
    others, ADMIN_MUTATION if ``roles`` is just admin.
    Use: ``who: Annotated[Principal, Depends(signed_in("customer"))]``.
    """
    return SignedIn(roles, limit, clients)
