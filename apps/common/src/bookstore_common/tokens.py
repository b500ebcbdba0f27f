"""Access and logout tokens (SPEC 3): the only module that knows python-jose, so that it can be exchanged here.

RS256 only; keys only from the realm's JWKS, only RSA, chosen by ``kid``. A token never says how it is to be checked.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import orjson
from jose import jwk, jws
from jose.exceptions import JOSEError
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from bookstore_common.health import CheckFailedError
from bookstore_common.jwks import Jwks, KeysUnavailableError
from bookstore_common.metrics import Metrics
from bookstore_common.problem import DependencyUnavailableError, ProblemError
from bookstore_common.redis import RedisClient
from bookstore_common.sealed import SealedStore
from bookstore_common.settings import BaseServiceSettings

ALGORITHM = "RS256"
# Refused before anything of it is parsed; Keycloak's are about 1 KiB.
MAX_TOKEN_LENGTH = 8192
LEEWAY_SECONDS = 30
MIN_MODULUS_BITS = 2048
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
# Our own, from the realm's event listener: beside the event above, in a token that names nobody, it means everybody.
EVERYBODY_EVENT = "urn:bookstore:event:every-session-ended"
# Of verified tokens; the one unused for longest makes room.
_CACHE_SIZE = 2048
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# They become Redis keys and database values.
_IDENTIFIER = re.compile(r"[\x21-\x7e]{1,255}")
_HEADER_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_LOGOUT_HEADER_TYPES = frozenset({"jwt", "logout+jwt", "application/logout+jwt"})


class OidcSettings(BaseServiceSettings):
    """Whose tokens are accepted; mix into a service's settings."""

    oidc_issuer: str = Field(
        description="the realm's issuer as in its tokens, for example https://id.bookstore.test:30000/realms/bookstore"
    )
    oidc_jwks_url: str = Field(
        pattern=r"^https?://[^/\s]+/\S*$",
        description="where the realm's keys are inside of the cluster, for example "
        "http://keycloak.identity.svc.cluster.local:8080/realms/bookstore/protocol/openid-connect/certs",
    )
    oidc_jwks_timeout_seconds: float = Field(
        default=2, gt=0, le=60, description="seconds to wait for the realm's keys, for example 2"
    )
    oidc_audience: str = Field(
        min_length=1, description="the audience that tokens must name, for example bookstore-api"
    )
    # NoDecode: a comma list, where pydantic-settings would expect JSON.
    oidc_allowed_clients: Annotated[tuple[str, ...], NoDecode] = Field(
        min_length=1, description="clients (azp) whose tokens are accepted, separated by commas, for example ui-client"
    )
    oidc_access_lifetime_seconds: int = Field(
        default=300, ge=60, le=36000, description="how long the realm's access tokens live, for example 300"
    )
    oidc_outage_seconds: int = Field(
        default=4500,
        ge=60,
        le=86400,
        description="seconds after Keycloak last answered, for which its keys, and tokens that were valid then, are "
        "accepted, for example 4500",
    )
    oidc_store_seal: SecretStr | None = Field(
        default=None,
        description="the service's own secret that seals what it keeps in Redis for a start while Keycloak is away",
    )
    oidc_logout_audience: str | None = Field(
        default=None, description="the client whose back-channel logout tokens are accepted, for example ui-client"
    )

    @field_validator("oidc_allowed_clients", mode="before")
    @classmethod
    def _split_clients(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class UnauthenticatedError(ProblemError):
    """Who asks is not known. ``reason`` is the label of ``auth_failures_total``; it is never a token's content."""

    status = 401
    code = "unauthenticated"

    def __init__(self, reason: str, detail: str = "The access token is not valid.") -> None:
        # RFC 6750, 3.1: no error code where no token came.
        challenge = "Bearer" if reason == "missing" else 'Bearer error="invalid_token"'
        super().__init__(detail, headers={"www-authenticate": challenge})
        self.reason = reason


class TokenCheckUnavailableError(DependencyUnavailableError):
    """Whether a token is good cannot be told now, for Keycloak does not answer; nobody is signed out over that."""

    code = "token_check_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "Sign-ins cannot be checked now; nobody was signed out, try again.", headers={"retry-after": "2"}
        )


class InvalidLogoutTokenError(ProblemError):
    """Not a logout token of our realm for our client (OpenID Connect Back-Channel Logout 1.0, 2.6)."""

    status = 400
    code = "invalid_logout_token"

    def __init__(self, reason: str) -> None:
        super().__init__("The logout token is not valid.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, by a verified token. Times in Unix seconds, by Keycloak's clock; service accounts have no ``sid``."""

    sub: str
    sid: str | None
    azp: str
    roles: frozenset[str]
    expires_at: int
    token: str = field(repr=False)
    issued_at: int = 0


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """What ended: the session ``sid``; without it all sessions of ``sub``; without both those of everybody.

    ``issued_at`` in Unix seconds, by Keycloak's clock: access tokens that were issued later are not concerned.
    """

    sub: str | None
    sid: str | None
    issued_at: int


class _RefusedError(Exception):
    """Internal: the first rule that a token breaks."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenVerifier:
    """Verifies tokens of one realm. Verified access tokens are kept until they end, or the realm's keys change."""

    def __init__(
        self,
        settings: OidcSettings,
        metrics: Metrics,
        *,
        redis: RedisClient | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` gives Unix seconds, ``clock`` seconds for the age of keys. Connects when first used.

        ``redis`` and a seal in ``settings``: keys are kept there for a start while Keycloak is away.
        """
        self._settings = settings
        # From its issue until the last moment at which it is accepted, be Keycloak away or not.
        self.token_life_seconds = settings.oidc_access_lifetime_seconds + LEEWAY_SECONDS + settings.oidc_outage_seconds
        seal = settings.oidc_store_seal
        self.store = SealedStore(redis, seal) if redis is not None and seal is not None else None
        self._now = now
        self._jwks = Jwks(
            settings.oidc_jwks_url,
            _rsa_key,
            metrics.jwks_stale_uses,
            timeout_seconds=settings.oidc_jwks_timeout_seconds,
            usable_seconds=settings.oidc_outage_seconds,
            store=self.store,
            clock=clock,
            now=now,
        )
        self._clients = frozenset(settings.oidc_allowed_clients)
        self._verified: OrderedDict[str, Principal] = OrderedDict()
        self._generation = 0

    async def verify(self, token: str) -> Principal:
        """Who holds ``token``, an access token in compact form.

        Raises UnauthenticatedError, or TokenCheckUnavailableError while there are no keys to check it with.
        """
        self._jwks.refresh_beside()
        self._drop_outdated()
        principal = self._verified.get(token)
        if principal is not None and self._now() <= principal.expires_at + LEEWAY_SECONDS:
            self._verified.move_to_end(token)
            return principal
        try:
            claims = await self._claims(token, _HEADER_TYPES)
            principal = self._principal(token, claims)
            await self._check_expiry(claims)
        except _RefusedError as refusal:
            expired = refusal.reason == "expired"
            raise UnauthenticatedError(
                refusal.reason, "The access token has expired." if expired else "The access token is not valid."
            ) from None
        self._drop_outdated()  # this token was checked with the newest keys
        self._verified[token] = principal
        while len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)
        return principal

    async def verify_logout(self, token: str) -> LogoutToken:
        """What ended, by a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6).

        ``jti`` is not remembered: ending a session twice changes nothing. Raises InvalidLogoutTokenError, or
        TokenCheckUnavailableError while there are no keys.
        """
        try:
            claims = await self._claims(token, _LOGOUT_HEADER_TYPES)
            if self._now() > _time(claims, "exp", required=True) + LEEWAY_SECONDS:
                raise _RefusedError("expired")
            return self._logout(claims)
        except _RefusedError as refusal:
            raise InvalidLogoutTokenError(refusal.reason) from None

    async def load(self) -> None:
        """Fetch the keys now; raises TokenCheckUnavailableError if there are none afterwards."""
        try:
            await self._jwks.load()
        except KeysUnavailableError as exc:
            raise TokenCheckUnavailableError from exc

    async def published_keys(self) -> list[Any]:
        """The realm's keys as JWKs; raises TokenCheckUnavailableError while there are none that may be used."""
        try:
            return await self._jwks.published()
        except KeysUnavailableError as exc:
            raise TokenCheckUnavailableError from exc

    async def check(self) -> None:
        """Readiness check: there are keys. Tries to load them if not; raises CheckFailedError."""
        if self._jwks.loaded:
            self._jwks.refresh_beside()
            return
        try:
            await self._jwks.load()
        except KeysUnavailableError as exc:
            raise CheckFailedError(f"{exc}; is Keycloak up, and OIDC_JWKS_URL right?") from exc

    async def close(self) -> None:
        await self._jwks.close()

    def _drop_outdated(self) -> None:
        """A key that was withdrawn ends what it signed."""
        if self._generation != self._jwks.generation:
            self._verified.clear()
            self._generation = self._jwks.generation

    async def _claims(self, token: str, header_types: frozenset[str]) -> dict[str, Any]:
        """Claims of a token whose form, signature, issuer and beginning are right; raises _RefusedError."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise _RefusedError("oversized")
        if not _COMPACT.fullmatch(token):
            raise _RefusedError("malformed")
        key = await self._key(token, header_types)
        try:
            payload = jws.verify(token, key, algorithms=[ALGORITHM])
        except JOSEError:
            raise _RefusedError("signature") from None
        claims = _json_object(payload)
        if claims.get("iss") != self._settings.oidc_issuer:
            raise _RefusedError("issuer")
        _time(claims, "exp", required=True)
        if self._now() < _time(claims, "nbf") - LEEWAY_SECONDS:
            raise _RefusedError("not_yet_valid")
        return claims

    async def _check_expiry(self, claims: Mapping[str, Any]) -> None:
        """Raise _RefusedError if the token has expired and its holder could have renewed it.

        While Keycloak is away nobody can: a token that was valid when it last answered goes on for as long as the keys.
        """
        last_moment = _time(claims, "exp", required=True) + LEEWAY_SECONDS
        if self._now() <= last_moment:
            return
        if last_moment < self._jwks.last_seen or not await self._jwks.is_away():
            raise _RefusedError("expired")
        if self._now() > self._jwks.last_seen + self._settings.oidc_outage_seconds:
            raise _RefusedError("expired")

    async def _key(self, token: str, header_types: frozenset[str]) -> Any:
        try:
            header = jws.get_unverified_header(token)
        except JOSEError:
            raise _RefusedError("malformed") from None
        if header.get("alg") != ALGORITHM:
            raise _RefusedError("algorithm")
        # RFC 7515, 4.1.11: extensions that must be understood, and we understand none.
        if "crit" in header or str(header.get("typ", "JWT")).lower() not in header_types:
            raise _RefusedError("malformed")
        kid = header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise _RefusedError("unknown_key")
        try:
            key = await self._jwks.find(kid)
        except KeysUnavailableError as exc:
            raise TokenCheckUnavailableError from exc
        if key is None:
            raise _RefusedError("unknown_key")
        return key

    def _principal(self, token: str, claims: Mapping[str, Any]) -> Principal:
        # Keycloak's own mark; absent or Bearer for access tokens, else ID, Refresh, Logout.
        if claims.get("typ", "Bearer") != "Bearer":
            raise _RefusedError("claims")
        if not _names(claims.get("aud"), self._settings.oidc_audience):
            raise _RefusedError("audience")
        azp = claims.get("azp")
        if not isinstance(azp, str) or azp not in self._clients:
            raise _RefusedError("client")
        roles = claims.get("roles", [])
        if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
            raise _RefusedError("claims")
        sub = _identifier(claims, "sub")
        sid = _identifier(claims, "sid") if claims.get("sid") is not None else None
        expires, issued = int(_time(claims, "exp", required=True)), int(_time(claims, "iat", required=True))
        return Principal(sub, sid, azp, frozenset(roles), expires, token, issued)

    def _logout(self, claims: Mapping[str, Any]) -> LogoutToken:
        audience = self._settings.oidc_logout_audience
        if audience is None or not _names(claims.get("aud"), audience):
            raise _RefusedError("audience")
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
            raise _RefusedError("claims")
        if "nonce" in claims:  # an ID token in disguise
            raise _RefusedError("claims")
        issued = _time(claims, "iat", required=True)
        if issued > self._now() + LEEWAY_SECONDS:
            raise _RefusedError("not_yet_valid")
        _identifier(claims, "jti")
        sub = _identifier(claims, "sub") if claims.get("sub") is not None else None
        sid = _identifier(claims, "sid") if claims.get("sid") is not None else None
        if sub is None and sid is None and not isinstance(events.get(EVERYBODY_EVENT), dict):
            raise _RefusedError("claims")
        return LogoutToken(sub, sid, int(issued))


def _rsa_key(document: Mapping[str, Any]) -> Any:
    """The library's key, or None if the JWK is not an RSA key for RS256 signatures.

    Only modulus and exponent are handed on: whatever else stands in the document is no business of ours.
    """
    if (document.get("kty"), document.get("use", "sig"), document.get("alg", ALGORITHM)) != ("RSA", "sig", ALGORITHM):
        return None
    try:
        key: Any = jwk.construct({"kty": "RSA", "n": document["n"], "e": document["e"]}, algorithm=ALGORITHM)
        bits: int = key.prepared_key.key_size
    except (JOSEError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return key if bits >= MIN_MODULUS_BITS else None


def _json_object(payload: str | bytes) -> dict[str, Any]:
    try:
        claims = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise _RefusedError("claims") from None
    if not isinstance(claims, dict):
        raise _RefusedError("claims")
    return claims


def _time(claims: Mapping[str, Any], name: str, *, required: bool = False) -> float:
    """A NumericDate in Unix seconds; an absent one is the beginning of time."""
    value = claims.get(name)
    if value is None and not required:
        return float("-inf")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError("claims")
    return float(value)


def _names(audience: Any, wanted: str) -> bool:
    return audience == wanted or (isinstance(audience, list) and wanted in audience)


def _identifier(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise _RefusedError("claims")
    return value
