# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Processes of this host. A number alone names none: it is used again; the time of the start beside it tells them apart."""

from __future__ import annotations

from pathlib import Path

PROC = Path("/proc")


def status(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat after the program's name, or None when the process is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if not fields or fields[0] == "Z" else fields


def started(pid: int) -> str | None:
    """Return when a process started, in ticks since the host's start, or None when it is gone."""
    fields = status(pid)
    return fields[19] if fields else None


def with_ancestors(pid: int) -> list[int]:
    """Return a process and all from which it descends, the nearest first."""
    found = []
    while pid > 0:
        found.append(pid)
        fields = status(pid)
        pid = int(fields[1]) if fields else 0
    return found


def command(pid: int) -> str:
    """Return the beginning of a process's command line; empty when it is gone."""
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return ""
    return words.decode(errors="replace").strip()[:120]
