"""Which tokens are accepted, and that no forged one is."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from bookstore_common.metrics import Metrics
from bookstore_common.settings import SettingsError, load_settings
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.tokens import ISSUER, Issuer, SigningKey, encode
from bookstore_common.tokens import (
    EVERYBODY_EVENT,
    LOGOUT_EVENT,
    InvalidLogoutTokenError,
    OidcSettings,
    TokenCheckUnavailableError,
    TokenVerifier,
    UnauthenticatedError,
)

pytestmark = pytest.mark.anyio
Forge = Callable[[Issuer], str]
STRANGER = SigningKey("stranger")


def hs256(secret: bytes, claims: dict[str, Any], header: dict[str, Any]) -> str:
    signed = f"{encode(header)}.{encode(claims)}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def public_key(issuer: Issuer, encoding: serialization.Encoding) -> bytes:
    public = issuer.key.private.public_key()
    return public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def confused(secret: Callable[[Issuer], bytes]) -> Forge:
    """HS256, whose secret is what everybody knows of the RSA key."""
    header = {"alg": "HS256", "typ": "JWT", "kid": "first"}
    return lambda issuer: hs256(secret(issuer), issuer.claims(), header)


def headed(**header: Any) -> Forge:
    """Signed by the realm, with a changed header."""
    content = {"alg": "RS256", "typ": "JWT", "kid": "first", **header}
    return lambda issuer: issuer.key.sign(issuer.claims(), {k: v for k, v in content.items() if v is not None})


def claiming(**claims: Any) -> Forge:
    return lambda issuer: issuer.token(**claims)


def tampered(part: int, change: Callable[[str], str]) -> Forge:
    def forge(issuer: Issuer) -> str:
        parts = issuer.token().split(".")
        parts[part] = change(parts[part])
        return ".".join(parts)

    return forge


FORGED: dict[str, tuple[Forge, str]] = {
    "no algorithm": (lambda i: f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(i.claims())}.", "malformed"),
    "no algorithm, with kid and a signature": (headed(alg="none"), "algorithm"),
    "None in another spelling": (headed(alg="nOnE"), "algorithm"),
    "no alg": (headed(alg=None), "algorithm"),
    "alg is a list": (headed(alg=["RS256"]), "algorithm"),
    "HS256 with the key as PEM": (confused(lambda i: public_key(i, serialization.Encoding.PEM)), "algorithm"),
    "HS256 with the key as DER": (confused(lambda i: public_key(i, serialization.Encoding.DER)), "algorithm"),
    "HS256 with the key as JWK": (confused(lambda i: str(i.key.jwk()).encode()), "algorithm"),
    "HS256 with the modulus": (confused(lambda i: i.key.jwk()["n"].encode()), "algorithm"),
    "RS512": (headed(alg="RS512"), "algorithm"),
    "PS256": (headed(alg="PS256"), "algorithm"),
    "RS256 in the header, HS256 in fact": (
        lambda i: hs256(public_key(i, serialization.Encoding.PEM), i.claims(), {"alg": "RS256", "kid": "first"}),
        "signature",
    ),
    "unknown kid": (lambda i: SigningKey("other").sign(i.claims()), "unknown_key"),
    "our kid, another key": (lambda i: STRANGER.sign(i.claims(), {"alg": "RS256", "kid": "first"}), "signature"),
    "no kid": (headed(kid=None), "unknown_key"),
    "kid is a number": (headed(kid=1), "unknown_key"),
    "brings its own key": (
        lambda i: STRANGER.sign(i.claims(), {"alg": "RS256", "kid": "stranger", "jwk": STRANGER.jwk()}),
        "unknown_key",
    ),
    "brings its own key under our kid": (
        lambda i: STRANGER.sign(i.claims(), {"alg": "RS256", "kid": "first", "jwk": STRANGER.jwk()}),
        "signature",
    ),
    "points to its own key": (
        lambda i: STRANGER.sign(i.claims(), {"alg": "RS256", "kid": "first", "jku": "https://evil.test/jwks"}),
        "signature",
    ),
    "critical extension": (headed(crit=["exp"]), "malformed"),
    "another kind of token": (headed(typ="logout+jwt"), "malformed"),
    "changed claims": (tampered(1, lambda part: encode({"sub": "admin", "roles": ["admin"]})), "signature"),
    "changed signature": (tampered(2, lambda part: part[:-9] + "AAAAAAAAA"), "signature"),
    "empty signature": (tampered(2, lambda part: ""), "malformed"),
    "header is a list": (tampered(0, lambda part: encode(b"[1]")), "malformed"),
    "header is no JSON": (tampered(0, lambda part: encode(b"{")), "malformed"),
    "header is no base64": (tampered(0, lambda part: "A"), "malformed"),
    "padded": (tampered(1, lambda part: part + "=="), "malformed"),
    "two parts": (lambda i: i.token().rpartition(".")[0], "malformed"),
    "four parts": (lambda i: i.token() + ".x", "malformed"),
    "encrypted": (lambda i: "a.b.c.d.e", "malformed"),
    "white space": (lambda i: i.token().replace(".", ". ", 1), "malformed"),
    "empty": (lambda i: "", "malformed"),
    "not ASCII": (lambda i: "ä.ö.ü", "malformed"),
    "huge": (claiming(padding="x" * 8192), "oversized"),
    "claims are a list": (lambda i: i.key.sign([1]), "claims"),  # type: ignore[arg-type]
    "another issuer": (claiming(iss="https://evil.test/realms/bookstore"), "issuer"),
    "issuer with a slash more": (claiming(iss=f"{ISSUER}/"), "issuer"),
    "no issuer": (claiming(iss=None), "issuer"),
    "another audience": (claiming(audience="account"), "audience"),
    "audience not among several": (claiming(audience=["account", "bookstore-api-2"]), "audience"),
    "audience only in part": (claiming(audience="bookstore-api other"), "audience"),
    "no audience": (claiming(aud=None), "audience"),
    "another client": (claiming(azp="e2e-provisioner"), "client"),
    "no client": (claiming(azp=None), "client"),
    "client is a list": (claiming(azp=["ui-client"]), "client"),
    "expired": (claiming(lifetime=-32), "expired"),
    "no end": (claiming(exp=None), "claims"),
    "end is text": (claiming(exp="9999999999"), "claims"),
    "end is true": (claiming(exp=True), "claims"),
    "not yet": (claiming(nbf=int(time.time()) + 3600), "not_yet_valid"),
    "not yet, as text": (claiming(nbf="0"), "claims"),
    "no subject": (claiming(sub=None), "claims"),
    "empty subject": (claiming(sub=""), "claims"),
    "subject is a number": (claiming(sub=7), "claims"),
    "subject with a line break": (claiming(sub="a\nb"), "claims"),
    "session is a list": (claiming(sid=["a"]), "claims"),
    "session is empty": (claiming(sid=""), "claims"),
    "roles are text": (lambda i: i.key.sign({**i.claims(), "roles": "admin"}), "claims"),
    "roles are an object": (lambda i: i.key.sign({**i.claims(), "roles": {"admin": True}}), "claims"),
    "roles hold a number": (claiming(roles=[1]), "claims"),
    "an ID token": (claiming(typ="ID"), "claims"),
    "a refresh token": (claiming(typ="Refresh"), "claims"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_refused(verifier: TokenVerifier, issuer: Issuer, log_stream: LogStream, name: str) -> None:
    forge, reason = FORGED[name]
    token = forge(issuer)
    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(token)
    assert caught.value.reason == reason
    assert caught.value.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    if token:
        assert token not in log_stream.getvalue().decode()
        assert token not in caught.value.detail


async def test_accepted(verifier: TokenVerifier, issuer: Issuer) -> None:
    token = issuer.token(sub="u-1", sid="s-1", roles=["customer", "admin"], azp="smoke-admin", lifetime=100)
    principal = await verifier.verify(token)
    assert (principal.sub, principal.sid, principal.azp) == ("u-1", "s-1", "smoke-admin")
    assert principal.roles == {"customer", "admin"}
    assert abs(principal.expires_at - time.time() - 100) < 3
    assert principal.token == token
    assert token not in repr(principal)


@pytest.mark.parametrize(
    "claims",
    [
        {"audience": ["account", "bookstore-api"]},
        {"sid": None, "azp": "ecom-service", "roles": ["service"]},
        {"typ": None},
        {"lifetime": -25},
        {"nbf": int(time.time()) + 20},
        {"padding": "x" * 4000},
    ],
    ids=["several audiences", "service account", "no typ", "leeway after", "leeway before", "long"],
)
async def test_also_accepted(verifier: TokenVerifier, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert (await verifier.verify(issuer.token(**claims))).sub == issuer.claims()["sub"]


async def test_missing_roles_are_no_roles(verifier: TokenVerifier, issuer: Issuer) -> None:
    claims = issuer.claims()
    del claims["roles"]
    assert (await verifier.verify(issuer.key.sign(claims))).roles == frozenset()


async def test_a_token_ends_also_when_kept(oidc_settings: OidcSettings, metrics: Metrics, issuer: Issuer) -> None:
    moment = time.time()
    verifier = TokenVerifier(oidc_settings, metrics, now=lambda: moment)
    token = issuer.token(lifetime=100)
    first = await verifier.verify(token)
    moment += 125
    assert await verifier.verify(token) is first
    moment += 7
    with pytest.raises(UnauthenticatedError, match="expired"):
        await verifier.verify(token)
    await verifier.close()


async def test_only_the_newest_are_kept(
    verifier: TokenVerifier, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bookstore_common.tokens._CACHE_SIZE", 2)
    await verifier.load()
    tokens = [issuer.token(sub=f"u-{number}") for number in range(3)]
    first, second, _third = [await verifier.verify(token) for token in tokens]
    assert await verifier.verify(tokens[1]) is second
    assert await verifier.verify(tokens[0]) is not first


UNUSABLE_KEYS: dict[str, dict[str, Any]] = {
    "symmetric": {"kid": "k", "kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
    "for encryption": {**STRANGER.jwk(), "use": "enc", "alg": "RSA-OAEP"},
    "for another algorithm": {**STRANGER.jwk(), "alg": "PS256"},
    "elliptic": {"kid": "k", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    "short": SigningKey("stranger", 1024).jwk(),
    "no modulus": {"kid": "stranger", "kty": "RSA", "e": "AQAB"},
    "odd modulus": {**STRANGER.jwk(), "n": "!!"},
    "modulus is a number": {**STRANGER.jwk(), "n": 5},
    "no kid": {name: value for name, value in STRANGER.jwk().items() if name != "kid"},
}


@pytest.mark.parametrize("name", UNUSABLE_KEYS)
async def test_only_rsa_signature_keys_are_taken(verifier: TokenVerifier, issuer: Issuer, name: str) -> None:
    issuer.publish(UNUSABLE_KEYS[name])
    await verifier.load()
    with pytest.raises(UnauthenticatedError) as caught:
        await verifier.verify(STRANGER.sign(issuer.claims()))
    assert caught.value.reason == "unknown_key"
    assert (await verifier.verify(issuer.token())).azp == "ui-client"


async def test_the_private_part_of_a_key_is_not_looked_at(verifier: TokenVerifier, issuer: Issuer) -> None:
    """python-jose would make a private key of it, and warn."""
    issuer.publish({**STRANGER.jwk(), "d": base64.urlsafe_b64encode(b"nonsense").decode()})
    assert (await verifier.verify(STRANGER.sign(issuer.claims()))).azp == "ui-client"


async def test_no_keys_is_not_the_callers_fault(verifier: TokenVerifier, issuer: Issuer) -> None:
    token = issuer.token()
    issuer.stop()
    with pytest.raises(TokenCheckUnavailableError) as caught:
        await verifier.verify(token)
    assert (caught.value.status, caught.value.code) == (503, "token_check_unavailable")
    assert caught.value.response().headers["retry-after"] == "2"
    with pytest.raises(TokenCheckUnavailableError):
        await verifier.verify_logout(issuer.logout_token())


async def test_logout(verifier: TokenVerifier, issuer: Issuer) -> None:
    ended = await verifier.verify_logout(issuer.logout_token(sid="s-9", sub="u-9"))
    assert (ended.sid, ended.sub) == ("s-9", "u-9")
    assert (await verifier.verify_logout(issuer.logout_token(sub=None))).sub is None
    everywhere = await verifier.verify_logout(issuer.logout_token(sid=None, sub="u-9", iat=1234))
    assert (everywhere.sid, everywhere.sub, everywhere.issued_at) == (None, "u-9", 1234)
    events: dict[str, dict[str, str]] = {LOGOUT_EVENT: {}, EVERYBODY_EVENT: {}}
    everybody = await verifier.verify_logout(issuer.logout_token(sid=None, sub=None, events=events))
    assert (everybody.sid, everybody.sub) == (None, None)


NO_LOGOUT: dict[str, tuple[Forge, str]] = {
    "an access token": (lambda i: i.token(aud="ui-client"), "claims"),
    "another client's": (lambda i: i.logout_token(aud="smoke-admin"), "audience"),
    "another issuer's": (lambda i: i.logout_token(iss="https://evil.test"), "issuer"),
    "no events": (lambda i: i.logout_token(events=None), "claims"),
    "another event": (lambda i: i.logout_token(events={"https://evil.test/event": {}}), "claims"),
    "event is text": (
        lambda i: i.logout_token(events={"http://schemas.openid.net/event/backchannel-logout": "yes"}),
        "claims",
    ),
    "events are a list": (
        lambda i: i.logout_token(events=["http://schemas.openid.net/event/backchannel-logout"]),
        "claims",
    ),
    "with a nonce": (lambda i: i.logout_token(nonce="n"), "claims"),
    "neither session nor user": (lambda i: i.logout_token(sid=None, sub=None), "claims"),
    "session is empty": (lambda i: i.logout_token(sid=""), "claims"),
    "user is empty": (lambda i: i.logout_token(sid=None, sub=""), "claims"),
    "everybody, but no logout": (
        lambda i: i.logout_token(sid=None, sub=None, events={EVERYBODY_EVENT: {}}),
        "claims",
    ),
    "no jti": (lambda i: i.logout_token(jti=None), "claims"),
    "no iat": (lambda i: i.logout_token(iat=None), "claims"),
    "from the future": (lambda i: i.logout_token(iat=int(time.time()) + 600), "not_yet_valid"),
    "expired": (lambda i: i.logout_token(exp=int(time.time()) - 60), "expired"),
    "no end": (lambda i: i.logout_token(exp=None), "claims"),
    "unsigned": (lambda i: i.logout_token().rpartition(".")[0] + ".", "malformed"),
    "signed by a stranger": (lambda i: STRANGER.sign(i.claims(aud="ui-client")), "unknown_key"),
    "huge": (lambda i: i.logout_token(padding="x" * 8192), "oversized"),
}


@pytest.mark.parametrize("name", NO_LOGOUT)
async def test_refused_logout(verifier: TokenVerifier, issuer: Issuer, name: str) -> None:
    forge, reason = NO_LOGOUT[name]
    with pytest.raises(InvalidLogoutTokenError) as caught:
        await verifier.verify_logout(forge(issuer))
    assert (caught.value.reason, caught.value.status) == (reason, 400)


async def test_without_a_client_no_logout(
    oidc_settings: OidcSettings, metrics: Metrics, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OIDC_LOGOUT_AUDIENCE")
    verifier = TokenVerifier(load_settings(OidcSettings), metrics)
    with pytest.raises(InvalidLogoutTokenError):
        await verifier.verify_logout(issuer.logout_token())
    await verifier.close()


async def test_a_logout_token_opens_nothing(verifier: TokenVerifier, issuer: Issuer) -> None:
    token = issuer.logout_token(aud="bookstore-api", azp="ui-client", roles=["admin"])
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


@pytest.mark.parametrize(
    ("name", "value"),
    [("OIDC_JWKS_URL", "file:///etc/passwd"), ("OIDC_ALLOWED_CLIENTS", " , "), ("OIDC_ISSUER", "")],
)
def test_bad_settings_name_the_variable(
    oidc_settings: OidcSettings, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings(OidcSettings)
