"""Containers and networks of the engine, through its command line client."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from typing import Any

from . import environment


class DockerError(Exception):
    """A docker command failed; the message holds its own words and an id."""


def docker(*arguments: str, timeout: float = 300, stdin: str | None = None, stderr: bool = False) -> str:
    """Run one docker command and return its output (with its messages if ``stderr``); DockerError when it fails."""
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False, input=stdin,
            env=environment.clean(os.environ),
        )
    except FileNotFoundError as error:
        raise DockerError("BK-230: there is no docker program on this host; `make up` as root installs an engine") from error
    except subprocess.TimeoutExpired as error:
        raise DockerError(f"BK-234: `docker {' '.join(arguments[:3])}` did not end within {timeout:g} s") from error
    if done.returncode != 0:
        raise DockerError(f"BK-234: `docker {' '.join(arguments[:3])}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout + done.stderr if stderr else done.stdout


def inspect(names: Sequence[str]) -> list[dict[str, Any]]:
    """Describe containers; none asked for, none returned."""
    if not names:
        return []
    found: list[dict[str, Any]] = json.loads(docker("container", "inspect", *names))
    return found


def containers(label: str) -> dict[str, dict[str, Any]]:
    """Return name to description of all containers with a label, running or not."""
    listed = docker("container", "ls", "--all", "--quiet", "--filter", f"label={label}").split()
    return {entry["Name"].removeprefix("/"): entry for entry in inspect(listed)}


def ensure_network(name: str, subnet: str) -> bool:
    """Create a bridge network when it is absent; tell whether it was created."""
    if name in docker("network", "ls", "--format", "{{.Name}}").split():
        return False
    docker("network", "create", "--driver", "bridge", "--subnet", subnet, name)
    return True
