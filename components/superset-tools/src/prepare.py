"""Brings Superset's own database up to date before the server starts; nearly nothing when it is up to date.

Asking the database costs a tenth of a second, starting Superset half a minute. So what was done is kept in a table of
this script: the image's newest migrations, the version of this preparation, and the administrator's password as a hash.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2
from werkzeug.security import check_password_hash

# Raise it when this script prepares more than before.
VERSION = "1"
SECRETS = Path(os.environ["SUPERSET_RUN_DIR"])
# All components are declared at once: a database that is made anew may come late, and a restart would come later still.
DATABASE_SECONDS = 600.0
ADMIN_ROLE = "Admin"


def secret(path: str) -> str:
    """Return a value of a mounted Secret, ``<folder>/<key>``."""
    return (SECRETS / path).read_text(encoding="utf-8").strip()


def wait_for_database(seconds: float) -> Any:
    """Return a connection. The mesh's proxy accepts connections to nowhere, so only a finished sign-in counts."""
    address = {"host": os.environ["SUPERSET_DB_HOST"], "port": os.environ["SUPERSET_DB_PORT"], "dbname": os.environ["SUPERSET_DB_NAME"]}
    deadline = time.monotonic() + seconds
    while True:
        try:
            return psycopg2.connect(user=secret("metadata/username"), password=secret("metadata/password"), connect_timeout=3, **address)
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"BK-247: the database {address['host']} does not answer: {error}") from error
        time.sleep(0.5)


def one(connection: Any, statement: str, values: tuple[str, ...] = ()) -> Any:
    """Return the first value of a query; None without a row or when a table is missing."""
    with connection, connection.cursor() as cursor:
        try:
            cursor.execute(statement, values)
        except psycopg2.errors.UndefinedTable:
            connection.rollback()
            return None
        row = cursor.fetchone()
    return None if row is None else row[0]


def prepared(connection: Any, wanted: str) -> bool:
    """Whether schema, permissions and administrator are as ``wanted`` says."""
    heads = one(connection, "SELECT string_agg(version_num, ',' ORDER BY version_num) FROM alembic_version")
    done = one(connection, "SELECT done FROM bookstore_prepared")
    if (heads, done) != (wanted.split(" ")[0], wanted):
        return False
    found = one(connection, "SELECT password FROM ab_user WHERE username = %s AND active", (secret("admin/username"),))
    return found is not None and check_password_hash(found, secret("admin/password"))


def prepare() -> None:
    """Migrate, write permissions and roles, and make the administrator or set the password of the Secret."""
    from flask_migrate import upgrade
    from superset.app import create_app

    app = create_app()
    with app.app_context():
        from superset.extensions import appbuilder, db, security_manager

        import superset

        # Thousands of lines of the migrations tell nothing.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        upgrade(directory=str(Path(superset.__file__).parent / "migrations"))
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        db.session.commit()
        name, password = secret("admin/username"), secret("admin/password")
        user = security_manager.find_user(username=name)
        if user is None:
            role = security_manager.find_role(ADMIN_ROLE)
            made = security_manager.add_user(name, "Platform", "Administrator", f"{name}@bookstore.test", role, password=password)
            if not made:
                raise SystemExit(f"BK-248: the administrator {name} could not be made; the lines above tell why")
        else:
            user.active = True
            security_manager.reset_password(user.id, password)
        db.session.commit()


def remember(connection: Any, wanted: str) -> None:
    """Write down what is done."""
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bookstore_prepared (single boolean PRIMARY KEY CHECK (single), done text NOT NULL)")
        cursor.execute(
            "INSERT INTO bookstore_prepared VALUES (true, %s) ON CONFLICT (single) DO UPDATE SET done = EXCLUDED.done", (wanted,)
        )


def main(heads_file: Path) -> None:
    """Prepare when it is needed, and say which."""
    socket.setdefaulttimeout(30)
    wanted = ",".join(heads_file.read_text(encoding="ascii").split()) + f" {VERSION}"
    connection = wait_for_database(DATABASE_SECONDS)
    if prepared(connection, wanted):
        print("prepared already")
        return
    started = time.monotonic()
    prepare()
    remember(connection, wanted)
    print(f"prepared in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
