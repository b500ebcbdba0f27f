"""Signing in as a browser does: Authorization Code Flow with PKCE over HTTP (SPEC 3), and a shopper who is signed in.

Tokens and passwords stay in variables: no text that is made of them (repr, exception, log line) shows them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import time
from dataclasses import dataclass
from threading import RLock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from .tls import Trust

CLIENT = "ui-client"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# The shop renews a token so long before it ends.
RENEW_SECONDS = 60
_FORM = re.compile(r'<form[^>]*\baction="([^"]+)"')


class Hidden(str):
    """A token or password: pytest prints the arguments of functions that fail, and shall not print these."""

    def __repr__(self) -> str:
        return "'(hidden)'"


class SignInError(AssertionError):
    """Keycloak did not do what the flow foresees; the text quotes a status, never a body. ``status``: of the token endpoint, else 0."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class NoCsrfTokenError(AssertionError):
    """The API handed out no CSRF token; ``status`` is its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"no CSRF token: {status}")
        self.status = status


@dataclass(frozen=True)
class Places:
    """Where the platform answers: origins without a path."""

    shop: str
    api: str
    id: str

    @property
    def issuer(self) -> str:
        return f"{self.id}/realms/bookstore"

    @property
    def callback(self) -> str:
        return f"{self.shop}/callback"

    def endpoint(self, name: str) -> str:
        return f"{self.issuer}/protocol/openid-connect/{name}"


@dataclass(frozen=True, repr=False)
class Tokens:
    """What the token endpoint hands out."""

    access: Hidden
    refresh: Hidden
    identity: Hidden

    @property
    def claims(self) -> dict[str, Any]:
        """Of the access token, not verified: the services do that."""
        found: dict[str, Any] = json.loads(unpadded(self.access.split(".")[1]))
        return found


def unpadded(text: str) -> bytes:
    """Decode base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def bearer(token: str) -> dict[str, str]:
    """The Authorization header."""
    return {"Authorization": Hidden(f"Bearer {token}")}


def padless(content: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def sign_in(client: httpx2.Client, places: Places, username: str, password: Hidden) -> Tokens:
    """Walk through Keycloak's pages with the cookies of ``client``; the shop itself is not contacted."""
    verifier, state, nonce = (secrets.token_urlsafe(48) for _ in range(3))
    query = {
        "client_id": CLIENT, "response_type": "code", "scope": "openid", "redirect_uri": places.callback, "state": state,
        "nonce": nonce, "code_challenge": padless(hashlib.sha256(verifier.encode("ascii")).digest()), "code_challenge_method": "S256",
    }  # fmt: skip
    page = client.get(places.endpoint("auth"), params=query)
    form = _FORM.search(page.text)
    if page.status_code != 200 or form is None:
        raise SignInError(f"the authorization endpoint answered {page.status_code} without a sign-in form")
    sent = client.post(html.unescape(form.group(1)), data={"username": username, "password": password, "credentialId": ""})
    target = urlsplit(sent.headers.get("location", ""))
    if sent.status_code != 302 or f"{target.scheme}://{target.netloc}{target.path}" != places.callback:
        raise SignInError(f"the sign-in form answered {sent.status_code} to {username} instead of going back to {places.callback}")
    answer = parse_qs(target.query)
    if answer.get("state") != [state] or answer.get("iss") != [places.issuer] or "code" not in answer:
        raise SignInError("the redirect lacks the code, our state or the issuer (RFC 9207)")
    tokens = exchange(
        client, places, grant_type="authorization_code", code=answer["code"][0], redirect_uri=places.callback, code_verifier=verifier
    )
    if json.loads(unpadded(tokens.identity.split(".")[1])).get("nonce") != nonce:
        raise SignInError("the id token was not made for this sign-in: another nonce")
    return tokens


def exchange(client: httpx2.Client, places: Places, **form: str) -> Tokens:
    """Ask the token endpoint as the public client; SignInError when it refuses."""
    answer = client.post(places.endpoint("token"), data={"client_id": CLIENT, **form})
    if answer.status_code != 200:
        raise SignInError(f"the token endpoint answered {answer.status_code} to {form['grant_type']}", answer.status_code)
    body = answer.json()
    return Tokens(*(Hidden(body[name]) for name in ("access_token", "refresh_token", "id_token")))


class Shopper:
    """A signed-in person in front of the APIs. Sends the access token, renews it in time, and a CSRF token where one is needed.

    Threads may share a shopper for requests to the APIs once it has a CSRF token (:meth:`csrf`); one of them renews the tokens.
    """

    def __init__(self, trust: Trust, places: Places, username: str, password: Hidden) -> None:
        self.places = places
        self.username = username
        self.client = trust.client()
        self._csrf: Hidden | None = None
        self._renewing = RLock()
        try:
            self.tokens = sign_in(self.client, places, username, password)
        except BaseException:
            self.client.close()
            raise
        self.sub = str(self.tokens.claims["sub"])

    def __repr__(self) -> str:
        return f"Shopper({self.username})"

    def __enter__(self) -> Shopper:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def refresh(self) -> None:
        """Trade the refresh token, which works once, for new tokens."""
        with self._renewing:
            self.tokens = exchange(self.client, self.places, grant_type="refresh_token", refresh_token=self.tokens.refresh)

    def bearer(self) -> dict[str, str]:
        """The Authorization header with a token that is good for a minute more."""
        with self._renewing:
            if self.tokens.claims["exp"] - time.time() < RENEW_SECONDS:
                self.refresh()
            return bearer(self.tokens.access)

    def csrf(self) -> dict[str, str]:
        """The X-CSRF-Token header; one token serves the whole session."""
        if self._csrf is None:
            answer = self.client.get(f"{self.places.api}/ecom/csrf-token", headers=self.bearer())
            if answer.status_code != 200:
                raise NoCsrfTokenError(answer.status_code)
            self._csrf = Hidden(answer.json()["token"])
        return {"X-CSRF-Token": self._csrf}

    def use_csrf(self, token: str) -> None:
        """Send another CSRF token from now on."""
        self._csrf = Hidden(token)

    def send(self, method: str, path: str, json: Any = None, headers: dict[str, str] | None = None) -> httpx2.Response:
        """Make a request to the api host as the shop's page would; ``headers`` win over the usual ones."""
        usual = self.bearer()
        if method not in SAFE_METHODS:
            usual = {**usual, **self.csrf(), "Origin": self.places.shop}
        return self.client.request(method, f"{self.places.api}{path}", json=json, headers={**usual, **(headers or {})})

    def get(self, path: str) -> httpx2.Response:
        return self.send("GET", path)

    def cart(self) -> dict[str, Any]:
        return body_of(self.get("/ecom/cart"))

    def add(self, book_id: str, quantity: int = 1) -> dict[str, Any]:
        """Put copies into the cart; returns the cart."""
        return body_of(self.send("POST", "/ecom/cart/items", {"book_id": book_id, "quantity": quantity}))

    def checkout(self, key: str, total: str) -> httpx2.Response:
        """Order the cart under an Idempotency-Key for the total that was seen."""
        return self.send("POST", "/ecom/checkout", {"shipping": SHIPPING, "expected_total": total}, {"Idempotency-Key": key})

    def logout(self) -> httpx2.Response:
        """End the session at Keycloak, as the shop does (RP-initiated; the id token goes in the body, not in an address)."""
        form = {"id_token_hint": self.tokens.identity, "client_id": CLIENT, "post_logout_redirect_uri": f"{self.places.shop}/"}
        return self.client.post(self.places.endpoint("logout"), data=form)


SHIPPING = {
    "name": "Ada Reader", "line1": "1 Library Street", "line2": None, "city": "Springfield", "postal_code": "12345", "country": "US",
}  # fmt: skip


def body_of(answer: httpx2.Response) -> dict[str, Any]:
    """The JSON body of a success; fails with the problem otherwise."""
    assert answer.is_success, f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}"
    found: dict[str, Any] = answer.json()
    return found


def problem_of(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of a problem; fails if the answer is none."""
    assert answer.headers.get("content-type", "").startswith("application/problem+json"), f"{answer.status_code} is no problem+json"
    return answer.status_code, answer.json()["code"]
