"""The findings that were judged, as the inventory lists them: each with its reason, and for a year at most."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError
from operator_view import settings

FILE = "advisories.yml"
KEYS = {"id", "package", "reason", "judged", "until"}
LONGEST = timedelta(days=366)
SHORTEST_REASON = 20
ID = re.compile(r"[A-Z][A-Za-z0-9]*-[\w.:-]+")
PACKAGE = re.compile(r"pkg:[a-z]+/[^@?\s]+")
# In the place of an advisory: the package is one that the service has no name for.
UNCHECKED = "NOT-CHECKED"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Judgement:
    """A finding that does not count until the day ``until`` has passed."""

    id: str
    package: str
    reason: str
    judged: date
    until: date
    images: tuple[str, ...] = ()

    def covers(self, ids: Iterable[str], package: str, image: str) -> bool:
        """Tell whether it speaks of this finding."""
        return self.id in ids and self.package == package and (not self.images or image in self.images)


@dataclass(frozen=True)
class Rules:
    """All of the file."""

    service: str
    known_as: tuple[dict[str, str], ...]
    judgements: tuple[Judgement, ...]


def load(today: date, folder: Path = settings.GROUP_VARS) -> Rules:
    """Read the file; FactoryError (BK-415, BK-418) that names the entry and what to write instead."""
    try:
        found = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FactoryError(f"BK-415: {folder / FILE} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise FactoryError(f"BK-415: {folder / FILE} must hold the variables bookstore_advisory_service and bookstore_advisories_*")
    entries = found.get("bookstore_advisories_judged")
    if not isinstance(entries, list):
        raise FactoryError(f"BK-415: bookstore_advisories_judged={entries!r} must be a list; write [] for none")
    judgements = tuple(_judgement(entry, number, today) for number, entry in enumerate(entries))
    seen: set[tuple[str, str, tuple[str, ...]]] = set()
    for one in judgements:
        if (one.id, one.package, one.images) in seen:
            raise FactoryError(f"BK-415: bookstore_advisories_judged: {one.id} of {one.package} stands there twice; remove one")
        seen.add((one.id, one.package, one.images))
    return Rules(address(found.get("bookstore_advisory_service")), _known_as(found.get("bookstore_advisories_known_as")), judgements)


def address(value: Any) -> str:
    """Return the service's address; FactoryError (BK-418) when nothing it says could be trusted."""
    parts = urlsplit(value if isinstance(value, str) else "")
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)):
        return str(value)
    raise FactoryError(
        f"BK-418: bookstore_advisory_service={value!r} must be an https:// address (http:// only of this host), such as https://api.osv.dev"
    )


def _known_as(entries: Any) -> tuple[dict[str, str], ...]:
    right = isinstance(entries, list) and all(
        isinstance(entry, dict) and set(entry) == {"package", "ecosystem", "name"} and all(isinstance(v, str) for v in entry.values())
        for entry in entries
    )
    if not right:
        raise FactoryError("BK-415: bookstore_advisories_known_as must be a list of entries with package, ecosystem, name; or []")
    return tuple(entries)


def _judgement(entry: Any, number: int, today: date) -> Judgement:
    def wrong(why: str) -> FactoryError:
        return FactoryError(f"BK-415: bookstore_advisories_judged[{number}]: {why}")

    if not isinstance(entry, Mapping) or not KEYS <= set(entry) <= {*KEYS, "images"}:
        raise wrong(f"it must have {', '.join(sorted(KEYS))}, and may have images; it is {entry!r}")
    if not isinstance(entry["id"], str) or not ID.fullmatch(entry["id"]):
        raise wrong(f"id={entry['id']!r} is no advisory; write one such as CVE-2026-12345")
    if not isinstance(entry["package"], str) or not PACKAGE.fullmatch(entry["package"]):
        raise wrong(f"package={entry['package']!r} is no package's URL without a version; write one such as pkg:pypi/jinja2")
    if not isinstance(entry["reason"], str) or len(entry["reason"].strip()) < SHORTEST_REASON:
        raise wrong(f"reason={entry['reason']!r} must tell why it harms nothing here, in at least {SHORTEST_REASON} letters")
    for name in ("judged", "until"):
        # A date-time is a date, too.
        if type(entry[name]) is not date:
            raise wrong(f"{name}={entry[name]!r} must be a day; write one such as 2026-11-28")
    if entry["judged"] > today:
        raise wrong(f"judged={entry['judged']} has yet to come; write the day on which it was judged")
    if not entry["judged"] < entry["until"] <= entry["judged"] + LONGEST:
        raise wrong(f"until={entry['until']} must be after judged={entry['judged']}, by a year at most")
    images = entry.get("images", [])
    if not isinstance(images, list) or not all(isinstance(name, str) for name in images) or ("images" in entry and not images):
        raise wrong(f"images={images!r} must be a list of names; leave it out for all")
    return Judgement(entry["id"], entry["package"], entry["reason"].strip(), entry["judged"], entry["until"], tuple(sorted(images)))
