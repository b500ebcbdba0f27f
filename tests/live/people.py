"""Users of the tests' own, made and removed by the client e2e-provisioner through Keycloak's admin API (N8; SPEC 3.1)."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from .signin import Hidden, Places, Shopper, bearer, exchange, padless
from .tls import Trust

# A password check costs Keycloak 0.1 s of processor time.
AT_ONCE = 4


@dataclass(frozen=True)
class Account:
    """Somebody who can sign in; ``sub`` is the user's id, as tokens name it."""

    sub: str
    username: str
    password: Hidden


class People:
    """Makes customers. ``close`` removes them, and whoever signed in is signed out with them.

    ``names`` are asked for in this order, for pictures in which users have a person's name; who finds all taken gets one of a test's.
    """

    def __init__(self, trust: Trust, places: Places, console: str, client_secret: Hidden, names: Sequence[str] = ()) -> None:
        self._trust = trust
        self._places = places
        self._users = f"{console}/admin/realms/bookstore/users"
        self._secret = client_secret
        self._names = names
        self._admin = trust.client()
        self._made: list[str] = []
        self._shoppers: list[Shopper] = []

    def _bearer(self) -> dict[str, str]:
        """Of the provisioner; anew each time, for tests are longer than tokens live."""
        answer = self._sign_in()
        assert answer.status_code == 200, f"e2e-provisioner cannot sign in: {answer.status_code}"
        return bearer(answer.json()["access_token"])

    def _sign_in(self) -> httpx2.Response:
        form = {"grant_type": "client_credentials", "client_id": "e2e-provisioner", "client_secret": self._secret}
        return self._admin.post(self._places.endpoint("token"), data=form)

    def keycloak_answers(self) -> bool:
        """Whether somebody can sign in now."""
        return self._sign_in().is_success

    def customers(self, count: int) -> list[Shopper]:
        """``count`` new customers, signed in."""
        headers = self._bearer()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda _: self._customer(headers), range(count)))

    def customer(self) -> Shopper:
        """One new customer, signed in."""
        return self.customers(1)[0]

    def administrator(self) -> Shopper:
        """One new administrator, signed in."""
        headers = self._bearer()
        account = self._account(headers)
        mapped = f"{self._users}/{account.sub}/role-mappings/realm"
        roles = [role for role in self._admin.get(f"{mapped}/available", headers=headers).json() if role["name"] == "admin"]
        answer = self._admin.post(mapped, json=roles, headers=headers)
        assert (len(roles), answer.status_code) == (1, 204), f"{account.username} did not become an administrator: {answer.status_code}"
        return self._signed_in(account)

    def account(self) -> Account:
        """A new customer who has not signed in yet."""
        return self._account(self._bearer())

    def _account(self, headers: dict[str, str]) -> Account:
        mark, password = f"live-{secrets.token_hex(6)}", Hidden(secrets.token_urlsafe(18))
        for name in (*self._names, mark):
            user: dict[str, Any] = {
                "username": name, "email": f"{mark}@bookstore.test", "firstName": "Live", "lastName": "Test", "enabled": True,
                "emailVerified": True, "credentials": [{"type": "password", "value": password, "temporary": False}],
            }  # fmt: skip
            answer = self._admin.post(self._users, json=user, headers=headers)
            # Conflict: somebody of this name is there, another worker's user or a killed run's.
            if name == mark or answer.status_code != 409:
                break
        assert answer.status_code == 201, f"no user was made: {answer.status_code}"
        made = Account(httpx2.URL(answer.headers["location"]).path.rpartition("/")[2], name, password)
        self._made.append(made.sub)
        return made

    def _customer(self, headers: dict[str, str]) -> Shopper:
        return self._signed_in(self._account(headers))

    def _signed_in(self, account: Account) -> Shopper:
        shopper = Shopper(self._trust, self._places, account.username, account.password)
        self._shoppers.append(shopper)
        return shopper

    def adopt(self, sub: str) -> None:
        """Remove this user, too."""
        self._made.append(sub)

    def end_sessions(self, sub: str) -> None:
        """Sign a user out on every device, as Keycloak's administrator can."""
        answer = self._admin.post(f"{self._users}/{sub}/logout", headers=self._bearer())
        assert answer.status_code == 204, f"the sessions were not ended: {answer.status_code}"

    def end_sessions_by_account_page(self, shopper: Shopper) -> None:
        """Sign a user out on every device, as the account page does: by its own REST API and a token of its client."""
        verifier, page = secrets.token_urlsafe(48), f"{self._places.issuer}/account/"
        query = {
            "client_id": "account-console", "response_type": "code", "scope": "openid", "redirect_uri": page, "state": "s",
            "code_challenge": padless(hashlib.sha256(verifier.encode("ascii")).digest()), "code_challenge_method": "S256",
        }  # fmt: skip
        sent = shopper.client.get(self._places.endpoint("auth"), params=query)
        code = parse_qs(urlsplit(sent.headers.get("location", "")).query).get("code", [""])[0]
        assert code, f"the account page's client got no code: {sent.status_code}"
        tokens = exchange(
            shopper.client, self._places, client_id="account-console", grant_type="authorization_code", code=code, redirect_uri=page,
            code_verifier=verifier,
        )  # fmt: skip
        headers = {**bearer(tokens.access), "Accept": "application/json"}
        answer = shopper.client.delete(f"{self._places.issuer}/account/sessions", params={"current": "true"}, headers=headers)
        assert answer.status_code == 204, f"the account page's sessions were not ended: {answer.status_code}"

    def disable(self, sub: str) -> None:
        """Close an account."""
        self._change("PUT", sub, {**self._admin.get(f"{self._users}/{sub}", headers=self._bearer()).json(), "enabled": False})

    def delete(self, sub: str) -> None:
        """Delete an account."""
        self._change("DELETE", sub)
        self._made.remove(sub)

    def withdraw_admin(self, sub: str) -> None:
        """Take the role admin from somebody."""
        mapped = self._admin.get(f"{self._users}/{sub}/role-mappings/realm", headers=self._bearer()).json()
        self._change("DELETE", f"{sub}/role-mappings/realm", [role for role in mapped if role["name"] == "admin"])

    def reset_password(self, sub: str) -> None:
        """Give an account another password, as an administrator does."""
        self._change("PUT", f"{sub}/reset-password", {"type": "password", "value": secrets.token_urlsafe(18), "temporary": False})

    def _change(self, method: str, path: str, body: Any = None) -> None:
        answer = self._admin.request(method, f"{self._users}/{path}", json=body, headers=self._bearer())
        assert answer.status_code == 204, f"{method} of a user was answered with {answer.status_code}"

    def leftovers(self, minutes: int) -> list[str]:
        """Ids of users that runs left behind which were killed, at least so many minutes ago."""
        answer = self._admin.get(self._users, params={"search": "live-", "max": 1000}, headers=self._bearer())
        assert answer.status_code == 200, f"the users cannot be listed: {answer.status_code}"
        before = (time.time() - 60 * minutes) * 1000
        ours = [one for one in answer.json() if any(one.get(name, "").startswith("live-") for name in ("username", "email"))]
        return [one["id"] for one in ours if one["createdTimestamp"] < before]

    @property
    def subs(self) -> list[str]:
        """Who was made: the ids are the tokens' ``sub``."""
        return list(self._made)

    def close(self) -> None:
        """Remove everyone who was made."""
        for shopper in self._shoppers:
            shopper.client.close()
        if self._made:
            headers = self._bearer()
            answers = {sub: self._admin.delete(f"{self._users}/{sub}", headers=headers).status_code for sub in self._made}
            assert set(answers.values()) == {204}, f"users were left in the realm: {answers}"
        self._admin.close()
