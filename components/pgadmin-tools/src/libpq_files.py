"""Writes what libpq reads to sign in: a service file that names each server, and a file of passwords that only its owner reads.

libpq refuses a file of passwords that a group may read, which a mounted Secret is. So it is written anew at each start, into memory.
A password is given for its own host, port, database and role only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A database server that pgAdmin shows."""

    name: str
    host: str
    port: int
    database: str
    username: str


def read(secrets: Path, name: str, host: str, port: int) -> tuple[Server, str]:
    """Return a server and its password, from the folder ``name`` of the mounted Secrets."""
    try:
        database, username, password = ((secrets / name / key).read_text("utf-8").strip() for key in ("database", "username", "password"))
    except OSError as error:
        raise SystemExit(f"BK-481: Secret {name}-ro is not mounted as it must be: {error}; `make up` makes it") from error
    if not all((database, username, password)) or any(len(value.splitlines()) != 1 for value in (database, username, password)):
        raise SystemExit(f"BK-481: Secret {name}-ro: database, username and password must be one line each")
    return Server(name, host, port, database, username), password


def passwords(found: list[tuple[Server, str]]) -> str:
    """Return the file of passwords."""
    lines = []
    for server, password in found:
        fields = [server.host, str(server.port), server.database, server.username, password]
        lines.append(":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields))
    return "".join(f"{line}\n" for line in lines)


def services(found: list[tuple[Server, str]], password_file: Path) -> str:
    """Return the service file: nothing in it is secret."""
    return "\n".join(
        f"[{server.name}]\nhost={server.host}\nport={server.port}\ndbname={server.database}\nuser={server.username}\npassfile={password_file}\n"
        for server, _ in found
    )


def write(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def prepare(found: list[tuple[Server, str]], folder: Path) -> Path:
    """Write both files into ``folder`` and return the path of the service file, for PGSERVICEFILE."""
    password_file, service_file = folder / "pgpass", folder / "pg_service.conf"
    write(password_file, passwords(found))
    write(service_file, services(found, password_file))
    return service_file
