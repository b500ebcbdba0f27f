# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Which Secrets a service uses, and a fingerprint by which its pods notice that one of them changed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

Object = dict[str, Any]


def used_keys(service: Object, common: Object) -> dict[str, set[str]]:
    """Return Secret name to the keys that a service uses.

    ``service``: {name, database?: {name}, secrets?: {variable: {name, key}}}; ``common``: secrets of all services.
    """
    used: dict[str, set[str]] = {}
    for reference in {**({} if service.get("worker") else common), **(service.get("secrets") or {})}.values():
        used.setdefault(reference["name"], set()).add(reference["key"])
    if service.get("database"):
        # A worker leaves that to its service, unless it has none.
        migrates = not service.get("worker") or service.get("migrates")
        for role in ("owner", "app") if migrates else ("app",):
            used[f"{service['database']['name']}-{role}"] = {"username", "password"}
    return used


def used_secrets(services: list[Object], common: Object) -> list[tuple[str, str]]:
    """Return namespace and name of all Secrets that services use, each once."""
    return sorted({(service["namespace"], name) for service in services for name in used_keys(service, common)})


def fingerprints(services: list[Object], common: Object, found: list[Object]) -> dict[str, str]:
    """Return service name to a hash (16 hexadecimal digits) of the values that it takes from Secrets.

    The values are random and long, so the hash tells nothing about them. ``found``: Secrets of the cluster.
    ValueError names a Secret or key that does not exist.
    """
    known = {(s["metadata"]["namespace"], s["metadata"]["name"]): s.get("data") or {} for s in found}
    made = {}
    for service in services:
        values = {}
        for secret, keys in used_keys(service, common).items():
            data = known.get((service["namespace"], secret))
            if data is None:
                raise ValueError(
                    f"BK-134: Secret {service['namespace']}/{secret} of service {service['name']} does not exist; "
                    "the roles databases, redis and keycloak make it: run make up"
                )
            for key in keys:
                if key not in data:
                    raise ValueError(f"BK-134: Secret {service['namespace']}/{secret} has no key {key}, which {service['name']} uses")
                values[f"{secret}/{key}"] = data[key]
        made[service["name"]] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    return made
