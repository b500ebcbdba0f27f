# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""A module's run in a fork of this process, seen from outside as the run of a program: exit code, output, errors."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import io
import os
import select
import selectors
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

from ansible.module_utils import _internal
from ansible.module_utils._internal import _traceback
from ansible.module_utils._internal._ansiballz import _loader

# Of prctl(2).
PR_SET_PDEATHSIG = 1
# How long a module whose task has ended before it may take to tidy up.
TIDY_SECONDS = 10.0
# What most modules import.
SHARED = ("urllib3", "websocket", "yaml", "ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster")


@dataclass(frozen=True)
class Call:
    """``name`` is the module's full Python name, ``arguments`` what ansible-core would put into the archive."""

    name: str
    path: str
    arguments: bytes
    profile: str
    environment: dict[str, str]
    folder: str


def preload() -> None:
    """Import what modules need before workers are forked, so that each of them has it. The module that misses one says so itself."""
    for name in SHARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def end_with_playbook() -> None:
    """Let this worker end, and its module with it, when the playbook is killed by what no process can answer (the kernel, out of memory).

    The lock of a run ends with the playbook: the next run would begin beside a module that is still at work.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def run(call: Call) -> tuple[int, str, str]:
    """Run a module and return what a shell would: its exit code (128 and the number for a signal), output and errors."""
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(call, out_write, err_write)
    os.close(out_write)
    os.close(err_write)
    try:
        out, err = _drain(out_read, err_read)
    except BaseException:
        _stop(pid)
        raise
    finally:
        os.close(out_read)
        os.close(err_read)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        err += f"{signal.strsignal(-code)}\n".encode()
        code = 128 - code
    return code, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape")


def _stop(pid: int) -> None:
    """End a module whose task has ended before it (its time was over), so that it does not go on working unseen."""
    handle = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGINT)
        if not select.select([handle], [], [], TIDY_SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    finally:
        os.close(handle)


def _drain(*handles: int) -> list[bytes]:
    """Return all that is written into pipes, until nobody has them open for writing."""
    found = {handle: bytearray() for handle in handles}
    with selectors.DefaultSelector() as selector:
        for handle in handles:
            selector.register(handle, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                part = os.read(key.fd, 65536)
                if part:
                    found[key.fd] += part
                else:
                    selector.unregister(key.fd)
    return [bytes(found[handle]) for handle in handles]


def _child(call: Call, out: int, err: int) -> NoReturn:
    """Become the module. Nothing of the worker's stack is returned to, whatever happens."""
    code = 1
    try:
        _start(call, out, err)
        code = _execute(call)
        # What an interpreter does at its end.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        code = 1
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _start(call: Call, out: int, err: int) -> None:
    """Bring about what a new interpreter would find."""
    atexit._clear()  # what the controller would do at its end
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    # The worker's handles. Replaced, not closed: objects that own them may still close the number, which must not be another file's.
    for name in os.listdir("/proc/self/fd"):
        handle = int(name)
        if handle > 2 and handle != null and os.path.exists(f"/proc/self/fd/{handle}"):
            os.dup2(null, handle, inheritable=False)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.FileIO(0, closefd=False), encoding="utf-8")  # type: ignore[misc]
    for stream, number in (("stdout", 1), ("stderr", 2)):
        text = io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w", closefd=False)), encoding="utf-8", errors="surrogateescape")
        setattr(sys, stream, text)
        setattr(sys, f"__{stream}__", text)
    os.environ.update(call.environment)
    os.chdir(call.folder)
    sys.argv = [call.path]
    # Warnings of a module are part of its result, and it tells itself which tracebacks are wanted.
    _internal.is_controller = False
    _traceback._is_traceback_enabled = _traceback._is_module_traceback_enabled


def _execute(call: Call) -> int:
    try:
        # The runner of the archive, without the archive.
        _loader.run_module(
            json_params=call.arguments, profile=call.profile, module_fqn=call.name, modlib_path=os.path.dirname(call.path), extensions={}
        )
    except SystemExit as end:
        return _exit_code(end.code)
    return 0


def _exit_code(code: Any) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1
