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

from ..base import processes
from ..base.waiter import wait_for
from .errors import FactoryError

# A client that is told to end gets so long to clean up after itself.
END_SECONDS = 20.0
KILL_SECONDS = 10.0


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
    note.write_text(processes.started(os.getpid()) or "", encoding="ascii")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def running(folder: Path) -> list[int]:
    """Return the processes that are noted and still live."""
    if not folder.is_dir():
        return []
    notes = {int(note.name): note.read_text(encoding="ascii") for note in folder.iterdir() if note.name.isdigit()}
    return sorted(pid for pid, started in notes.items() if started and processes.started(pid) == started)


def with_descendants(pids: list[int]) -> list[int]:
    """Return processes and all that they started, each before what it started."""
    parents: dict[int, int] = {}
    for entry in processes.PROC.iterdir():
        fields = processes.status(int(entry.name)) if entry.name.isdigit() else None
        if fields:
            parents[int(entry.name)] = int(fields[1])
    found = list(pids)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return found


def end(folder: Path) -> list[int]:
    """End all noted runs and what they started, first politely; return their processes. FactoryError when one stays."""
    pids = running(folder)
    family = {pid: processes.started(pid) for pid in with_descendants(pids)}

    def left() -> list[int]:
        return [pid for pid, started in family.items() if started and processes.started(pid) == started]

    for number, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        for pid in left():
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone meanwhile; or it is reported below
                os.kill(pid, number)
        if wait_for(left, lambda pids: not pids, timeout=seconds, interval=0.1).done:
            return pids
    raise FactoryError(f"BK-123: builds still run as processes {', '.join(map(str, left()))}; end them, then run again")
