"""Runs one group of the suite: ginkgo beside its log, with progress on the screen, and an end when somebody interrupts it."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from ansible_collections.bookstore.platform.plugins.module_utils.base import processes
from operator_view.conformance.outcomes import duration
from operator_view.conformance.selection import Group, Options

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# After an interrupt ginkgo lets specs tidy up; then it is ended with all that it started.
GRACE_SECONDS = 90.0
PROGRESS_SECONDS = 30.0
TIMEOUT = "4h"
CHOSEN = re.compile(r"Will run (\d+) of \d+ specs")
FAILED = re.compile(r"•.*\[(FAILED|PANICKED|TIMEDOUT)\]")


@dataclass(frozen=True)
class Built:
    """Where the playbook put everything."""

    suite: Path
    kubectl: Path
    registries: Path
    kubeconfig: Path


def command(built: Built, group: Group, options: Options, report: Path) -> list[str]:
    """Return ginkgo's command line."""
    return [
        # What runs nothing, ginkgo does not do in parallel.
        str(built.suite / "ginkgo"), f"--procs={1 if options.list_only else options.processes}", "--no-color", "--silence-skips",
        f"--timeout={TIMEOUT}",
        f"--label-filter={options.labels(group)}", *(f"--focus={pattern}" for pattern in options.focus),
        f"--output-dir={report.parent}", f"--json-report={report.name}", *(["--dry-run"] if options.list_only else []),
        str(built.suite / "e2e.test"), "--",
        "--provider=skeleton", f"--kubeconfig={built.kubeconfig}", f"--kubectl-path={built.kubectl}",
        # Of half an hour otherwise: that the nodes are ready is asked before.
        "--node-schedulable-timeout=3m",
    ]  # fmt: skip


def environment(caller: Mapping[str, str], built: Built, scratch: Path) -> dict[str, str]:
    """Return the environment of the suite: its images' names, and nothing of the caller's that clients of a cluster would follow."""
    # The cluster and its nodes are on this host: no proxy reaches them.
    kept = {name: value for name, value in caller.items() if not name.lower().endswith("_proxy") and name != "KUBECONFIG"}
    return {**kept, "KUBE_TEST_REPO_LIST": str(built.registries), "HOME": str(scratch), "TMPDIR": str(scratch)}


def end_earlier(built: Built, proc: Path = processes.PROC) -> list[int]:
    """End processes of the suite that outlived a run which was killed; return them. The caller holds the lock: none is another run's."""
    programs = {str(built.suite / name) for name in ("ginkgo", "e2e.test")}
    ended = []
    for folder in sorted(proc.glob("[0-9]*")):
        # Gone meanwhile, or not ours to end.
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
            if arguments[0] in programs and f"--kubeconfig={built.kubeconfig}" in arguments:
                os.kill(int(folder.name), signal.SIGKILL)
                ended.append(int(folder.name))
    return ended


class Screen:
    """Reads what ginkgo prints, and tells how far it is."""

    def __init__(self, title: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.say, self.clock = title, say, clock
        self.total = self.done = self.failed = 0
        self._began = self._told = clock()
        self._failure = False
        self._line = ""

    def read(self, text: str) -> None:
        """Take the next piece of the output, wherever it was cut."""
        self.done += text.count("•")
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._whole(line)
        if self.clock() - self._told >= PROGRESS_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Say how far it is."""
        self._told = self.clock()
        failed = f", {self.failed} failed" if self.failed else ""
        self.say(f"   {self.title}: {self.done} of {self.total or '?'} specs{failed}, {duration(self.clock() - self._began)}")

    def _whole(self, line: str) -> None:
        if found := CHOSEN.search(line):
            self.total = int(found.group(1))
        if FAILED.search(line):
            self.failed += 1
            self._failure = True
        elif self._failure and line.strip():
            # The line after is the spec's text.
            self._failure = False
            self.say(f"   failed: {line.strip()}")


class Interruption:
    """Notes that somebody wants the run to end; the first time ginkgo is asked to, so that specs tidy up."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = threading.Event()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of signals."""
        if not self.wanted.is_set():
            self.wanted.set()
            self.ask()

    def ask(self) -> None:
        """Ask what runs to end."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                # All that it started, as a terminal does: ginkgo does not hand it on to the processes that run specs.
                os.killpg(self.process.pid, signal.SIGINT)

    @contextmanager
    def watched(self) -> Iterator[Interruption]:
        """Handle signals while the block runs."""
        before = {number: signal.signal(number, self) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    arguments: list[str], settings: Mapping[str, str], log: Path, screen: Screen, interruption: Interruption, grace: float = GRACE_SECONDS
) -> float:
    """Run ginkgo to its end; return the seconds it took. Its result is in its report."""
    began = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "w", encoding="utf-8") as output,
        # In a session of its own: the terminal's ^C reaches it once, through the handler.
        subprocess.Popen(
            arguments,
            env=dict(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        interruption.process = process
        # A signal that came before there was a process.
        if interruption.wanted.is_set():
            interruption.ask()
        assert process.stdout is not None
        reader = threading.Thread(target=_copy, args=(process.stdout, output, screen))
        reader.start()
        try:
            _wait(process, interruption, grace)
        finally:
            # Whatever it started and left.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            reader.join()
            interruption.process = None
    screen.tell()
    return time.monotonic() - began


def _wait(process: subprocess.Popen[bytes], interruption: Interruption, grace: float) -> None:
    deadline: float | None = None
    while True:
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            if interruption.wanted.is_set() and deadline is None:
                deadline = time.monotonic() + grace
            if deadline is None or time.monotonic() < deadline:
                continue
        return


def _copy(source: IO[bytes], log: IO[str], screen: Screen) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while piece := os.read(source.fileno(), 65536):
        text = decoder.decode(piece)
        log.write(text)
        log.flush()
        screen.read(text)
