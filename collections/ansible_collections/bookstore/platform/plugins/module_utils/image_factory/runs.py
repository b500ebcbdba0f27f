"""Which processes run the factory, so that what they write can be removed without a race.

A build in the background outlives the playbook that started it when that is interrupted. Each run notes its process in a
folder; a note counts only while that very process lives, told by the time of its start.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..waiter import wait_for
from .errors import FactoryError

PROC = Path("/proc")
# A client that is told to end gets so long to clean up after itself.
END_SECONDS = 20.0
KILL_SECONDS = 10.0


def _status(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat after the program's name, or None when the process is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields


def _started(pid: int) -> str | None:
    fields = _status(pid)
    return fields[19] if fields else None


@contextmanager
def noted(folder: Path | None) -> Iterator[None]:
    """Note this process in ``folder`` while the block runs."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    alive = set(running(folder))
    for stale in folder.iterdir():
        if stale.name.isdigit() and int(stale.name) not in alive:
            stale.unlink(missing_ok=True)
    note = folder / str(os.getpid())
    note.write_text(_started(os.getpid()) or "", encoding="ascii")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def running(folder: Path) -> list[int]:
    """Return the processes that are noted and still live."""
    if not folder.is_dir():
        return []
    notes = {int(note.name): note.read_text(encoding="ascii") for note in folder.iterdir() if note.name.isdigit()}
    return sorted(pid for pid, started in notes.items() if started and _started(pid) == started)


def with_descendants(pids: list[int]) -> list[int]:
    """Return processes and all that they started, each before what it started."""
    parents: dict[int, int] = {}
    for entry in PROC.iterdir():
        fields = _status(int(entry.name)) if entry.name.isdigit() else None
        if fields:
            parents[int(entry.name)] = int(fields[1])
    found = list(pids)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return found


def end(folder: Path) -> list[int]:
    """End all noted runs and what they started, first politely; return their processes. FactoryError when one stays."""
    pids = running(folder)
    family = {pid: _started(pid) for pid in with_descendants(pids)}

    def left() -> list[int]:
        return [pid for pid, started in family.items() if started and _started(pid) == started]

    for number, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        for pid in left():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone meanwhile; or it is reported below
                os.kill(pid, number)
        if wait_for(left, lambda pids: not pids, timeout=seconds, interval=0.1).done:
            return pids
    raise FactoryError(f"BK-123: builds still run as processes {', '.join(map(str, left()))}; end them, then run again")
