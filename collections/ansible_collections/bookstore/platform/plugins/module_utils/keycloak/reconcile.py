# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Brings a realm to its declaration: reads, compares, corrects what differs, and tells each difference."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from .api import AdminApi
from .compare import HIDDEN, Change, changes, membership, merged
from .declared import Client, Realm, User

Representation = dict[str, Any]
SCOPE_FIELDS = {"defaultClientScopes": "default-client-scopes", "optionalClientScopes": "optional-client-scopes"}


class Reconciler:
    """One pass over a realm. With ``check`` nothing is written; ``changes`` is what was, or would be, corrected."""

    def __init__(self, api: AdminApi, realm: Realm, check: bool) -> None:
        self.api = api
        self.realm = realm
        self.check = check
        self.changes: list[Change] = []
        self._created: set[str] = set()
        self._roles: dict[str, Representation] = {}
        self._clients: dict[str, Representation] = {}
        self._scopes: dict[str, str] | None = None
        # The role through which every account has the default roles; Keycloak names it.
        self._composite: list[str] = []

    def run(self) -> list[Change]:
        """Correct everything, what others build upon first."""
        live = self._settings()
        self._realm_roles()
        self._default_roles(live)
        self._read_clients()
        for name in self.realm.absent_clients:
            self._absent_client(name)
        for client in self.realm.clients:
            self._client(client)
        # After all clients: a role of one may be given to another.
        for client in self.realm.clients:
            self._client_roles(client)
        for user in self.realm.users:
            self._user(user)
        return self.changes

    @property
    def drift(self) -> list[Change]:
        """Changes of what had been there before this pass; a new object's first corrections are part of its creation."""
        made = self._created
        return [c for c in self.changes if f"realm {self.realm.name}" not in made and c.what.split(":")[0] not in made]

    def _note(self, found: list[Change]) -> bool:
        """Keep changes; tell whether there is something to write."""
        self.changes += found
        self._created |= {change.what for change in found if not change.field and change.old is None}
        return bool(found) and not self.check

    def _get(self, *path: str, **query: str) -> Any:
        return self.api.get(self.realm.name, *path, **query)

    # Realm and roles

    def _settings(self) -> Representation:
        what = f"realm {self.realm.name}"
        live = self.api.get(self.realm.name)
        if live is None:
            if self._note([Change(what, "", None, self.realm.name)]):
                self.api.post(body={"realm": self.realm.name, **self.realm.settings})
            live = self.api.get(self.realm.name) or {}
        # Also right after the creation, in which the server leaves some fields aside.
        if live and self._note(changes(what, live, self.realm.settings)):
            self.api.put(self.realm.name, body=merged(live, self.realm.settings))
        return dict(live)

    def _realm_roles(self) -> None:
        found = {role["name"]: role for role in self._get("roles", briefRepresentation="true", max="1000") or []}
        for name, description in self.realm.roles.items():
            live, wanted = found.get(name), {"name": name, "description": description}
            if live is None:
                if self._note([Change(f"role {name}", "", None, name)]):
                    self.api.post(self.realm.name, "roles", body=wanted)
            elif self._note(changes(f"role {name}", live, wanted)):
                self.api.put(self.realm.name, "roles", name, body=merged(live, wanted))
            if live is None and not self.check:
                found[name] = self._get("roles", name)
        self._roles = found

    def _default_roles(self, live: Representation) -> None:
        composite = live.get("defaultRole") or {}
        parent = str(composite.get("id", ""))
        self._composite = [composite["name"]] if "name" in composite else []
        composites = (self._get("roles-by-id", parent, "composites") or []) if parent else []
        current = [role["name"] for role in composites if not role.get("clientRole") and role["name"] in self.realm.roles]
        if self._note(membership("default roles", "roles", current, self.realm.default_roles)):
            path = (self.realm.name, "roles-by-id", parent, "composites")
            self._exchange(path, current, self.realm.default_roles)

    def _exchange(self, path: tuple[str, ...], current: list[str], wanted: list[str]) -> None:
        """Add and remove realm roles in the collection at ``path``."""
        added = [self._roles[name] for name in sorted(set(wanted) - set(current))]
        removed = [self._roles[name] for name in sorted(set(current) - set(wanted))]
        if added:
            self.api.post(*path, body=added)
        if removed:
            self.api.delete(*path, body=removed)

    # Clients

    def _read_clients(self) -> None:
        self._clients = {client["clientId"]: client for client in self._get("clients", max="1000") or []}

    def _absent_client(self, name: str) -> None:
        live = self._clients.get(name)
        if live is not None and self._note([Change(f"client {name}", "", name, None)]):
            self.api.delete(self.realm.name, "clients", live["id"])

    def _client(self, client: Client) -> None:
        what, fields = f"client {client.id}", {"clientId": client.id, **client.fields}
        live = self._clients.get(client.id)
        if live is None and self._note([Change(what, "", None, client.id)]):
            secret = {} if client.secret is None else {"secret": client.secret}
            self.api.post(self.realm.name, "clients", body={**fields, **secret})
            live = (self._get("clients", clientId=client.id) or [None])[0]
        if live is None:
            return
        self._clients[client.id] = live
        scopes = {key: fields.pop(key) for key in SCOPE_FIELDS if key in fields}
        after, found = live, changes(what, live, fields)
        wanted = merged(live, fields)
        if client.secret is not None and live.get("secret") != client.secret:
            found.append(Change(what, "secret", HIDDEN, HIDDEN))
            wanted["secret"] = client.secret
        if self._note(found):
            self.api.put(self.realm.name, "clients", live["id"], body=wanted)
            # With a service account the server adds a scope whenever the client is written; that is no drift.
            after = self._get("clients", live["id"])
        for key, names in scopes.items():
            self._note(membership(what, key, live.get(key) or [], names))
            if not self.check:
                self._client_scopes(after, key, names)
        if client.mappers is not None:
            self._mappers(what, live, client.mappers)

    def _client_scopes(self, live: Representation, key: str, names: list[str]) -> None:
        """Make a client's scopes of one kind exactly ``names``."""
        current = set(live.get(key) or [])
        if current != set(names) and self._scopes is None:
            self._scopes = {scope["name"]: scope["id"] for scope in self._get("client-scopes")}
        path, ids = (self.realm.name, "clients", live["id"], SCOPE_FIELDS[key]), self._scopes or {}
        for name in sorted(set(names) - current):
            self.api.put(*path, ids[name], body={})
        for name in sorted(current - set(names)):
            self.api.delete(*path, ids[name])

    def _mappers(self, what: str, live: Representation, wanted: list[Representation]) -> None:
        path = (self.realm.name, "clients", live["id"], "protocol-mappers", "models")
        found = {mapper["name"]: mapper for mapper in live.get("protocolMappers") or []}
        for entry in wanted:
            mapper, label = {"protocol": "openid-connect", **entry}, f"{what}: mapper {entry['name']}"
            current = found.get(entry["name"])
            if current is None:
                if self._note([Change(label, "", None, entry["name"])]):
                    self.api.post(*path, body=mapper)
            elif self._note(changes(label, current, mapper)):
                self.api.put(*path, current["id"], body=merged(current, mapper))
        # One that nobody declared could put anything into tokens.
        for name in sorted(set(found) - {entry["name"] for entry in wanted}):
            if self._note([Change(f"{what}: mapper {name}", "", name, None)]):
                self.api.delete(*path, found[name]["id"])

    def _client_roles(self, client: Client) -> None:
        live = self._clients.get(client.id)
        what = f"client {client.id}"
        if client.scope_roles is not None:
            path = ("clients", live["id"], "scope-mappings") if live else None
            self._mapped(f"{what}: roles in tokens", path, client.scope_roles)
        if client.account_roles is not None:
            account = self._get("clients", live["id"], "service-account-user") if live else None
            path = ("users", account["id"], "role-mappings") if account else None
            self._mapped(f"{what}: roles of its account", path, client.account_roles)

    def _mapped(self, what: str, path: tuple[str, ...] | None, wanted: list[str]) -> None:
        """Make the role mappings at ``path`` exactly ``wanted``; names of client roles are ``<client>/<role>``."""
        live: Representation = (self._get(*path) or {}) if path else {}
        current: dict[str, Representation] = {role["name"]: role for role in live.get("realmMappings") or []}
        for mapping in (live.get("clientMappings") or {}).values():
            current.update({f"{mapping['client']}/{role['name']}": role for role in mapping["mappings"]})
        if not self._note(membership(what, "roles", current, wanted)) or path is None:
            return
        for name in sorted(set(wanted) - set(current)):
            self.api.post(self.realm.name, *path, *self._owner(name), body=[self._role(name)])
        for name in sorted(set(current) - set(wanted)):
            self.api.delete(self.realm.name, *path, *self._owner(name), body=[current[name]])

    def _owner(self, name: str) -> tuple[str, ...]:
        client, slash, _ = name.rpartition("/")
        return ("clients", self._clients[client]["id"]) if slash else ("realm",)

    def _role(self, name: str) -> Representation:
        client, slash, role = name.rpartition("/")
        if not slash:
            return self._roles[role]
        return dict(self._get("clients", self._clients[client]["id"], "roles", role))

    # Accounts

    def _user(self, user: User) -> None:
        what, fields = f"user {user.username}", {"username": user.username, **user.fields}
        live = (self._get("users", username=user.username, exact="true", briefRepresentation="false") or [None])[0]
        if live is None:
            if self._note([Change(what, "", None, user.username)]):
                password = {"type": "password", "value": user.password, "temporary": False}
                self.api.post(self.realm.name, "users", body={**fields, "credentials": [password]})
                live = self._get("users", username=user.username, exact="true", briefRepresentation="false")[0]
                self._label(live["id"], user.password)
        elif self._note(changes(what, live, fields)):
            self.api.put(self.realm.name, "users", live["id"], body=merged(live, fields))
        if live is None:
            return
        path = (self.realm.name, "users", live["id"], "role-mappings", "realm")
        managed, wanted = {*self.realm.roles, *self._composite}, [*user.roles, *self._composite]
        current = [role["name"] for role in self.api.get(*path) or [] if role["name"] in managed]
        if self._note(membership(what, "roles", current, wanted)):
            self._exchange(path, current, wanted)
        self._password(what, live["id"], user.password)

    def _password(self, what: str, user: str, password: str) -> None:
        """Set the password when it is not ours.

        It cannot be read. Its label holds a fingerprint of our password and of the moment at which it was set, so that
        another password, here or there, shows.
        """
        stored = self._stored_password(user)
        if stored is not None and stored.get("userLabel") == fingerprint(stored, password):
            return
        if self._note([Change(what, "password", HIDDEN, HIDDEN)]):
            body = {"type": "password", "value": password, "temporary": False}
            self.api.put(self.realm.name, "users", user, "reset-password", body=body)
            self._label(user, password)

    def _stored_password(self, user: str) -> Representation | None:
        found = self._get("users", user, "credentials") or []
        return next((credential for credential in found if credential.get("type") == "password"), None)

    def _label(self, user: str, password: str) -> None:
        stored = self._stored_password(user)
        if stored is not None:
            path = (self.realm.name, "users", user, "credentials", stored["id"], "userLabel")
            self.api.put(*path, body=fingerprint(stored, password))


def fingerprint(credential: Representation, password: str) -> str:
    """Return a text that changes with the password and with the moment at which the credential was set.

    Passwords are random and long (generated_secret), so that nothing can be learnt from it.
    """
    moment = f"{credential['id']}:{credential.get('createdDate')}"
    return f"set by the platform {hmac.new(password.encode(), moment.encode(), hashlib.sha256).hexdigest()[:32]}"
