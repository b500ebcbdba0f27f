"""PgAdmin as its pod runs it, with four databases of a real PostgreSQL.

Its packages are those of the image `pgadmin`. BOOKSTORE_PGADMIN_PACKAGES names a folder with them, installed from the lock for this
Python, where there is no image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from bookstore_common.testing.postgres import Postgres, free_port, running_postgres

ROOT = Path(__file__).parents[3]
SOURCES = (ROOT / "components/pgadmin-tools/src", ROOT / "components/door-names/src", ROOT / "roles/pgadmin/files")
NAMES = ("ecom-db", "inventory-db", "keycloak-db", "analytics-db")
ACCOUNT = "admin@bookstore.test"
START_SECONDS = 180


@dataclass
class Server:
    """A PgAdmin that can be started, stopped and started again on its volume."""

    command: list[str]
    folder: Path
    port: int
    database_port: int
    passwords: dict[str, str]
    lock_seconds: float = 900
    process: subprocess.Popen[bytes] | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def mount(self) -> None:
        """Write the mounted Secrets."""
        for name, password in self.passwords.items():
            place = self.folder / "secrets" / name
            place.mkdir(parents=True, exist_ok=True)
            (place / "password").write_text(password, "utf-8")
            if name == "admin":
                (place / "username").write_text(ACCOUNT, "utf-8")
            else:
                (place / "username").write_text(f"{name.removesuffix('-db')}_ro", "utf-8")
                (place / "database").write_text(f"{name.removesuffix('-db')}db", "utf-8")

    def start(self) -> None:
        """Start it and wait until it answers; its log is in the message when it does not."""
        self.mount()
        for name in ("data", "run", "code"):
            (self.folder / name).mkdir(exist_ok=True)
        for source in SOURCES:
            for file in source.glob("*.py"):
                shutil.copy(file, self.folder / "code")
        servers = [{"name": name, "host": "127.0.0.1", "port": self.database_port} for name in NAMES]
        self.variables |= {
            "PGADMIN_DATA_DIR": str(self.folder / "data"),
            "PGADMIN_RUN_DIR": str(self.folder / "run"),
            "PGADMIN_INPUT_DIR": str(self.folder / "secrets"),
            "PGADMIN_SERVERS": json.dumps(servers),
            "PGADMIN_LOCK_SECONDS": str(self.lock_seconds),
            "PGADMIN_PORT": str(self.port),
            "DOOR_NAMES": "localhost,pgadmin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        log = self.folder / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(self.started(), stdout=output, stderr=subprocess.STDOUT, env=self.environment())
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(httpx2.TransportError):
                if httpx2.get(f"{self.url}/misc/ping", timeout=5).status_code == 200:
                    return
            assert time.monotonic() < deadline, log.read_text("utf-8")[-3000:]
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"it ended with {self.process.wait(0.2)}: {log.read_text('utf-8')[-3000:]}")

    def started(self) -> list[str]:
        """Return the pod's command."""
        gunicorn = [
            "python3", "-m", "gunicorn", f"--bind=127.0.0.1:{self.port}", "--workers=1", "--worker-class=gthread", "--threads=8",
            f"--worker-tmp-dir={self.folder}", "--no-control-socket", "--log-level=warning", "bookstore_pgadmin:application",
        ]  # fmt: skip
        if self.command[0] != "docker":
            return [self.command[0], *gunicorn[1:]]
        packages = "/opt/pgadmin/python:/opt/pgadmin/python/pgadmin4"
        given = [part for name, value in self.variables.items() for part in ("--env", f"{name}={value}")]
        return [*self.command, "--env", f"PYTHONPATH={self.folder}/code:{packages}", *given, "--volume", f"{self.folder}:{self.folder}",
                "--user", f"{os.getuid()}:{os.getgid()}", self.image, *gunicorn]  # fmt: skip

    @property
    def image(self) -> str:
        """The newest image of this host."""
        listing = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "bookstore.local/pgadmin"]
        return subprocess.run(listing, capture_output=True, text=True, timeout=20, check=True).stdout.split()[0]

    def environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        if self.command[0] == "docker":
            return dict(os.environ)
        packages = os.environ["BOOKSTORE_PGADMIN_PACKAGES"]
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": f"{self.folder}/code:{packages}:{packages}/pgadmin4",
                **self.variables}  # fmt: skip

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text("utf-8")


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    """A server with four databases, each with a table of its owner and a role that only reads it."""
    with running_postgres() as server:
        for name in NAMES:
            prefix = name.removesuffix("-db")
            server.create_role(f"{prefix}_ro")
            server.execute(f"CREATE DATABASE {prefix}db")
            server.execute(f"CREATE TABLE known (name text); INSERT INTO known VALUES ('{prefix}'); GRANT SELECT ON known TO {prefix}_ro",
                           f"{prefix}db")  # fmt: skip
        yield server


@pytest.fixture(scope="session")
def pgadmin(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs."""
    if "BOOKSTORE_PGADMIN_PACKAGES" in os.environ:
        command = ["/usr/bin/python3"]
    else:
        if not shutil.which("docker"):
            pytest.skip("there is no container engine, and pgAdmin is only in its image")
        listing = ["docker", "image", "ls", "--quiet", "bookstore.local/pgadmin"]
        if not subprocess.run(listing, capture_output=True, text=True, timeout=20, check=False).stdout.split():
            pytest.skip("bookstore.local/pgadmin is not built on this host; `make up` builds it")
        command = ["docker", "run", "--rm", "--network", "host"]
    passwords = {name: database.role_passwords[f"{name.removesuffix('-db')}_ro"] for name in NAMES}
    passwords["admin"] = "a password of the Secret"
    server = Server(command, tmp_path_factory.mktemp("pgadmin"), free_port(), database.port, passwords)
    try:
        server.start()
        yield server
    finally:
        server.stop()
