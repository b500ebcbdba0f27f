"""The container that keeps the nodes' images, and its folder.

It has two doors: nodes read on READ_PORT of its address, and the engine pushes on the host's loopback address, which needs the
credentials of a push that goes on (push.py). Its address is fixed, so that the nodes can keep pods from it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.docker import DockerError, docker, ensure_network, inspect, run_container

MOUNTED = "/var/lib/registry"
READ_PORT = 5000
PUSH_PORT = 5001
# In the container: sockets and credentials, which end with it.
MEMORY = "/run/bookstore"
# The engine gives addresses from the beginning of the range, and each node takes one.
FROM_THE_END = 5


def address(subnet: str) -> str:
    """Return the registry's address in the nodes' network; ValueError when that is none, or too small."""
    network = ipaddress.IPv4Network(subnet)
    if network.prefixlen > 28:
        raise ValueError(f"BK-402: bookstore_node_cidr={subnet} is too small for nodes and their registry; use /28 or a larger range")
    return str(network[-FROM_THE_END - 1])


@dataclass(frozen=True)
class Registry:
    """What is wanted. ``former``: where an earlier version kept its images."""

    name: str
    image: str
    network: str
    subnet: str
    port: int
    storage: Path
    former: Path | None = None

    def ensure(self, check: bool) -> bool:
        """Bring the container to the wanted state; tell whether something changed."""
        there = exists(self.name)
        if there and self.as_wanted(inspect([self.name])[0]):
            return False
        if check:
            return True
        if there:
            docker("container", "rm", "--force", self.name)
        ensure_network(self.network, self.subnet)
        self.prepare_storage()
        run_container(
            "--detach", "--name", self.name, "--network", self.network, "--network-alias", "bookstore-registry",
            "--ip", address(self.subnet), "--restart", "always", "--publish", f"127.0.0.1:{self.port}:{PUSH_PORT}",
            "--user", f"{os.geteuid()}:{os.getegid()}", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--memory", "256m",
            "--tmpfs", f"{MEMORY}:rw,noexec,nosuid,nodev,size=16m,mode=0700,uid={os.geteuid()},gid={os.getegid()}",
            "--volume", f"{self.storage}:{MOUNTED}", self.image,
        )
        return True

    def as_wanted(self, container: dict[str, Any]) -> bool:
        """Tell whether a container can stay. One that runs but does not answer yet is waited for, not replaced."""
        bindings = container["HostConfig"]["PortBindings"]
        network = container["NetworkSettings"]["Networks"].get(self.network) or {}
        sources = [mount["Source"] for mount in container["Mounts"] if mount["Destination"] == MOUNTED]
        return (
            container["State"]["Running"]
            and container["Config"]["Image"] == self.image
            and {(key, one["HostIp"], int(one["HostPort"])) for key, several in bindings.items() for one in several}
            == {(f"{PUSH_PORT}/tcp", "127.0.0.1", self.port)}
            and (network.get("IPAMConfig") or {}).get("IPv4Address") == address(self.subnet)
            and MEMORY in (container["HostConfig"].get("Tmpfs") or {})
            and [os.path.realpath(source) for source in sources] == [os.path.realpath(self.storage)]
            and not self.folder_is_gone()
        )

    def folder_is_gone(self) -> bool:
        """Tell whether the folder was deleted, or made anew, under the running container: what it is given then is lost."""
        if not self.storage.is_dir():
            return True
        with contextlib.suppress(DockerError):  # one that is just starting: there is nothing to compare yet
            inside = docker("exec", self.name, "stat", "--format", "%i", MOUNTED).strip()
            return inside != str(self.storage.stat().st_ino)
        return False

    def prepare_storage(self) -> None:
        """Make the folder; images of an earlier version move with it where that needs no copying."""
        self.storage.parent.mkdir(parents=True, exist_ok=True)
        if self.former and self.former.is_dir() and not self.storage.exists():
            with contextlib.suppress(OSError):  # another file system: the engine publishes its images again
                os.replace(self.former, self.storage)
        self.storage.mkdir(exist_ok=True)


def remove(name: str, network: str | None, check: bool) -> bool:
    """Remove the container, and the network unless something else is on it; tell whether something was there."""
    there = exists(name)
    if there and not check:
        docker("container", "rm", "--force", name)
    unused = network is not None and network in docker("network", "ls", "--format", "{{.Name}}").split() and (
        check or not docker("network", "inspect", "--format", "{{range .Containers}}{{.Name}} {{end}}", network).strip()
    )
    if unused and network and not check:
        docker("network", "rm", network)
    return there or unused


def exists(name: str) -> bool:
    """Tell whether a container of this name exists, running or not."""
    return name in docker("container", "ls", "--all", "--format", "{{.Names}}").split()
