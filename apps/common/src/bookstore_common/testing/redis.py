"""A real, throw-away Redis server for tests, with a password, as in the cluster.

The server belongs to one pytest process (one xdist worker), keeps nothing on disk and dies with that process.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from bookstore_common.testing.postgres import free_port

START_TIMEOUT_SECONDS = 15


@dataclass
class RedisServer:
    """A server that a test may stop, freeze and start again; it starts empty."""

    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    _process: "subprocess.Popen[bytes] | None" = None

    def environment(self) -> dict[str, str]:
        """The REDIS_* variables with which a service connects."""
        return {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(self.port), "REDIS_PASSWORD": self.password}

    def connect(self) -> "redis.Redis":
        """Plain synchronous client, to look at keys and to change them behind the service's back."""
        return redis.Redis(port=self.port, password=self.password, decode_responses=True, socket_timeout=5)

    def flush(self) -> None:
        """Remove all keys; starts the server if a test left it stopped."""
        self.start()
        with self.connect() as client:
            client.flushall()

    def start(self) -> None:
        """Start and wait until it answers; harmless if it runs. Raises RuntimeError with its log if it does not."""
        if self._process is not None:
            return
        configuration = self.folder / "redis.conf"  # a file: arguments are visible to everyone
        configuration.touch(mode=0o600)
        configuration.write_text(
            f'bind 127.0.0.1\nport {self.port}\nrequirepass "{self.password}"\nsave ""\nappendonly no\n'
            f"dir {self.folder}\nlogfile {self.folder / 'server.log'}\n"
        )
        # It must not outlive pytest, even if that is killed.
        command = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", find_binary(), str(configuration)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                with self.connect() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self.folder / "server.log"
                    text = log.read_text() if log.exists() else "(no log)"
                    raise RuntimeError(f"Redis did not start:\n{text}") from None
                time.sleep(0.02)  # bounded polling; a server announces readiness only by answering

    def stop(self) -> None:
        """As in a crash: everything is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=START_TIMEOUT_SECONDS)
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """While inside, the server accepts connections and never answers."""
        if self._process is None:
            raise RuntimeError("the server is stopped; call start() first")
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def full(self) -> Iterator[None]:
        """While inside, the server refuses whatever needs memory."""
        with self.connect() as client:
            client.config_set("maxmemory", "1")
            try:
                yield
            finally:
                client.config_set("maxmemory", "0")


def find_binary() -> str:
    """The distribution's server, or REDIS_SERVER_BIN."""
    configured = os.environ.get("REDIS_SERVER_BIN")
    found = shutil.which(configured or "redis-server")
    if found is None:
        raise RuntimeError(
            f"no Redis server ({configured or 'redis-server'}): install the distribution's package 'redis-server', or "
            "set REDIS_SERVER_BIN to its program"
        )
    return found


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Start a server, yield it, stop it, remove its folder."""
    folder = Path(tempfile.mkdtemp(prefix="bookstore-redis-"))
    server = RedisServer(folder, free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def _redis_process() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_server(_redis_process: RedisServer) -> RedisServer:
    """The worker's server, running and empty. A conftest imports ``_redis_process``, too."""
    _redis_process.flush()
    return _redis_process
