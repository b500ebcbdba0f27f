"""What was built into a Python package: the CycloneDX documents that wheels bring with them (dist-info/sboms)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from packageurl import PackageURL

from .packages import UNKNOWN, Package

DOCUMENT = re.compile(r".*/(?P<wheel>[^/]+)\.dist-info/sboms/[^/]+\.json")


def packages(path: str, text: str) -> list[Package]:
    """Return the components of a document with a version, but the Python package itself; a document that says nothing is unknown."""
    match = DOCUMENT.fullmatch(path)
    wheel = match["wheel"] if match else ""
    notes = frozenset({("bookstore:bundled-in", wheel)})
    try:
        document = json.loads(text)
        found = [package for component in _components(document) for package in _package(component, notes, path)]
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        reason = frozenset({("bookstore:unknown", f"an SBOM that cannot be read: {error}")})
        return [Package(UNKNOWN, path.rpartition("/")[2], "", notes=reason, places=frozenset({path}))]
    return found


def _components(owner: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for component in owner.get("components", []):
        yield component
        yield from _components(component)


def _package(component: dict[str, Any], notes: frozenset[tuple[str, str]], path: str) -> list[Package]:
    name, version, purl = component["name"], component.get("version"), component.get("purl")
    if not purl:
        return [Package("generic", name, version, notes=notes, places=frozenset({path}))] if version else []
    url = PackageURL.from_string(purl)
    if url.type == "pypi" or not url.version:
        return []
    return [Package(url.type, url.name, url.version, url.namespace or "", notes=notes, places=frozenset({path}))]
