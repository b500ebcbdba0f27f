"""A service as a process of its own: its environment, ports that are free, its log, requests to it, its end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx2
import pytest

from bookstore_common.testing import plain_http
from bookstore_common.testing.postgres import free_port

# Longer than any start on a machine that does other things, too.
PATIENCE_SECONDS = 90.0


def until(done: Callable[[], object], what: str) -> None:
    """Poll a fact that no event announces."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_SECONDS:g} s for: {what}")
        time.sleep(0.02)


def remove_variables(monkeypatch: pytest.MonkeyPatch, prefixes: Iterable[str]) -> None:
    """No variable of the desk or of another test whose name begins so reaches a test."""
    for name in list(os.environ):
        if name.startswith(tuple(prefixes)):
            monkeypatch.delenv(name)


class ServiceProcess:
    """One running ``python -m <module>``; who makes it also ends it."""

    module: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("PUBLIC_PORT", "INTERNAL_PORT", "MANAGEMENT_PORT")
    defaults: ClassVar[Mapping[str, str]] = {"SHUTDOWN_LAME_DUCK_SECONDS": "1"}

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.ports = {name: free_port() for name in self.port_names}
        self.log = log
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LISTEN_HOST": "127.0.0.1",
            **self.defaults,
            **{name: str(port) for name, port in self.ports.items()},
            **environment,
        }
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", self.module], env=variables, stdout=output, stderr=subprocess.STDOUT
            )

    def send(self, port: str, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request to the port of that name; ``options`` as of httpx2.request."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        return plain_http.request(method, url, PATIENCE_SECONDS, **options)

    def get(self, port: str, path: str, **headers: str) -> httpx2.Response:
        return self.send(port, "GET", path, headers=headers)

    def status(self, port: str, path: str) -> int:
        """0 if nothing listens."""
        try:
            return self.get(port, path).status_code
        except httpx2.TransportError:
            return 0

    def started(self) -> Self:
        """Wait until it listens."""
        until(lambda: self.status("MANAGEMENT_PORT", "/health/live") == HTTPStatus.OK, "the process to listen")
        return self

    def ready(self) -> Self:
        """Wait until it takes requests."""
        until(lambda: self.status("MANAGEMENT_PORT", "/health/ready") == HTTPStatus.OK, "the process to be ready")
        return self

    def kill(self) -> None:
        """As in a crash; harmless if it has ended."""
        self.popen.kill()
        self.popen.wait()

    def end(self) -> int:
        """Ask it to end; returns its exit status."""
        self.popen.terminate()
        return self.popen.wait(timeout=PATIENCE_SECONDS)

    def events(self) -> list[dict[str, object]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]
