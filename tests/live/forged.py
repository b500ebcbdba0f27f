"""Access tokens that nobody may accept. Those that only the issuer can sign come from a client that exists for the test."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .signin import Hidden, Places, bearer, padless, unpadded
from .tls import Trust

# Of forgeries(); named here, so that tests can be generated before there is a token.
KINDS = (
    "no JWT", "claims changed", "time extended", "without signature", "alg none", "alg None", "HS256 with the public key",
    "HS256 with the public key, no line end", "another key under the realm's kid", "another key with a kid of its own",
    "another key, offered in the header",
)  # fmt: skip


def _encode(value: dict[str, Any]) -> str:
    return padless(json.dumps(value, separators=(",", ":")).encode())


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Header, claims and signature."""
    header, claims, signature = token.split(".")
    return json.loads(unpadded(header)), json.loads(unpadded(claims)), signature


def public_key(client: httpx2.Client, places: Places, kid: str) -> rsa.RSAPublicKey:
    """The realm's key of this id."""
    keys = client.get(places.endpoint("certs")).raise_for_status().json()["keys"]
    found = next(key for key in keys if key["kid"] == kid)
    exponent, modulus = (int.from_bytes(unpadded(found[name])) for name in ("e", "n"))
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def forgeries(real: str, key: rsa.RSAPublicKey) -> dict[str, Hidden]:
    """By what is wrong: variations of a good token, all of which claim to be an administrator's."""
    header, claims, signature = parts(real)
    claims = {**claims, "roles": ["admin", "customer"]}
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    strange = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def hs256(secret: bytes) -> str:
        signed = f"{_encode({**header, 'alg': 'HS256'})}.{_encode(claims)}"
        return f"{signed}.{padless(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"

    def signed_by_us(head: dict[str, Any]) -> str:
        signed = f"{_encode(head)}.{_encode(claims)}"
        return f"{signed}.{padless(strange.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    made = {
        "no JWT": "forged",
        "claims changed": f"{_encode(header)}.{_encode(claims)}.{signature}",
        "time extended": f"{_encode(header)}.{_encode({**claims, 'exp': int(time.time()) + 86400})}.{signature}",
        "without signature": f"{_encode(header)}.{_encode(claims)}.",
        "alg none": f"{_encode({**header, 'alg': 'none'})}.{_encode(claims)}.",
        "alg None": f"{_encode({**header, 'alg': 'None'})}.{_encode(claims)}.",
        "HS256 with the public key": hs256(pem),
        "HS256 with the public key, no line end": hs256(pem.strip()),
        "another key under the realm's kid": signed_by_us(header),
        "another key with a kid of its own": signed_by_us({**header, "kid": "forged"}),
        "another key, offered in the header": signed_by_us({**header, "jwk": _jwk(strange)}),
    }
    return {kind: Hidden(token) for kind, token in made.items()}


def _jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": padless(numbers.n.to_bytes(256)), "e": padless(numbers.e.to_bytes(3))}


class Mint:
    """Lets Keycloak itself sign wrong tokens: as its administrator (N8) it makes clients, which ``close`` removes."""

    def __init__(self, trust: Trust, places: Places, console: str, secret: Callable[[str, str], Hidden]) -> None:
        self._client = trust.client()
        self._places = places
        self._console = console
        self._secret = secret
        self._made: list[str] = []

    def other_issuer(self) -> Hidden:
        """A token of the realm master: signed well, by this server, but not for the shop. It lives for a minute."""
        form = {
            "grant_type": "password", "client_id": "admin-cli", "username": self._secret("keycloak-admin", "username"),
            "password": self._secret("keycloak-admin", "password"),
        }  # fmt: skip
        with _one_at_a_time():
            answer = self._client.post(f"{self._console}/realms/master/protocol/openid-connect/token", data=form)
        assert answer.status_code == 200, f"Keycloak's administrator cannot sign in: {answer.status_code}"
        return Hidden(answer.json()["access_token"])

    def token(self, *, lifetime: int = 300, claims: dict[str, Any] | None = None) -> Hidden:
        """A token of a new client with these claims; without ``aud`` among them it has no audience."""
        name, secret = f"live-{secrets.token_hex(6)}", secrets.token_urlsafe(24)
        client = {
            "clientId": name, "secret": secret, "publicClient": False, "standardFlowEnabled": False, "serviceAccountsEnabled": True,
            "attributes": {"access.token.lifespan": str(lifetime)}, "defaultClientScopes": [],
            "protocolMappers": [_hardcoded(claim, value) for claim, value in (claims or {}).items()],
        }  # fmt: skip
        headers = bearer(self.other_issuer())
        answer = self._client.post(f"{self._console}/admin/realms/bookstore/clients", json=client, headers=headers)
        assert answer.status_code == 201, f"no client was made: {answer.status_code}"
        self._made.append(httpx2.URL(answer.headers["location"]).path.rpartition("/")[2])
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        made = self._client.post(self._places.endpoint("token"), data=form)
        assert made.status_code == 200, f"the client got no token: {made.status_code}"
        return Hidden(made.json()["access_token"])

    def close(self) -> None:
        """Remove the clients."""
        headers = bearer(self.other_issuer())
        for made in self._made:
            answer = self._client.delete(f"{self._console}/admin/realms/bookstore/clients/{made}", headers=headers)
            assert answer.status_code == 204, f"client {made} was left in the realm: {answer.status_code}"
        self._client.close()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Where brute force is guarded against, Keycloak refuses a password while it checks another one of the same account (401): tests of
    other workers sign in with it, too."""
    with (Path(tempfile.gettempdir()) / f"bookstore-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hardcoded(claim: str, value: Any) -> dict[str, Any]:
    """A mapper that writes one claim; "aud" is added to by an audience mapper."""
    if claim == "aud":
        config = {"included.custom.audience": str(value), "access.token.claim": "true"}
        return {"name": claim, "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper", "config": config}
    kind = "String" if isinstance(value, str) else "JSON"
    text = value if isinstance(value, str) else json.dumps(value)
    config = {"claim.name": claim, "claim.value": text, "jsonType.label": kind, "access.token.claim": "true"}
    return {"name": claim, "protocol": "openid-connect", "protocolMapper": "oidc-hardcoded-claim-mapper", "config": config}
