# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Installs packages of the distribution, and first repairs what an installation left that was killed.

The one way in which this project calls apt: roles by the module, the image factory by import, and the scripts in tools/,
before there is a virtual environment, by ``python3 -m`` (so nothing but the standard library may be imported here).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..base import environment

LOCK_SECONDS = 300
TAIL_LINES = 12
MARK = "# Written while the bookstore platform installs packages; its next installation removes what a killed one left."
TEXT = f"#!/bin/sh\n{MARK}\nexit 101\n"

Run = Callable[[Sequence[str], Path], int]


class PackagesError(Exception):
    """Packages cannot be installed; the message names the command and its log."""


@dataclass(frozen=True)
class Places:
    """Files of the host that matter here."""

    policy: Path = Path("/usr/sbin/policy-rc.d")
    journal: Path = Path("/var/lib/dpkg/updates")
    lock: Path = Path("/run/lock/bookstore-packages.lock")

    @property
    def saved(self) -> Path:
        """Where the operator's own policy waits meanwhile."""
        return self.policy.with_name("policy-rc.d.before-bookstore")


def left_over(places: Places) -> bool:
    """Tell whether a killed installation of ours left its policy behind, which would keep services from starting."""
    return places.saved.exists() or (places.policy.is_file() and MARK in places.policy.read_text(errors="replace"))


def restore(places: Places) -> None:
    """Put the operator's policy back, or remove ours."""
    if places.saved.exists():
        os.replace(places.saved, places.policy)
    elif left_over(places):
        places.policy.unlink()


@contextmanager
def no_service_starts(places: Places) -> Iterator[None]:
    """Keep packages from starting services: whoever needs one starts it. The operator's own policy is kept."""
    restore(places)
    if places.policy.exists():
        os.replace(places.policy, places.saved)
    ours = places.policy.with_name(f".policy-rc.d.{os.getpid()}")
    try:
        ours.write_text(TEXT, encoding="ascii")
        ours.chmod(0o755)
        os.replace(ours, places.policy)
        yield
    finally:
        restore(places)


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """Wait for another installation of ours. apt inherits the lock, so one whose caller was killed is waited for, too."""
    places.lock.parent.mkdir(parents=True, exist_ok=True)
    with open(places.lock, "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        os.set_inheritable(handle.fileno(), True)
        yield


def interrupted(places: Places) -> bool:
    """Tell whether dpkg's journal holds steps of a run that did not end; apt refuses everything until they are done."""
    return places.journal.is_dir() and any(entry.name.isdigit() for entry in places.journal.iterdir())


def install(packages: Sequence[str], log: Path, places: Places | None = None, run: Run | None = None) -> bool:
    """Install packages (``a|b``: whichever the release has) and repair what was left; tell whether anything was done."""
    places, run = places or Places(), run or _run
    if not packages and not left_over(places):
        return False
    with alone(places), no_service_starts(places):
        if interrupted(places):
            _must(run, ["dpkg", "--force-confold", "--configure", "-a"], packages, log)
        if packages:
            _must(run, ["apt-get", *_OPTIONS, "update"], packages, log)
            chosen = sorted({available(name, lambda name: run(["apt-cache", "show", name], log) == 0) for name in packages})
            _must(run, ["apt-get", *_OPTIONS, "install", "--yes", "--no-install-recommends", *chosen], packages, log)
    return True


def known_to_apt(name: str) -> bool:
    """Tell whether apt's lists, as old as they are, have a package."""
    return subprocess.run(["apt-cache", "show", name], capture_output=True, check=False).returncode == 0


def available(names: str, known: Callable[[str], bool] = known_to_apt) -> str:
    """Return the first of ``a|b`` that this release of the distribution has, or the last; releases split packages anew."""
    *firsts, last = names.split("|")
    return next((name for name in firsts if known(name)), last)


def _must(run: Run, command: Sequence[str], packages: Sequence[str], log: Path) -> None:
    code = run(command, log)
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:]) if log.is_file() else ""
        raise PackagesError(
            f"BK-113: {', '.join(packages) or 'packages'}: `{' '.join(command)}` ended with exit code {code}; "
            f"is the package registry reachable? (log: {log}):\n{tail}"
        )


_OPTIONS = ("-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}", "-o", "Dpkg::Use-Pty=0")


def _run(command: Sequence[str], log: Path) -> int:
    env = {**environment.clean(os.environ), "DEBIAN_FRONTEND": "noninteractive", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        return subprocess.run(
            list(command), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, check=False,
            close_fds=False,
        ).returncode


def main(arguments: Sequence[str]) -> int:
    """``debian_packages LOG PACKAGE...``: install, or print why not."""
    try:
        install(arguments[1:], Path(arguments[0]))
    except (PackagesError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
