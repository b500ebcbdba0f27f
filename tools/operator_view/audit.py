"""`make audit`: asks an advisory service for known weaknesses of the images' packages, and says plainly what it could not ask.

Exit status: 0 everything was asked and nothing was found that was not judged; 3 there are findings; 4 no findings, but not everything
could be asked, which says nothing of what was not; 1 the audit could not begin.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from ansible_collections.bookstore.platform.plugins.module_utils.images.errors import FactoryError
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom import document
from ansible_collections.bookstore.platform.plugins.module_utils.images.sbom.packages import UNKNOWN, Package
from operator_view import findings, judged, osv, sbom, settings

CLEAN, FAILED, FOUND, UNCHECKED = 0, 1, 3, 4
REPORT = "audit.json"
# More than so many images, packages or versions are told by their number.
MOST_NAMES = 3


@dataclass
class Outcome:
    """``counted``: findings that nobody judged. ``unasked``: package to why it is not checked."""

    images: list[str]
    packages: int
    counted: list[findings.Finding] = field(default_factory=list)
    judged: list[findings.Finding] = field(default_factory=list)
    unasked: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Everything was asked, and every answer was read."""
        return not self.unasked and not self.unread

    @property
    def status(self) -> int:
        """The exit status."""
        if self.counted:
            return FOUND
        return CLEAN if self.whole else UNCHECKED


def documents(folder: Path) -> dict[str, document.Reading]:
    """Return the documents of a folder by image; FactoryError (BK-414) when there are none."""
    files = sorted(folder.glob(f"*{sbom.SUFFIX}"))
    if not files:
        raise FactoryError(f"BK-414: {folder} holds no document named *{sbom.SUFFIX}; run: make sbom")
    return {file.name.removesuffix(sbom.SUFFIX): document.read(file.read_text(encoding="utf-8"), str(file)) for file in files}


def audit(
    readings: dict[str, document.Reading], rules: judged.Rules, service: osv.Service, today: date, missing: Sequence[str] = ()
) -> Outcome:
    """Ask for every package of the documents; ``missing`` images have none."""
    asked: dict[osv.Question, list[tuple[str, Package]]] = {}
    valid = [one for one in rules.judgements if today <= one.until]
    outcome = Outcome(sorted(readings), len({package.purl.to_string() for reading in readings.values() for package in reading.packages}))
    outcome.unasked = dict.fromkeys((f"image {image}" for image in missing), "it has no document; run: make sbom")
    for image, reading in readings.items():
        if not reading.packages:
            outcome.unasked[f"image {image}"] = "no package of it is known"
        for package in reading.packages:
            found = osv.questions(package, rules.known_as)
            for question in found:
                asked.setdefault(question, []).append((image, package))
            if not found and not any(one.covers((judged.UNCHECKED,), findings.plain(package), image) for one in valid):
                outcome.unasked[_named(image, package)] = "the service knows no ecosystem that it belongs to"
    answers = service.ask(asked)
    outcome.unasked.update({
        f"{question.ecosystem} {question.name} {question.version}": why for question, why in sorted(answers.unanswered.items())
    })
    # Whatever the service left out without a word.
    outcome.unasked.update({
        f"{question.ecosystem} {question.name} {question.version}": "no answer"
        for question in asked if question not in answers.found and question not in answers.unanswered
    })
    outcome.unread = findings.unread(answers)
    _judge(outcome, findings.collect(answers, asked), rules, today)
    return outcome


def _named(image: str, package: Package) -> str:
    return f"{image}: {', '.join(sorted(package.places))}" if package.kind == UNKNOWN else package.purl.to_string()


def _judge(outcome: Outcome, found: list[findings.Finding], rules: judged.Rules, today: date) -> None:
    """Part the findings into those that count and those that were judged."""
    used: set[judged.Judgement] = set()
    valid = [one for one in rules.judgements if today <= one.until]
    for finding in found:
        counted: list[str] = []
        covered: list[str] = []
        for image in finding.images:
            match = next((one for one in valid if one.covers(finding.ids, finding.package, image)), None)
            (covered if match else counted).append(image)
            if match:
                used.add(match)
        if counted:
            outcome.counted.append(replace(finding, images=tuple(counted)))
        if covered:
            outcome.judged.append(replace(finding, images=tuple(covered)))
    for one in rules.judgements:
        if one not in valid:
            outcome.notes.append(f"BK-415: the judgement of {one.id} of {one.package} ended on {one.until}: judge it again, or remove it")
        elif one not in used and outcome.whole and one.id != judged.UNCHECKED:
            outcome.notes.append(f"BK-415: the judgement of {one.id} of {one.package} is of nothing that was found; remove it")


def lines(outcome: Outcome) -> list[str]:
    """Return the outcome as text; what was not checked stands last, before the sum."""
    out: list[str] = []
    if outcome.counted:
        rows: list[tuple[str, ...]] = [("severity", "advisory", "package", "version", "fixed in", "images")]
        rows += [
            (one.severity, one.id, one.package.removeprefix("pkg:"), one.version, _few(one.fixed) or "nothing yet", _few(one.images))
            for one in outcome.counted
        ]
        out += sbom.aligned(rows)
    out += [f"judged: {one.id} of {one.package} {one.version} in {_few(one.images)}" for one in outcome.judged]
    out += outcome.notes
    for why, names in _by_reason(outcome.unasked).items():
        out.append(f"BK-416: NOT CHECKED: {len(names)} of {_few(names)}: {why}")
    if outcome.unread:
        out.append(f"BK-416: NOT READ: {len(outcome.unread)} advisories, so their severity is unknown: {_few(outcome.unread)}")
    out.append(_sum(outcome))
    return out


def _by_reason(unasked: dict[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, why in unasked.items():
        grouped.setdefault(why, []).append(name)
    return grouped


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def _sum(outcome: Outcome) -> str:
    """Return the last line. It never says that nothing is known of what was not asked."""
    of = f"{outcome.packages} packages of {len(outcome.images)} images"
    whole = "" if outcome.whole else f"; NOT CHECKED: {len(outcome.unasked)} packages, NOT READ: {len(outcome.unread)} advisories"
    if outcome.counted:
        counts = Counter(one.severity for one in outcome.counted)
        told = ", ".join(f"{counts[name]} {name}" for name in findings.SEVERITIES if counts[name])
        found = f"{len(outcome.counted)} findings ({told}), {len(outcome.judged)} judged"
        return f"BK-417: {found}, in {of}{whole}; docs/updates.md says what to do"
    if outcome.whole:
        return f"No weakness is known to the service that nobody judged: {of} checked, {len(outcome.judged)} findings judged"
    return f"No statement about {of}{whole}"


def write(outcome: Outcome, service: str, file: Path) -> None:
    """Write all of the outcome, for other programs."""
    entries = {
        name: [{**asdict(one), "ids": sorted(one.ids)} for one in found]
        for name, found in (("findings", outcome.counted), ("judged", outcome.judged))
    }
    content = {
        "service": service, "time": datetime.now(UTC).isoformat(timespec="seconds"), "status": outcome.status, "images": outcome.images,
        "packages": outcome.packages, **entries, "not_checked": outcome.unasked, "advisories_not_read": outcome.unread,
    }
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] = (), today: date | None = None) -> int:
    """Print the outcome."""
    parser = argparse.ArgumentParser(prog="tools/audit", description="Ask an advisory service for weaknesses of the images' packages.")
    parser.add_argument("--documents", type=Path, help="a folder of documents; without it those of this host's images are made")
    parser.add_argument("--service", help="another address than the inventory's bookstore_advisory_service")
    given = parser.parse_args(arguments)
    os.umask(0o022)
    day = today or datetime.now(UTC).date()
    try:
        rules = judged.load(day)
        address = judged.address(given.service) if given.service else rules.service
        folder, missing = given.documents, []
        if folder is None:
            folder, missing = sbom.REPORTS, list(sbom.renew(settings.load()).missing)
        outcome = audit(documents(folder), rules, osv.Service(address), day, missing)
        write(outcome, address, folder / REPORT)
    except (FactoryError, OSError) as error:
        print(error)
        return FAILED
    print("\n".join(lines(outcome)))
    return outcome.status
