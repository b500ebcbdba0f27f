"""Ports for servers of tests."""

import os
import subprocess
import sys
from pathlib import Path

from bookstore_common.testing.postgres import free_port

MANY = "from bookstore_common.testing.postgres import free_port; print([free_port() for _ in range({})]); input()"


def test_no_two_callers_get_the_same_port() -> None:
    """Also not two processes, and none that the kernel may give to an outgoing connection."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
    command = [sys.executable, "-c", MANY.format(50)]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(  # noqa: S603 - this very interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=paths
    ) as other:
        assert other.stdout is not None
        theirs = other.stdout.readline()
        ours = [free_port() for _ in range(50)]
        other.communicate("\n")
    taken = [*ours, *(int(port) for port in theirs.strip("[]\n").split(","))]
    assert len(set(taken)) == 100
    assert max(taken) < lowest
