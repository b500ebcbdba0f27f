"""Containers and networks of the engine, through its command line client."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base import environment

PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"})


class DockerError(Exception):
    """A docker command failed; the message holds its own words and an id."""


def _configuration() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


@contextmanager
def without_proxies() -> Iterator[dict[str, str]]:
    """Give the environment of clients whose containers get no proxy, neither this host's nor the one of the client's configuration.

    Nodes and their registry fetch nothing from elsewhere, and what they say to each other no proxy could pass on. Which engine is
    meant stays. Credentials are left out: these clients pull nothing.
    """
    kept = {name: value for name, value in environment.clean(os.environ).items() if name.lower() not in PROXY_VARIABLES}
    with tempfile.TemporaryDirectory(prefix="bookstore-docker-") as folder:
        write_configuration(Path(folder))
        yield {**kept, "DOCKER_CONFIG": folder}


def write_configuration(folder: Path, **more: Any) -> None:
    """Make ``folder`` a client's configuration that means the same engine as this user's, and holds nothing else but ``more``."""
    try:
        settings = json.loads((_configuration() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    context = {"currentContext": settings["currentContext"]} if settings.get("currentContext") else {}
    (folder / "config.json").write_text(json.dumps({**context, **more}), encoding="utf-8")
    if (_configuration() / "contexts").is_dir():
        (folder / "contexts").symlink_to(_configuration() / "contexts")


def proxied(container: Mapping[str, Any]) -> bool:
    """Tell whether a container was made with a proxy."""
    variables = (entry.partition("=") for entry in container.get("Config", {}).get("Env") or [])
    return any(value and name.lower() in PROXY_VARIABLES - {"no_proxy"} for name, _, value in variables)


def run_container(*arguments: str) -> str:
    """Run `docker run` for a container that gets no proxy; DockerError when it fails."""
    with without_proxies() as variables:
        return docker("run", *arguments, variables=variables)


def docker(
    *arguments: str, timeout: float = 300, stdin: str | None = None, stderr: bool = False, variables: Mapping[str, str] | None = None
) -> str:
    """Run one docker command and return its output (with its messages if ``stderr``); DockerError when it fails."""
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False, input=stdin,
            env=dict(variables or environment.clean(os.environ)),
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
