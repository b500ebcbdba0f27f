"""npm packages: those that a browser application is bundled of, from its lock file, and those that an image holds as such."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from ..errors import FactoryError
from .packages import Package

MANIFEST = re.compile(r".*/node_modules/(@[^/]+/)?[^/@.][^/]*/package\.json")
ALGORITHMS = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512", "sha1": "SHA-1"}


def locked(text: str, lock: str) -> list[Package]:
    """Return a lock file's production packages: what only builds or tests the application is no part of it."""
    try:
        entries: dict[str, dict[str, Any]] = json.loads(text)["packages"]
    except (ValueError, KeyError, TypeError) as error:
        raise FactoryError(f"BK-410: {lock} is no lock file of npm 7 or newer ({error}); `npm install` writes one") from error
    found = []
    for path, entry in entries.items():
        if not path or entry.get("dev") or entry.get("link") or "version" not in entry:
            continue
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        found.append(_package(name, entry["version"], lock, _hashes(entry.get("integrity", ""))))
    return found


def installed(path: str, manifest: str) -> list[Package]:
    """Return the package whose package.json this is; none where it lacks name or version."""
    try:
        entry = json.loads(manifest)
    except ValueError:
        return []
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not isinstance(entry.get("version"), str):
        return []
    return [_package(entry["name"], entry["version"], path.rpartition("/")[0])]


def _package(name: str, version: str, place: str, hashes: frozenset[tuple[str, str]] = frozenset()) -> Package:
    group, _, plain = name.rpartition("/")
    return Package("npm", plain, version, group, hashes=hashes, places=frozenset({place}))


def _hashes(integrity: str) -> frozenset[tuple[str, str]]:
    """Return the digests of a lock's integrity field, such as sha512-<base64>."""
    found = set()
    for part in integrity.split():
        algorithm, _, value = part.partition("-")
        if algorithm in ALGORITHMS:
            try:
                found.add((ALGORITHMS[algorithm], base64.b64decode(value, validate=True).hex()))
            except binascii.Error:
                continue
    return frozenset(found)
