"""`make conformance`: builds the suite, runs the chosen groups, writes reports/conformance.md and .json, and leaves nothing behind.

Exit status: 0 every spec passed, or does not for a known reason; 1 one failed that nobody gave a reason for, something was left behind,
or the run could not go on; 2 wrong options; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from operator_view import settings
from operator_view.conformance import ConformanceError, deviations, leftovers, outcomes, preflight, suite
from operator_view.conformance.selection import Group, Options, parse

REPORTS = settings.ROOT / "reports"
SCRATCH = "run-"
GOOD, FAILED, INTERRUPTED = 0, 1, 130


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)


def build(folder: Path, interruption: suite.Interruption) -> suite.Built:
    """Build the suite and its images with the image factory; ConformanceError when that fails, which it has told itself then."""
    say("== building the suite and its images (what is there is taken)")
    command = ["ansible-playbook", str(settings.ROOT / "conformance.yml")]
    with subprocess.Popen(command, cwd=settings.ROOT, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        interruption.process = process
        code = process.wait()
        interruption.process = None
    if code != 0 and not interruption.wanted.is_set():
        raise ConformanceError("BK-425: the suite or its images could not be built; what was told above says why")
    if interruption.wanted.is_set():
        raise ConformanceError("interrupted while the suite was built; run again to go on")
    found: dict[str, str] = json.loads((folder / "built.json").read_text(encoding="utf-8"))
    return suite.Built(**{name: Path(found[name]) for name in ("suite", "kubectl", "registries", "kubeconfig")})


class Run:
    """One run of the chosen groups on the platform."""

    def __init__(self, options: Options, known: settings.Settings, built: suite.Built, interruption: suite.Interruption) -> None:
        self.options, self.known, self.built, self.interruption = options, known, built, interruption
        self.folder = known.state / "conformance"
        self.texts: set[str] = set()

    def group(self, group: Group) -> tuple[list[outcomes.Spec], float]:
        """Run one group; return its specs and the seconds that it took."""
        report = self.folder / f"{group.name}.json"
        report.unlink(missing_ok=True)
        log = self.known.state / "logs" / f"conformance-{group.name}.log"
        say(f"== {group.title}, log: {log}")
        command = suite.command(self.built, group, self.options, report)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self.folder, ignore_cleanup_errors=True) as scratch:
            environment = suite.environment(os.environ, self.built, Path(scratch))
            seconds = suite.run(command, environment, log, suite.Screen(group.title, say), self.interruption)
        if self.interruption.wanted.is_set() and not report.exists():
            return [], seconds
        specs, texts = outcomes.read(report, group, self.interruption.wanted.is_set())
        self.texts |= texts
        return specs, seconds

    def all(self, report: outcomes.Report) -> None:
        """Run the groups one after another, between a cluster without anything of the suite and one like that again."""
        kubectl = leftovers.Kubectl(self.built.kubectl, self.built.kubeconfig)
        version: dict[str, Any] = json.loads(kubectl("version", "--output=json"))
        report.version = version["serverVersion"]["gitVersion"]
        if earlier := suite.end_earlier(self.built):
            say(f"   ended {len(earlier)} processes of the suite, which an earlier run left")
        for scratch in self.folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(scratch)
        for name in leftovers.end(kubectl, self.known.namespaces):
            say(f"   ended namespace {name}, which an earlier run left")
        before = leftovers.outside(kubectl)
        memory = leftovers.Memory(self.folder / "before.json")
        for name in memory.earlier(before):
            say(f"   BK-428: a run that was killed left this, unless something else made it since: {name}; kubectl delete {name}")
        memory.keep(before)
        try:
            for group in self.options.groups:
                if not self.interruption.wanted.is_set():
                    specs, report.seconds[group.name] = self.group(group)
                    report.specs += specs
        finally:
            report.interrupted = self.interruption.wanted.is_set()
            if report.interrupted:
                say("   interrupted: ending the suite's namespaces")
            leftovers.end(kubectl, self.known.namespaces)
            report.left_behind = leftovers.left_behind(kubectl, before)
            memory.forget()

    def listed(self) -> int:
        """Print the specs that would be run."""
        for group in self.options.groups:
            specs, _ = self.group(group)
            say("\n".join(sorted(spec.text for spec in specs if spec.state == outcomes.PASSED)))
        return GOOD


def write(report: outcomes.Report, groups: Sequence[Group], folder: Path = REPORTS) -> None:
    """Write both reports."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conformance.md").write_text(outcomes.markdown(report, groups), encoding="utf-8")
    document = json.dumps(outcomes.document(report, groups), indent=1, ensure_ascii=False)
    (folder / "conformance.json").write_text(document + "\n", encoding="utf-8")


def tell(report: outcomes.Report, groups: Sequence[Group]) -> int:
    """Print the table and what needs somebody's attention; return the exit status."""
    rows = outcomes.rows(report, groups)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    say("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows))
    for one in report.not_passed():
        say(f"{one.spec.state}{'' if one.known else f' ({outcomes.UNKNOWN})'}: {one.spec.text}: {one.reason}")
    for spec in report.better():
        say(f"passes, although it is known not to: {spec.text}; remove its entry from {deviations.FILE}")
    for name in report.left_behind:
        say(f"BK-428: left behind in the cluster, unless something else made it meanwhile: {name}; kubectl delete {name}")
    say(f"reports: {REPORTS}/conformance.md and .json")
    if report.interrupted:
        return INTERRUPTED
    if report.unknown():
        say(f"BK-426: {len(report.unknown())} specs failed for no known reason; the log of their group has what they saw")
    return GOOD if report.good else FAILED


def perform(options: Options, known: settings.Settings, interruption: suite.Interruption) -> int:
    """Do all of it; return the exit status."""
    reasons = deviations.load()
    preflight.require_alone(known)
    preflight.require_platform(known)
    for reason in options.left_out:
        say(f"   {reason}")
    run = Run(options, known, build(known.state / "conformance", interruption), interruption)
    if options.list_only:
        return run.listed()
    report = outcomes.Report(datetime.now().astimezone(), options.processes, deviations=reasons, left_out=options.left_out)
    try:
        run.all(report)
    finally:
        # What was seen is told, whatever went wrong after it.
        if report.specs or report.interrupted:
            write(report, options.groups)
    if not report.specs and not report.interrupted:
        raise ConformanceError("BK-424: no spec was chosen; `make conformance ARGS=--list` shows all that there are")
    if run.texts:
        deviations.require_known(reasons, run.texts)
    return tell(report, options.groups)


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    options = parse(arguments)
    os.umask(0o022)
    with suite.Interruption().watched() as interruption:
        try:
            return perform(options, settings.load(), interruption)
        except ConformanceError as error:
            say(str(error))
        except OSError as error:
            say(f"BK-429: {error}")
        return INTERRUPTED if interruption.wanted.is_set() else FAILED
