# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""What a realm shall be: read from plain data, checked before the first request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CLIENT_KEYS = frozenset({"id", "fields", "mappers", "scope_roles", "account_roles", "secret"})
USER_KEYS = frozenset({"username", "fields", "roles", "password"})


class DeclarationError(ValueError):
    """The declaration contradicts itself, or names a secret that is not there."""


@dataclass(frozen=True)
class Client:
    """A client. What is None is not managed; ``*_roles`` are names of realm roles, or ``<client>/<role>``."""

    id: str
    fields: dict[str, Any]
    mappers: list[dict[str, Any]] | None
    scope_roles: list[str] | None
    account_roles: list[str] | None
    secret: str | None = field(repr=False)


@dataclass(frozen=True)
class User:
    """An account with a password of ours; ``roles`` are those of the declared realm roles that it has by itself."""

    username: str
    fields: dict[str, Any]
    roles: list[str]
    password: str = field(repr=False)


@dataclass(frozen=True)
class Realm:
    """A realm. ``roles`` map names to descriptions; ``default_roles`` are those of them that new accounts get."""

    name: str
    settings: dict[str, Any]
    roles: dict[str, str]
    default_roles: list[str]
    clients: list[Client]
    absent_clients: list[str]
    users: list[User]


def _secret(values: Mapping[str, str], key: str, what: str, source: str) -> str:
    if not values.get(key):
        raise DeclarationError(f"BK-156: {what}: Secret {source} has no value {key!r}; generated_secret makes it")
    return values[key]


def _known(given: Mapping[str, Any], keys: frozenset[str], what: str) -> None:
    unknown = sorted(set(given) - keys)
    if unknown:
        raise DeclarationError(f"BK-156: {what}: unknown key {unknown[0]!r}; use {', '.join(sorted(keys))}")


def realm(data: Mapping[str, Any], clients: Mapping[str, str], passwords: Mapping[str, str], sources: tuple[str, str]) -> Realm:
    """Return the declaration with its secrets filled in; DeclarationError for what cannot be meant.

    ``data``: name, settings, roles, default_roles, clients, absent_clients, users. ``clients`` and ``passwords`` are the
    values of the two Secrets that ``sources`` names.
    """
    roles: dict[str, str] = dict(data["roles"])
    made = []
    for entry in data["clients"]:
        what = f"client {entry.get('id')}"
        _known(entry, CLIENT_KEYS, what)
        for name in [*(entry.get("scope_roles") or []), *(entry.get("account_roles") or [])]:
            if "/" not in name and name not in roles:
                known = ", ".join(sorted(roles))
                raise DeclarationError(f"BK-156: {what}: role {name!r} is not among {known}; write <client>/<role> for others")
        secret = _secret(clients, entry["secret"], what, sources[0]) if entry.get("secret") else None
        made.append(Client(entry["id"], dict(entry.get("fields") or {}), entry.get("mappers"), entry.get("scope_roles"),
                           entry.get("account_roles"), secret))
    twice = {client.id for client in made} & set(data["absent_clients"])
    if twice:
        raise DeclarationError(f"BK-156: client {sorted(twice)[0]} is declared and declared absent; remove one")
    users = []
    for entry in data["users"]:
        what = f"user {entry.get('username')}"
        _known(entry, USER_KEYS, what)
        password = _secret(passwords, entry["password"], what, sources[1])
        users.append(User(entry["username"], dict(entry.get("fields") or {}), list(entry.get("roles") or []), password))
    for name in [*data["default_roles"], *(role for user in users for role in user.roles)]:
        if name not in roles:
            raise DeclarationError(f"BK-156: role {name!r} is not declared; there are {', '.join(sorted(roles))}")
    return Realm(data["name"], dict(data["settings"]), roles, list(data["default_roles"]), made, list(data["absent_clients"]), users)
