"""A real, throw-away PostgreSQL server for tests.

pytest-postgresql cannot start one as root; this does, as the distribution's ``postgres`` user. The server belongs to
one pytest process (one xdist worker), lives in a temporary folder and dies with that process.
"""

import fcntl
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

START_TIMEOUT_SECONDS = 30
_DEBIAN_FOLDERS = "/usr/lib/postgresql"
# What one server may come to, and its neighbours: a container's usual 64 MB are not enough.
_ROOM_BYTES = 2 << 30
_PORTS = range(20000, 30000)


@dataclass
class Postgres:
    """A running server; ``databases`` are made from templates and dropped with the server."""

    folder: Path
    port: int
    superuser_password: str
    process: "subprocess.Popen[bytes] | None" = None
    role_passwords: dict[str, str] = field(default_factory=dict)
    _serial: int = 0

    def connect(self, dbname: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """Superuser connection in autocommit mode."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=self.superuser_password, dbname=dbname,
            autocommit=True,
        )  # fmt: skip

    def execute(self, statement: str, dbname: str = "postgres") -> None:
        """Run one statement as superuser."""
        with self.connect(dbname) as connection:
            connection.execute(statement.encode())

    def create_role(self, name: str) -> None:
        """Role with a generated password, which holds characters that URLs and shells treat specially."""
        password = f"{secrets.token_urlsafe(9)}%/@'\" {secrets.token_urlsafe(3)}"
        self.role_passwords[name] = password
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password))
            )

    def create_database(self, owner: str, template: str = "template1") -> str:
        """New database, a copy of ``template``; returns its name.

        Files are copied as they are: without fsync that takes less time than logging each block does.
        """
        self._serial += 1
        name = f"test_{self._serial}"
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY").format(
                    sql.Identifier(name), sql.Identifier(owner), sql.Identifier(template)
                )
            )
        return name

    def drop_database(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def environment(self, user: str, dbname: str) -> dict[str, str]:
        """The DATABASE_* variables with which a service connects as ``user``."""
        return {
            "DATABASE_HOST": "127.0.0.1",
            "DATABASE_PORT": str(self.port),
            "DATABASE_NAME": dbname,
            "DATABASE_USER": user,
            "DATABASE_PASSWORD": self.role_passwords[user],
        }

    def start(self) -> None:
        """Start the server and wait until it answers; raises RuntimeError with its log if it does not."""
        log = self.folder / "server.log"
        options = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "",
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_level": "logical",
            "max_connections": "60", "shared_buffers": "32MB", "autovacuum": "off",
        }  # fmt: skip
        command = [str(find_binaries() / "postgres"), "-D", str(self.folder / "data")]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                _as_server_user(command, die_with_parent=True), stdout=output, stderr=output, cwd=self.folder
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
                time.sleep(0.05)  # bounded polling; a server announces readiness only by answering

    def stop(self) -> None:
        """Immediate shutdown, as in a crash; the data folder stays."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=START_TIMEOUT_SECONDS)
            self.process = None


def find_binaries() -> Path:
    """Folder of the newest installed server, or POSTGRESQL_BIN_DIR."""
    configured = os.environ.get("POSTGRESQL_BIN_DIR")
    folders = [Path(configured)] if configured else sorted(
        Path(_DEBIAN_FOLDERS).glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True
    )  # fmt: skip
    for folder in folders:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    raise RuntimeError(
        f"no PostgreSQL server below {configured or _DEBIAN_FOLDERS}: install the distribution's package "
        "'postgresql', or set POSTGRESQL_BIN_DIR to the folder that holds initdb and postgres"
    )


def _server_user() -> pwd.struct_passwd | None:
    """Who runs the server: ourselves, or as root (whom PostgreSQL refuses) the distribution's postgres user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise RuntimeError("root cannot run PostgreSQL and there is no user 'postgres': install 'postgresql'") from None


def _as_server_user(command: list[str], *, die_with_parent: bool = False) -> list[str]:
    user = _server_user()
    prefix = [shutil.which("setpriv") or "setpriv"]
    if user is not None:
        prefix += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if die_with_parent:  # also when pytest itself is killed
        prefix += ["--pdeathsig", "QUIT"]
    return [*prefix, *command]


def free_port() -> int:
    """A TCP port that nobody listens on, and that no other caller gets as long as this process lives.

    The kernel's own choice could be given to an outgoing connection before a server takes it: these are below that
    range, and locked by a file each.
    """
    folder = Path(tempfile.gettempdir()) / "bookstore-test-ports"
    folder.mkdir(mode=0o777, exist_ok=True)
    for port in random.sample(_PORTS, len(_PORTS)):
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            os.close(lock)
            continue
        return port
    raise RuntimeError(f"no TCP port of {_PORTS.start} to {_PORTS.stop - 1} is free")


def _memory_folder() -> Path | None:
    """Where files are kept in memory, if there is room: each test's database is some 300 files, made and removed."""
    folder = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of our own in it
    try:
        return folder if shutil.disk_usage(folder).free >= _ROOM_BYTES else None
    except OSError:
        return None


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, yield it, stop it, remove its folder."""
    # Not pytest's tmp_path: its parents are closed to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="bookstore-pg-", dir=_memory_folder()))
    try:
        password = secrets.token_urlsafe(16)
        password_file = folder / "superuser"
        password_file.write_text(password)
        user = _server_user()
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            os.chown(password_file, user.pw_uid, user.pw_gid)
        initdb = [
            str(find_binaries() / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256",
            "--pwfile", str(password_file), "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
        ]  # fmt: skip
        result = subprocess.run(_as_server_user(initdb), capture_output=True, text=True, check=False, cwd=folder)
        if result.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{result.stdout}{result.stderr}")
        server = Postgres(folder, free_port(), password)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The worker's server."""
    with running_postgres() as server:
        yield server


def template_database(server: Postgres, owner: str, build: Callable[[str], object]) -> str:
    """Database built once by ``build`` (given its name), to copy for each test that writes."""
    name = server.create_database(owner)
    build(name)
    return name
