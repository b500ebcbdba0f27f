"""Which specs of the suite are run: groups, by the suite's own labels, and the command's options."""

from __future__ import annotations

import argparse
import errno
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

MOST_PROCESSES = 16
# Specs that need the cluster for themselves, or take a node away, are no business of a cluster that serves.
PARALLEL = "Conformance && !Serial && !Disruptive"
# Specs that need a protocol of the kernel; without it each waits for pods that cannot start, and says nothing of the cluster.
SCTP = "Feature: containsAny SCTPConnectivity"
SCTP_LEFT_OUT = "this host's kernel has no SCTP: the specs with the feature SCTPConnectivity are left out"


@dataclass(frozen=True)
class Group:
    """``labels``: ginkgo's label filter; ``sctp``: it has specs that need SCTP."""

    name: str
    title: str
    labels: str
    sctp: bool = False


def kernel_has_sctp() -> bool:
    """Tell whether the kernel, which the nodes share, opens sockets of SCTP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        return error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)
    return True


GROUPS = (
    Group("network-policy", "NetworkPolicy", "Feature: containsAny NetworkPolicy && !Serial && !Disruptive", sctp=True),
    Group("network", "conformance, network", f"{PARALLEL} && sig-network"),
    Group("other", "conformance, all others", f"{PARALLEL} && !sig-network"),
)


@dataclass(frozen=True)
class Options:
    """What is run: all specs of ``groups`` whose text matches one of ``focus`` (all when empty), ``processes`` at once.

    ``sctp``: the kernel has it.
    """

    groups: tuple[Group, ...] = GROUPS
    focus: tuple[str, ...] = ()
    processes: int = 4
    list_only: bool = False
    sctp: bool = True

    def labels(self, group: Group) -> str:
        """Return ginkgo's label filter of a group on this kernel."""
        return group.labels if self.sctp or not group.sctp else f"{group.labels} && !({SCTP})"

    @property
    def left_out(self) -> list[str]:
        """Return what the groups have and is not run on this host, with the reason."""
        return [SCTP_LEFT_OUT] if not self.sctp and any(group.sctp for group in self.groups) else []

    @property
    def whole(self) -> bool:
        """Tell whether this is everything that the command knows."""
        return self.groups == GROUPS and not self.focus


class Parser(argparse.ArgumentParser):
    """Its errors have an id."""

    def error(self, message: str) -> NoReturn:
        """End the program with exit status 2."""
        super().error(f"BK-421: {message}")


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line; a wrong one ends the program with exit status 2."""
    parser = Parser(prog="make conformance ARGS=...", description="Run Kubernetes' test suite on the platform.")
    names = [group.name for group in GROUPS]
    parser.add_argument("--group", action="append", choices=names, help="run this group only; may be repeated")
    parser.add_argument("--focus", action="append", default=[], metavar="REGEX", help="run specs whose text matches; may be repeated")
    parser.add_argument("--procs", type=int, default=Options.processes, metavar="N", help="specs that run at once (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list what would be run, and run nothing")
    given = parser.parse_args(arguments)
    if not 1 <= given.procs <= MOST_PROCESSES:
        parser.error(f"--procs={given.procs} must be from 1 to {MOST_PROCESSES}")
    for pattern in given.focus:
        try:
            re.compile(pattern)
        except re.error as error:
            parser.error(f"--focus={pattern!r} is no regular expression: {error}; put \\ before brackets")
    chosen = tuple(group for group in GROUPS if given.group is None or group.name in given.group)
    return Options(chosen, tuple(given.focus), given.procs, given.list, kernel_has_sctp())
