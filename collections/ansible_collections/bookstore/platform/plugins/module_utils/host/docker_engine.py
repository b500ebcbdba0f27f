"""Starts a Docker engine on a host where none answers.

An engine that answers is never touched. Where an init system runs the engine as a service,
that service is started; on a host without one the daemon is started here, detached, with its log in a file.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..base.waiter import wait_for
from .host_preflight import find_program

CAP_SYS_RESOURCE = 24
START_SECONDS = 180.0


class EngineError(Exception):
    """The engine cannot be started; the message holds the remedy."""


def answers() -> bool:
    """Tell whether the engine that the client is configured for answers."""
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def installed(data: Path = Path("/var/lib/docker")) -> bool:
    """Tell whether this host has a client, or an engine's data: then there may be containers, whether it answers or not."""
    return find_program("docker") is not None or data.exists()


def capability_missing(status: str) -> bool:
    """Tell from the text of /proc/self/status whether CAP_SYS_RESOURCE is outside the bounding set."""
    for line in status.splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1
    return False


def remove_stale_pid_files(paths: list[Path], proc: Path = Path("/proc")) -> list[str]:
    """Remove pid files whose process is gone or is another program by now.

    A hard stop leaves them behind; a number used again would keep the daemon from starting.
    """
    removed = []
    for path in paths:
        if not path.is_file():
            continue
        pid = path.read_text(encoding="ascii", errors="replace").strip()
        comm = proc / pid / "comm"
        if pid.isdigit() and comm.is_file() and comm.read_text().strip() == path.stem.replace("docker", "dockerd"):
            continue
        path.unlink()
        removed.append(str(path))
    return removed


def daemon_command(bounded_runtime: str | None) -> list[str]:
    """Return the command that starts the daemon by hand."""
    command = ["dockerd"]
    if bounded_runtime:
        command += [f"--add-runtime=bounded={bounded_runtime}", "--default-runtime=bounded"]
    return command


def start(bounded_runtime: str | None, log: Path) -> None:
    """Start the engine and wait until it answers; EngineError with the log's last lines otherwise."""
    if os.geteuid() != 0 or find_program("dockerd") is None:
        cause = "this host has no dockerd" if os.geteuid() == 0 else "only root can start it"
        raise EngineError(
            f"BK-114: no Docker engine answers, and {cause}; start the engine that docker is configured for, then run again"
        )
    bounded_runtime = bounded_runtime if bounded_runtime and Path(bounded_runtime).is_file() else None
    remove_stale_pid_files([Path("/var/run/docker.pid"), Path("/run/docker/containerd/containerd.pid")])
    log.parent.mkdir(parents=True, exist_ok=True)
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "enable", "--now", "docker.service"], check=False, capture_output=True)
    else:
        with open(log, "ab") as output:
            subprocess.Popen(
                daemon_command(bounded_runtime), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True, cwd="/", env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            )
    if not wait_for(answers, bool, timeout=START_SECONDS).done:
        tail = log.read_text(errors="replace").splitlines()[-8:] if log.is_file() else []
        raise EngineError(
            f"BK-102: the Docker engine did not answer within {START_SECONDS:.0f} s of its start; "
            f"its log is {log}:\n" + "\n".join(tail)
        )
