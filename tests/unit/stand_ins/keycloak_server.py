"""A small admin REST API, as far as the modules use it: a real HTTP server over a dictionary of realms."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Object = dict[str, Any]
TOKEN = "token-of-the-administrator"
_numbers = itertools.count(1)


def _new_id() -> str:
    return f"id{next(_numbers)}"


class FakeKeycloak:
    """State and log of the server. ``passwords`` maps administrators to passwords; ``writes`` are (method, path)."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.realms: dict[str, Object] = {}
        self.requests: list[tuple[str, str]] = []
        self.refuse: dict[tuple[str, str], int] = {}
        self.locked: set[str] = set()
        self.add_realm("master", {})
        handler = type("Handler", (_Handler,), {"keycloak": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def writes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.requests if method != "GET" and "/protocol/" not in path]

    def add_realm(self, name: str, settings: Object) -> Object:
        default = {"id": _new_id(), "name": f"default-roles-{name}", "composites": []}
        shown_default = {"id": default["id"], "name": default["name"]}
        realm = {
            "settings": {"sslRequired": "external", **settings, "realm": name, "defaultRole": shown_default},
            "roles": [default, {"id": _new_id(), "name": "admin"}] if name == "master" else [default],
            "clients": [], "users": [], "mappings": {},
            "scopes": [{"id": _new_id(), "name": scope} for scope in ("basic", "roles", "service_account")],
        }  # fmt: skip
        self.realms[name] = realm
        if name != "master":
            self.add_client(name, {"clientId": "realm-management"})
            self.client(name, "realm-management")["_roles"] = [{"id": _new_id(), "name": "manage-users", "clientRole": True}]
        return realm

    def add_client(self, realm: str, body: Object) -> Object:
        scopes = {"defaultClientScopes": body.get("defaultClientScopes", ["basic"]), "optionalClientScopes": []}
        client = {"secret": "made by the server", "attributes": {}, **body, **scopes, "id": _new_id(), "_roles": []}
        client["protocolMappers"] = [{"id": _new_id(), **mapper} for mapper in body.get("protocolMappers", [])]
        if body.get("serviceAccountsEnabled"):
            client["defaultClientScopes"] = [*client["defaultClientScopes"], "service_account"]
            client["_account"] = self.add_user(realm, {"username": f"service-account-{body['clientId']}"})["id"]
        self.realms[realm]["clients"].append(client)
        return client

    def add_user(self, realm: str, body: Object) -> Object:
        user = {"enabled": False, **body, "id": _new_id(), "_credentials": []}
        for credential in user.pop("credentials", []):
            self.set_password(user, credential["value"])
        self.realms[realm]["users"].append(user)
        default = self.realms[realm]["roles"][0]
        self.realms[realm]["mappings"][f"users/{user['id']}"] = {"realm": [default]}
        return user

    def set_password(self, user: Object, password: str) -> None:
        """Keycloak keeps the credential's id, gives it another date and forgets its label."""
        old = user["_credentials"][0]["id"] if user["_credentials"] else _new_id()
        user["_credentials"] = [{"id": old, "type": "password", "createdDate": next(_numbers), "_value": password}]
        self.passwords[user["username"]] = password

    def client(self, realm: str, name: str) -> Object:
        return next(client for client in self.realms[realm]["clients"] if client["clientId"] == name)

    def user(self, realm: str, name: str) -> Object:
        return next(user for user in self.realms[realm]["users"] if user["username"] == name)

    def role_names(self, realm: str, kind: str, key: str) -> list[str]:
        mapping = self.realms[realm]["mappings"].get(f"{kind}/{key}", {})
        return sorted(role["name"] for roles in mapping.values() for role in roles)


def shown(value: Object) -> Object:
    """Return an object without what only this stand-in knows."""
    return {key: item for key, item in value.items() if not key.startswith("_")}


class _Handler(BaseHTTPRequestHandler):
    keycloak: FakeKeycloak
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, value: Any = None) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _handle(self) -> None:
        url = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.keycloak.requests.append((self.command, url.path))
        if (self.command, url.path) in self.keycloak.refuse:
            return self._answer(self.keycloak.refuse[self.command, url.path], {"errorMessage": "no such thing here"})
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts[0] == "realms":
            return self._public(parts, text)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "HTTP 401 Unauthorized"})
        plain = self.headers.get("Content-Type") == "text/plain"
        body = text if plain else json.loads(text) if text else None
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        return self._admin(parts[2:], query, body)

    # The protocol's names.
    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def _public(self, parts: list[str], text: str) -> None:
        if len(parts) == 2:
            return self._answer(200, {"realm": parts[1]})
        form = {key: values[0] for key, values in parse_qs(text).items()}
        if self.keycloak.passwords.get(form["username"]) != form["password"] or form["username"] in self.keycloak.locked:
            return self._answer(401, {"error": "invalid_grant", "error_description": "Invalid user credentials"})
        return self._answer(200, {"access_token": TOKEN})

    def _admin(self, path: list[str], query: dict[str, str], body: Any) -> None:
        if not path:
            self.keycloak.add_realm(body["realm"], body)
            return self._answer(201)
        realm = self.keycloak.realms.get(path[0])
        if realm is None:
            return self._answer(404, {"error": "Realm not found."})
        if len(path) == 1:
            if self.command == "PUT":
                realm["settings"] = body
                return self._answer(204)
            return self._answer(200, realm["settings"])
        return getattr(self, "_" + path[1].replace("-", "_"))(path[0], realm, path[2:], query, body)

    def _roles(self, name: str, realm: Object, path: list[str], query: dict[str, str], body: Any) -> None:
        if self.command == "POST":
            realm["roles"].append({"id": _new_id(), **body})
            return self._answer(201)
        if not path:
            return self._answer(200, [shown(role) for role in realm["roles"]])
        role = next(role for role in realm["roles"] if role["name"] == path[0])
        if self.command == "PUT":
            role.update(body)
        return self._answer(200, shown(role))

    def _roles_by_id(self, name: str, realm: Object, path: list[str], query: dict[str, str], body: Any) -> None:
        role = next(role for role in realm["roles"] if role["id"] == path[0])
        self._exchange(role.setdefault("composites", []), body)

    def _exchange(self, roles: list[Object], body: Any) -> None:
        """Serve a collection of roles."""
        if self.command == "GET":
            return self._answer(200, list(roles))
        names = {role["name"] for role in body}
        roles[:] = [role for role in roles if role["name"] not in names] + (body if self.command == "POST" else [])
        return self._answer(204)

    def _client_scopes(self, name: str, realm: Object, path: list[str], query: dict[str, str], body: Any) -> None:
        self._answer(200, realm["scopes"])

    def _clients(self, name: str, realm: Object, path: list[str], query: dict[str, str], body: Any) -> None:
        if not path:
            if self.command == "POST":
                self.keycloak.add_client(name, body)
                return self._answer(201)
            return self._answer(200, [shown(c) for c in realm["clients"] if query.get("clientId", c["clientId"]) == c["clientId"]])
        client = next(c for c in realm["clients"] if c["id"] == path[0])
        if path[1:] == ["service-account-user"]:
            return self._answer(200, {"id": client["_account"]})
        if path[1:2] == ["roles"]:
            return self._answer(200, next(role for role in client["_roles"] if role["name"] == path[2]))
        if path[1:2] == ["scope-mappings"]:
            return self._mappings(realm, f"clients/{path[0]}", path[2:], body)
        if path[1:2] == ["protocol-mappers"]:
            return self._mappers(client["protocolMappers"], path[3:], body)
        if len(path) == 3:
            key = {"default-client-scopes": "defaultClientScopes", "optional-client-scopes": "optionalClientScopes"}[path[1]]
            scope = next(s["name"] for s in realm["scopes"] if s["id"] == path[2])
            client[key] = [s for s in client[key] if s != scope] + ([scope] if self.command == "PUT" else [])
            return self._answer(204)
        if self.command == "GET":
            return self._answer(200, shown(client))
        if self.command == "DELETE":
            realm["clients"].remove(client)
        else:
            # Like Keycloak, which takes mappers and scopes at their own addresses only, and adds a scope by itself.
            client.update({key: value for key, value in body.items() if key not in ("protocolMappers", "defaultClientScopes")})
            if "_account" in client and "service_account" not in client["defaultClientScopes"]:
                client["defaultClientScopes"].append("service_account")
        return self._answer(204)

    def _mappers(self, mappers: list[Object], path: list[str], body: Any) -> None:
        mappers[:] = [mapper for mapper in mappers if not path or mapper["id"] != path[0]]
        if self.command != "DELETE":
            mappers.append({"id": _new_id(), **body})
        self._answer(204)

    def _mappings(self, realm: Object, key: str, path: list[str], body: Any) -> None:
        mapping = realm["mappings"].setdefault(key, {})
        if not path:
            clients = {c["id"]: c["clientId"] for c in realm["clients"]}
            others = {clients[k]: {"client": clients[k], "mappings": roles} for k, roles in mapping.items() if k != "realm" and roles}
            return self._answer(200, {"realmMappings": mapping.get("realm", []), "clientMappings": others})
        return self._exchange(mapping.setdefault(path[-1], []), body)

    def _attack_detection(self, name: str, realm: Object, path: list[str], query: dict[str, str], body: Any) -> None:
        user = next(u for u in realm["users"] if u["id"] == path[2])
        self.keycloak.locked.discard(user["username"])
        self._answer(204)

    def _users(self, name: str, realm: Object, path: list[str], query: dict[str, str], body: Any) -> None:
        if not path:
            if self.command == "POST":
                self.keycloak.add_user(name, body)
                return self._answer(201)
            return self._answer(200, [shown(u) for u in realm["users"] if query.get("username", u["username"]) == u["username"]])
        user = next(u for u in realm["users"] if u["id"] == path[0])
        if path[1:2] == ["role-mappings"]:
            return self._mappings(realm, f"users/{path[0]}", path[2:], body)
        if path[1:] == ["credentials"]:
            return self._answer(200, [shown(credential) for credential in user["_credentials"]])
        if path[1:2] == ["credentials"]:
            user["_credentials"][0]["userLabel"] = body
        elif path[1:] == ["reset-password"]:
            self.keycloak.set_password(user, body["value"])
        elif self.command == "DELETE":
            realm["users"].remove(user)
        else:
            user.update(body)
        return self._answer(204)
