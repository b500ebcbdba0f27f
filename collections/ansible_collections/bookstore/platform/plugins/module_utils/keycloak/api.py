# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The admin REST API: requests, tokens and errors. Nothing here logs or returns a password, secret or token."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlencode

# The API is on this host's loopback address: no proxy of the environment may come between.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ADMIN_REALM = "master"


class KeycloakError(Exception):
    """The server could not be reached, or refused; ``status`` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class SignInRefusedError(KeycloakError):
    """The server does not accept this administrator."""


class AdminApi:
    """A signed-in administrator. Paths are relative to ``<url>/admin/realms``; values are JSON."""

    def __init__(self, url: str, timeout: float = 15.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._token = ""
        self.requests = 0

    def answers(self) -> str:
        """Return an empty text when the server answers, else what happened instead."""
        try:
            self._send("GET", f"{self.url}/realms/{ADMIN_REALM}", None, {})
        except KeycloakError as error:
            return str(error)
        return ""

    def sign_in(self, username: str, password: str) -> None:
        """Get a token for the following requests; SignInRefusedError when the password is not this user's."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": username, "password": password}
        url = f"{self.url}/realms/{ADMIN_REALM}/protocol/openid-connect/token"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            text = self._send("POST", url, urlencode(form).encode(), headers)
        except KeycloakError as error:
            if error.status in (400, 401):
                raise SignInRefusedError(f"{self.url} refuses the administrator {username}", error.status) from error
            raise
        self._token = str(json.loads(text)["access_token"])

    def get(self, *path: str, **query: str) -> Any:
        """Return the value at a path, or None when it does not exist."""
        try:
            text = self._send("GET", self._at(path, query), None, self._bearer())
        except KeycloakError as error:
            if error.status == 404:
                return None
            raise
        return json.loads(text) if text else None

    def post(self, *path: str, body: Any) -> None:
        """Create something."""
        self._write("POST", path, body)

    def put(self, *path: str, body: Any) -> None:
        """Replace something; a text is sent as plain text."""
        self._write("PUT", path, body)

    def delete(self, *path: str, body: Any = None) -> None:
        """Delete something; some collections take what is to be removed as ``body``."""
        self._write("DELETE", path, body)

    def _write(self, method: str, path: tuple[str, ...], body: Any) -> None:
        kind = "text/plain" if isinstance(body, str) else "application/json"
        data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        self._send(method, self._at(path, {}), data, {**self._bearer(), "Content-Type": kind})

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _at(self, path: tuple[str, ...], query: dict[str, str]) -> str:
        parts = [quote(part, safe="") for part in path]
        return "/".join([f"{self.url}/admin/realms", *parts]) + (f"?{urlencode(query)}" if query else "")

    def _send(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> str:
        self.requests += 1
        request = urllib.request.Request(url, data=data, method=method, headers={"Accept": "application/json", **headers})
        try:
            with _DIRECT.open(request, timeout=self._timeout) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                reason = _reason(error.read().decode("utf-8", "replace"))
            raise KeycloakError(f"BK-153: {method} {url} was refused with {error.code}: {reason}", error.code) from None
        except OSError as error:
            raise KeycloakError(f"BK-154: Keycloak does not answer on {self.url}: {getattr(error, 'reason', error)}") from None


def _reason(text: str) -> str:
    """Return the server's own words; they name fields, never values of secrets."""
    try:
        found = json.loads(text)
    except ValueError:
        return text[:200]
    words = [str(found[key]) for key in ("errorMessage", "error_description", "error") if found.get(key)] if isinstance(found, dict) else []
    return words[0][:300] if words else text[:200]
