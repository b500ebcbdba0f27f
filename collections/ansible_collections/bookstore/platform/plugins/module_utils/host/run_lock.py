# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""One run at a time for a state folder and for a cluster's name, on this host and for all its users.

A run is a process. It is noted in a folder that all users share, and the note counts for as long as that very process lives, so
nothing has to be released. What a killed run started may outlive it for a while; what must not be disturbed then (the making of
the cluster) is held by :func:`alone`, whose lock the started programs inherit.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible_collections.bookstore.platform.plugins.module_utils.base import processes
from ansible_collections.bookstore.platform.plugins.module_utils.base.waiter import wait_for

# Not below $TMPDIR, which each user may have set otherwise, and not in the state folder: two of them can name one cluster.
FOLDER = Path("/tmp/bookstore-platform-runs")
BOOT_ID = processes.PROC / "sys/kernel/random/boot_id"
DIGITS = re.compile(r"[0-9]+")


class LockError(Exception):
    """Another run holds what this one needs; the message names its process."""


def scopes(state: Path, cluster: str) -> list[str]:
    """Return what a run of the platform holds."""
    return [f"state folder {Path(os.path.realpath(state))}", f"cluster {cluster}"]


def acquire(pid: int, wanted: Sequence[str], folder: Path = FOLDER) -> None:
    """Note that process ``pid`` holds ``wanted``.

    LockError when another live process holds any of it. One from which ``pid`` descends is no other: it started this run.
    """
    started = processes.started(pid)
    if started is None:
        raise LockError(f"BK-295: process {pid}, for which the lock is asked, is gone; run again")
    with _opened(folder):
        family = processes.with_ancestors(pid)
        for note in _live(folder):
            common = sorted(set(wanted) & set(note["scopes"]))
            if common and note["pid"] not in family:
                raise LockError(
                    f"BK-295: another run holds {' and '.join(common)}: process {note['pid']} ({processes.command(note['pid'])}), "
                    f"since {note['since']}; wait for its end, or end it, then run again"
                )
        text = json.dumps({
            "started": started, "boot": _boot(), "scopes": list(wanted),
            "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        })
        temporary = folder / f".{pid}.{os.getpid()}"
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)
        os.replace(temporary, folder / str(pid))


@contextmanager
def alone(name: str, timeout: float, folder: Path = FOLDER) -> Iterator[None]:
    """Hold the lock ``name``; what is started meanwhile inherits it. LockError when it is not free within ``timeout`` seconds."""
    with _opened(folder):
        path = folder / f"lock-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    # Another user's file can be read, and that is enough for a lock.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if not wait_for(lambda: _locked(handle), bool, timeout=timeout).done:
            raise LockError(
                f"BK-253: {name} is still being changed by what an earlier run started, after {timeout:.0f} s; "
                "`ps -ef` shows it (kind, kubeadm, docker); wait for its end, or end it, then run again"
            )
        os.set_inheritable(handle, True)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(folder: Path) -> Iterator[None]:
    """Make the folder that all users share, and keep others from it meanwhile."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o1777)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        mode = os.fstat(handle).st_mode
        if not mode & stat.S_ISVTX or not os.access(folder, os.W_OK):
            raise LockError(
                f"BK-295: {folder} must be a folder that all users share (mode 1777); remove it while no run goes on, then run again"
            )
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _live(folder: Path) -> list[dict[str, Any]]:
    """Return the notes of live processes; remove the others as far as they are this user's."""
    found = []
    for path in folder.iterdir():
        if not DIGITS.fullmatch(path.name):
            continue
        note = _read(path)
        if note is not None:
            found.append({**note, "pid": int(path.name)})
        else:
            with contextlib.suppress(OSError):  # another user's: it does not count, whether it is there or not
                path.unlink()
    return found


def _read(path: Path) -> dict[str, Any] | None:
    """Return a note if the process lives that it is about, and its owner wrote it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with open(handle, encoding="utf-8") as file:
            writer = os.fstat(file.fileno()).st_uid
            note: dict[str, Any] = json.load(file)
        owner = (processes.PROC / path.name).stat().st_uid
    except (OSError, ValueError):
        return None
    alive = note.get("boot") == _boot() and note.get("started") == processes.started(int(path.name))
    return note if alive and writer in (owner, 0) and isinstance(note.get("scopes"), list) else None


def _boot() -> str:
    return BOOT_ID.read_text(encoding="ascii").strip() if BOOT_ID.is_file() else ""


def main(arguments: Sequence[str]) -> None:
    """``run_lock STATE CLUSTER COMMAND...``: hold the lock for as long as the command runs, which takes this process's place."""
    parser = argparse.ArgumentParser(prog="run_lock")
    parser.add_argument("state", type=Path)
    parser.add_argument("cluster")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    try:
        acquire(os.getpid(), scopes(options.state, options.cluster))
    except (LockError, OSError) as error:
        sys.exit(str(error))
    os.execvp(options.command[0], options.command)


if __name__ == "__main__":
    main(sys.argv[1:])
