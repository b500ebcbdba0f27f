"""An issuer of tokens for tests: RSA keys, and the realm's endpoints over a real local HTTP server.

It signs with ``cryptography`` alone, so that the code under test is not tested with itself.
"""

import base64
import json
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bookstore_common.testing.http_stub import HttpStub

ISSUER = "https://id.bookstore.test:30000/realms/bookstore"
AUDIENCE = "bookstore-api"
CLIENTS = ("ui-client", "smoke-customer", "smoke-admin", "ecom-service")
LOGOUT_AUDIENCE = "ui-client"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
SERVICE_CLIENT_ID = "ecom-service"
_REALM = "/realms/bookstore/protocol/openid-connect"
JWKS_PATH = f"{_REALM}/certs"
TOKEN_PATH = f"{_REALM}/token"


def encode(value: bytes | Mapping[str, Any]) -> str:
    """Base64url without padding, of bytes or of an object's JSON."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class SigningKey:
    """One RSA key of the realm."""

    def __init__(self, kid: str, bits: int = 2048) -> None:
        self.kid = kid
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=bits)

    def jwk(self) -> dict[str, str]:
        """The public part, as Keycloak publishes it."""
        numbers = self.private.public_key().public_numbers()

        def number(value: int) -> str:
            return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))

        return {
            "kid": self.kid, "kty": "RSA", "alg": "RS256", "use": "sig", "n": number(numbers.n), "e": number(numbers.e)
        }  # fmt: skip

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """A compact RS256 token, whatever its header claims."""
        signed = f"{encode(header or {'alg': 'RS256', 'typ': 'JWT', 'kid': self.kid})}.{encode(claims)}"
        signature = self.private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encode(signature)}"


class Issuer:
    """The realm: keys, key endpoint and token endpoint."""

    def __init__(self) -> None:
        self.server = HttpStub()
        self._first = self.key = SigningKey("first")
        self.keys = [self.key]
        self.client_secret = secrets.token_urlsafe(16)
        self.publish()

    def environment(self) -> dict[str, str]:
        """The OIDC_* variables of a service."""
        return {
            "OIDC_ISSUER": ISSUER,
            "OIDC_JWKS_URL": f"{self.server.url}{JWKS_PATH}",
            # A busy machine is no outage.
            "OIDC_JWKS_TIMEOUT_SECONDS": "30",
            "OIDC_AUDIENCE": AUDIENCE,
            "OIDC_ALLOWED_CLIENTS": ",".join(CLIENTS),
            "OIDC_LOGOUT_AUDIENCE": LOGOUT_AUDIENCE,
        }

    def service_environment(self) -> dict[str, str]:
        """The variables of ServiceTokenSettings; :meth:`answer_service_tokens` makes the endpoint answer."""
        return {
            "OIDC_TOKEN_URL": f"{self.server.url}{TOKEN_PATH}",
            "SERVICE_CLIENT_ID": SERVICE_CLIENT_ID,
            "SERVICE_CLIENT_SECRET": self.client_secret,
        }

    @property
    def requests(self) -> int:
        """How often the keys were fetched."""
        return len(self.server.requests_to("GET", JWKS_PATH))

    def publish(self, *others: Mapping[str, Any]) -> None:
        """Serve ``keys`` and the JWKs ``others``."""
        self.server.always("GET", JWKS_PATH, body={"keys": [*(key.jwk() for key in self.keys), *others]})

    def rotate(self, kid: str | None = None) -> SigningKey:
        """Sign with a new key from now on, and publish it beside the old ones."""
        self.key = SigningKey(kid or secrets.token_hex(4))
        self.keys.append(self.key)
        self.publish()
        return self.key

    def claims(
        self,
        *,
        sub: str = "00000000-0000-4000-8000-000000000001",
        roles: Sequence[str] = ("customer",),
        azp: str = "ui-client",
        sid: str | None = "session-1",
        audience: str | Sequence[str] = AUDIENCE,
        lifetime: float = 300,
        **claims: Any,
    ) -> dict[str, Any]:
        """Claims of an access token; a claim given as None is left out. ``lifetime`` in seconds from now."""
        now = int(time.time())
        content: dict[str, Any] = {
            "iss": ISSUER,
            "sub": sub,
            "aud": audience if isinstance(audience, str) else list(audience),
            "azp": azp,
            "sid": sid,
            "roles": list(roles),
            "typ": "Bearer",
            "iat": now,
            "exp": int(now + lifetime),
            "jti": str(uuid.uuid4()),
            **claims,
        }
        return {name: value for name, value in content.items() if value is not None}

    def token(self, **claims: Any) -> str:
        """An access token; arguments as in :meth:`claims`."""
        return self.key.sign(self.claims(**claims))

    def headers(self, **claims: Any) -> dict[str, str]:
        """The Authorization header with a token; arguments as in :meth:`claims`."""
        return {"Authorization": f"Bearer {self.token(**claims)}"}

    def logout_token(
        self,
        *,
        sid: str | None = "session-1",
        sub: str | None = "00000000-0000-4000-8000-000000000001",
        **claims: Any,
    ) -> str:
        """A back-channel logout token; a claim given as None is left out. Without ``sid`` it ends all of ``sub``."""
        now = int(time.time())
        content: dict[str, Any] = {
            "iss": ISSUER,
            "aud": LOGOUT_AUDIENCE,
            "sub": sub,
            "sid": sid,
            "iat": now,
            "exp": now + 120,
            "jti": str(uuid.uuid4()),
            "typ": "Logout",
            "events": {LOGOUT_EVENT: {}},
            **claims,
        }
        return self.key.sign(
            {name: value for name, value in content.items() if value is not None},
            {"alg": "RS256", "typ": "logout+jwt", "kid": self.key.kid},
        )

    def answer_service_tokens(self, lifetime: int = 300, roles: Sequence[str] = ("service",)) -> str:
        """Let the token endpoint hand out a token of the client ``ecom-service``; returns that token."""
        token = self.token(
            sub="00000000-0000-4000-8000-0000000000ec", sid=None, azp=SERVICE_CLIENT_ID, roles=roles, lifetime=lifetime
        )
        body = {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}
        self.server.always("POST", TOKEN_PATH, body=body)
        return token

    def stop(self) -> None:
        """Keycloak is down."""
        self.server.stop()

    def start(self) -> None:
        """Keycloak is up again, at the same address."""
        self.server.start()

    def reset(self) -> None:
        """As new: one key, endpoints as at the start, nothing recorded."""
        self.server.reset()
        self.key = self._first
        self.keys = [self.key]
        self.publish()


@pytest.fixture(scope="session")
def _issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.stop()


@pytest.fixture
def issuer(_issuer: Issuer) -> Issuer:
    """The worker's realm, as new; its first key stays, for keys take time to make. A conftest imports ``_issuer``."""
    _issuer.reset()
    return _issuer
