"""What ginkgo reports, and the table that is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from operator_view.conformance import ConformanceError
from operator_view.conformance.selection import Group

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
FAILURES = frozenset({"failed", "panicked", "timedout", "interrupted", "aborted"})
CUT_OFF = frozenset({"interrupted", "aborted"})
UNKNOWN = "UNKNOWN"
LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class Spec:
    """One spec that was run, or would not run here. ``message``: what the suite says of a failure, or why it skipped the spec."""

    group: str
    text: str
    state: str
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Judged:
    """A spec that did not pass. ``known``: it stands among the deviations, or the suite itself says why it does not apply."""

    spec: Spec
    reason: str
    known: bool


@dataclass
class Report:
    """Everything of a run."""

    started: datetime
    processes: int
    version: str = ""
    specs: list[Spec] = field(default_factory=list)
    # Group to the seconds that it took, specs side by side.
    seconds: dict[str, float] = field(default_factory=dict)
    deviations: Mapping[str, str] = field(default_factory=dict)
    left_behind: list[str] = field(default_factory=list)
    # What was not asked for on this host, with the reason.
    left_out: list[str] = field(default_factory=list)
    interrupted: bool = False

    def not_passed(self) -> list[Judged]:
        """Return each spec that did not pass, with its reason."""
        found = []
        for spec in self.specs:
            if spec.state == PASSED:
                continue
            reason = self.deviations.get(spec.text)
            known = reason is not None or spec.state == SKIPPED
            found.append(Judged(spec, reason or spec.message or UNKNOWN, known))
        return found

    def unknown(self) -> list[Judged]:
        """Return the failures that nobody gave a reason for."""
        return [one for one in self.not_passed() if not one.known]

    def better(self) -> list[Spec]:
        """Return the specs that pass, although they are known not to."""
        return [spec for spec in self.specs if spec.state == PASSED and spec.text in self.deviations]

    @property
    def good(self) -> bool:
        """Tell whether every spec passed, or does not with a known reason, and left nothing; a run that was interrupted says nothing."""
        return not self.unknown() and not self.left_behind and not self.interrupted


def read(file: Path, group: Group, interrupted: bool = False) -> tuple[list[Spec], set[str]]:
    """Return the specs of a group that ginkgo reports as run or skipped, and the texts of all specs of the suite.

    ``interrupted``: somebody ended the run, so that a spec which was cut off did not fail. ConformanceError (BK-424) when there is
    no such report.
    """
    try:
        suites: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        reports = [report for suite in suites for report in suite.get("SpecReports") or []]
    except (OSError, ValueError) as error:
        raise ConformanceError(f"BK-424: the suite ended without a report ({error}); its log says why") from error
    specs: list[Spec] = []
    texts: set[str] = set()
    for report in reports:
        node, state = report.get("LeafNodeType", ""), report.get("State", "")
        text = " ".join([*(report.get("ContainerHierarchyTexts") or []), report.get("LeafNodeText", "")]).strip()
        message = _short((report.get("Failure") or {}).get("Message", ""))
        seconds = round(report.get("RunTime", 0) / 1e9, 1)
        if node == "It":
            texts.add(text)
        elif state in FAILURES:
            # What is before and after all specs is told only when it goes wrong.
            text = f"[{node}] {text}".strip()
        else:
            continue
        if state == "passed":
            specs.append(Spec(group.name, text, PASSED, seconds))
        elif interrupted and state in CUT_OFF:
            specs.append(Spec(group.name, text, SKIPPED, seconds, "not finished: the run was interrupted"))
        elif state in FAILURES:
            specs.append(Spec(group.name, text, FAILED, seconds, message or state))
        elif message:
            # Without a message it was not chosen.
            specs.append(Spec(group.name, text, SKIPPED, seconds, message))
    return specs, texts


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}…"


def rows(report: Report, groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return the table: heading, one row for each group, and the sum."""
    table: list[tuple[str, ...]] = [("group", PASSED, FAILED, SKIPPED, "duration")]
    for group in groups:
        table.append((group.title, *_counts(spec for spec in report.specs if spec.group == group.name),
                      duration(report.seconds.get(group.name, 0.0))))
    table.append(("all", *_counts(report.specs), duration(sum(report.seconds.values()))))
    return table


def _counts(specs: Iterable[Spec]) -> list[str]:
    states = [spec.state for spec in specs]
    return [str(states.count(state)) for state in (PASSED, FAILED, SKIPPED)]


def duration(seconds: float) -> str:
    """Return seconds as people read them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def markdown(report: Report, groups: Sequence[Group]) -> str:
    """Return the report for people."""
    table = [f"| {' | '.join(row)} |" for row in rows(report, groups)]
    table.insert(1, f"|{'---|' * len(rows(report, groups)[0])}")
    lines = [
        "# Conformance", "",
        f"Kubernetes' test suite on the running platform ({report.version}), {report.started:%Y-%m-%d %H:%M}; "
        f"{report.processes} specs at once.",
        "", *table, "",
    ]  # fmt: skip
    lines += [line for reason in report.left_out for line in (f"Left out: {reason}.", "")]
    if report.interrupted:
        lines += ["**The run was interrupted:** what is missing here was not run.", ""]
    judged = report.not_passed()
    if judged:
        lines += ["| does not pass | state | reason |", "|---|---|---|"]
        for one in sorted(judged, key=lambda one: (one.known, one.spec.text)):
            reason = one.reason if one.known else f"**{UNKNOWN}**: {one.reason}"
            lines.append(f"| {_cell(one.spec.text)} | {one.spec.state} | {_cell(reason)} |")
        lines.append("")
    lines += [f"- passes, although it is known not to: {spec.text}; remove its entry from the deviations" for spec in report.better()]
    lines += [f"- left behind in the cluster: {name}" for name in report.left_behind]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def document(report: Report, groups: Sequence[Group]) -> dict[str, Any]:
    """Return the report for programs."""
    counted = rows(report, groups)[1:-1]
    titles = [dict(zip(("title", PASSED, FAILED, SKIPPED), (row[0], *map(int, row[1:4])), strict=True)) for row in counted]
    reasons = {id(one.spec): one for one in report.not_passed()}
    specs = []
    for spec in sorted(report.specs, key=lambda spec: (spec.group, spec.text)):
        entry = asdict(spec)
        if id(spec) in reasons:
            entry |= {"reason": reasons[id(spec)].reason, "known": reasons[id(spec)].known}
        specs.append(entry)
    return {
        "started": report.started.isoformat(timespec="seconds"), "version": report.version, "processes": report.processes,
        "good": report.good, "interrupted": report.interrupted, "left_behind": report.left_behind,
        "left_out": report.left_out,
        "groups": [{"name": group.name, **title, "seconds": round(report.seconds.get(group.name, 0.0), 1)}
                   for group, title in zip(groups, titles, strict=True)],
        "specs": specs,
    }  # fmt: skip
