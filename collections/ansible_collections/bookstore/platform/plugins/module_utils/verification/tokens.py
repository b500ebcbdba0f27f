# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens to try the gateway with: real ones of the clients for tests, and forged ones."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Object, Tokens, Web


class ClientTokens(Tokens):
    """Signs clients in by their secrets (client credentials), through the gateway; a token is kept in memory only.

    ``source``: {host, path, namespace, secret}: the host and path of the token endpoint, and the Secret whose keys are
    the clients' ids.
    """

    def __init__(self, web: Web, cluster: Cluster, source: Object) -> None:
        self.web = web
        self.cluster = cluster
        self.source = source
        self._tokens: dict[str, str] = {}
        # Checks run in threads.
        self._lock = threading.Lock()

    def of(self, client: str) -> str:
        with self._lock:
            if client not in self._tokens:
                self._tokens[client] = self._sign_in(client)
            return self._tokens[client]

    def _sign_in(self, client: str) -> str:
        where = f"{self.source['namespace']}/{self.source['secret']}"
        found = self.cluster.get("Secret", self.source["namespace"], self.source["secret"])
        if found is None or client not in (found.get("data") or {}):
            raise ClusterError(f"BK-323: Secret {where} with key {client} does not exist; the role keycloak makes it")
        secret = base64.b64decode(found["data"][client]).decode("utf-8")
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret}
        answer = self.web.https(
            self.source["host"],
            self.source["path"],
            "POST",
            {"Content-Type": "application/x-www-form-urlencoded"},
            urllib.parse.urlencode(form),
        )
        # The body is not quoted: it may hold a token.
        if answer.status != 200:
            raise OSError(f"{self.source['host']}{self.source['path']} answered {answer.status} to client {client}")
        return str(json.loads(answer.body)["access_token"])


def _part(value: Object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forgeries(issuer: str, audience: str) -> dict[str, str]:
    """Return tokens that nobody may accept, by what is wrong with them; none is signed with a key of the issuer."""
    now = int(time.time())
    claims = {"iss": issuer, "aud": audience, "sub": "forged", "roles": ["admin", "customer"], "iat": now, "exp": now + 300}
    signature = base64.urlsafe_b64encode(bytes(256)).rstrip(b"=").decode()
    rs256 = _part({"alg": "RS256", "typ": "JWT", "kid": "forged"})
    return {
        "no JWT": "forged",
        "alg=none": f"{_part({'alg': 'none', 'typ': 'JWT'})}.{_part(claims)}.",
        "alg=HS256": f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}.{signature[:43]}",
        "unknown key": f"{rs256}.{_part(claims)}.{signature}",
        "other issuer": f"{rs256}.{_part({**claims, 'iss': 'https://elsewhere.test'})}.{signature}",
        "expired": f"{rs256}.{_part({**claims, 'exp': now - 300})}.{signature}",
    }
