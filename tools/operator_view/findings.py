"""What advisories say of the images' packages: one finding for each weakness of a package, whatever names it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError

from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom.packages import Package
from operator_view.osv import Answers, Question

SEVERITIES = ("critical", "high", "medium", "low", "none", "unimportant", "unknown")
SCORES = {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}
BOUNDS = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"), (0.0, "none"))
# Names of one weakness, the most common first.
PREFERRED = ("CVE-", "GHSA-", "GO-", "PYSEC-")
MODERATE = {"moderate": "medium", "important": "high", "negligible": "low"}


@dataclass(frozen=True)
class Finding:
    """``ids``: all names of the weakness, ``id`` the most common. ``fixed``: versions that lack it, none where there is none.

    ``severity`` is unknown where the advisory does not say it, or could not be read.
    """

    id: str
    ids: frozenset[str]
    package: str
    version: str
    severity: str
    fixed: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def order(self) -> tuple[int, str, str]:
        """Sort by this: the worst first."""
        return SEVERITIES.index(self.severity), self.package, self.id


def plain(package: Package) -> str:
    """Return a package's URL without its version."""
    return package.purl.to_string().partition("?")[0].rpartition("@")[0]


def collect(answers: Answers, asked: Mapping[Question, Iterable[tuple[str, Package]]]) -> list[Finding]:
    """Return all findings, the worst first. ``asked`` tells of which images and packages each question was."""
    merged: dict[tuple[str, str, str], Finding] = {}
    for question, ids in answers.found.items():
        for names, records in _weaknesses(ids, answers.records):
            name = _common(names)
            severity = min((_severity(record, question) for record in records), key=SEVERITIES.index, default="unknown")
            fixed = tuple(sorted({version for record in records for version in _fixed(record, question)}))
            for image, package in asked[question]:
                key = (name, plain(package), package.version)
                one = Finding(name, names, key[1], package.version, severity, fixed, (image,))
                known = merged.get(key)
                merged[key] = one if known is None else replace(
                    known, ids=known.ids | one.ids, images=tuple(sorted({*known.images, image})),
                    severity=min(known.severity, severity, key=SEVERITIES.index), fixed=tuple(sorted({*known.fixed, *fixed})),
                )
    return sorted(merged.values(), key=lambda finding: finding.order)


def unread(answers: Answers) -> list[str]:
    """Return the advisories that were named, and could not be read."""
    return sorted({name for ids in answers.found.values() for name in ids} - set(answers.records))


def _weaknesses(ids: set[str], records: Mapping[str, dict[str, Any]]) -> list[tuple[frozenset[str], list[dict[str, Any]]]]:
    """Return the names and advisories of each weakness: several advisories may speak of one. Withdrawn ones are left out."""
    groups: list[tuple[set[str], list[dict[str, Any]]]] = []
    for name in sorted(ids):
        record = records.get(name)
        if record is not None and record.get("withdrawn"):
            continue
        names, mine = {name, *_other_names(record or {})}, [record] if record is not None else []
        for group in [group for group in groups if group[0] & names]:
            groups.remove(group)
            names |= group[0]
            mine += group[1]
        groups.append((names, mine))
    return [(frozenset(names), mine) for names, mine in groups]


def _other_names(record: Mapping[str, Any]) -> set[str]:
    """Return aliases, and what an advisory of a distribution was made from."""
    return {name for key in ("aliases", "upstream") for name in _entries(record, key) if isinstance(name, str)}


def _common(names: frozenset[str]) -> str:
    for prefix in PREFERRED:
        found = sorted(name for name in names if name.startswith(prefix))
        if found:
            return found[0]
    return min(names)


def _entries(record: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list of a record; another thing in its place counts as none."""
    value = record.get(key)
    return value if isinstance(value, list) else []


def _affected(record: Mapping[str, Any], question: Question) -> list[dict[str, Any]]:
    """Return what an advisory says of the package that was asked for, in the release that was asked for."""
    found = []
    for entry in _entries(record, "affected"):
        package = entry.get("package") if isinstance(entry, dict) else None
        if isinstance(package, dict) and package.get("ecosystem") == question.ecosystem and package.get("name") == question.name:
            found.append(entry)
    return found


def _fixed(record: Mapping[str, Any], question: Question) -> set[str]:
    """Return the versions in which a weakness is gone; an advisory may name one for each line of releases."""
    ranges = [part for entry in _affected(record, question) for part in _entries(entry, "ranges") if isinstance(part, dict)]
    events = [event for part in ranges if part.get("type") != "GIT" for event in _entries(part, "events") if isinstance(event, dict)]
    return {str(event["fixed"]) for event in events if event.get("fixed")}


def _severity(record: Mapping[str, Any], question: Question) -> str:
    """Return how bad an advisory says that it is: what the distribution says of its package, else its score, else its word."""
    affected = _affected(record, question)
    urgencies = {_word(entry.get("ecosystem_specific"), "urgency") for entry in affected}
    if "unimportant" in urgencies:
        return "unimportant"
    scored = [part for owner in (record, *affected) for part in _entries(owner, "severity") if isinstance(part, dict)]
    scores = [score for part in scored if (score := _score(part)) is not None]
    if scores:
        return next(name for least, name in BOUNDS if max(scores) >= least)
    stated = [str(part.get("score", "")).lower() for part in scored]
    words = [_word(record.get("database_specific"), "severity"), *stated, *sorted(urgencies)]
    known = [name for word in words if (name := MODERATE.get(word, word)) in SEVERITIES]
    return known[0] if known else "unknown"


def _word(value: Any, key: str) -> str:
    return str(value.get(key) or "").lower() if isinstance(value, dict) else ""


def _score(part: Mapping[str, Any]) -> float | None:
    """Return the base score of a vector."""
    reader, vector = SCORES.get(str(part.get("type"))), part.get("score")
    if reader is None or not isinstance(vector, str):
        return None
    try:
        return float(reader(vector).base_score)
    except (CVSSError, ValueError):
        return None
