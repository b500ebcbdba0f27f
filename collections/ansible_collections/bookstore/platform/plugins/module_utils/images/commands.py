"""Runs the ordinary clients of package registries and the container engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..base import environment
from .errors import FactoryError

TAIL_LINES = 12


def run(
    component: str,
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run ``command``, its output appended to ``log`` and returned.

    Raises FactoryError that names the component, the command, the log and its last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as output:
        output.write(f"$ {' '.join(command)}\n")
        output.flush()
        start = output.tell()
        try:
            code = subprocess.run(
                list(command), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                cwd=cwd, env={**environment.clean(os.environ), **(env or {})}, check=False,
            ).returncode
        except OSError as error:
            raise FactoryError(f"{component}: {command[0]} cannot be run: {error}", str(log)) from error
    if code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
        raise FactoryError(f"{component}: `{' '.join(command)}` ended with exit code {code}:\n{tail}\n", str(log))
    return log.read_bytes()[start:].decode("utf-8", errors="replace")


def capture(command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60) -> tuple[int, str]:
    """Return exit code and output (stdout, or stderr when it failed) of a short command."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout,
            env={**environment.clean(os.environ), **(env or {})}, check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {timeout:g} s"
    except OSError as error:
        return 127, str(error)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip()
