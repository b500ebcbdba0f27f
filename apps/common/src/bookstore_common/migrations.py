"""Alembic migrations under an advisory lock, as an init container runs them (SPEC 5.1)."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import Field
from sqlalchemy import Connection, Engine, MetaData, create_engine, exc, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import NullPool

from bookstore_common import logging
from bookstore_common.db import Database, ReadSession
from bookstore_common.health import Check, CheckFailedError
from bookstore_common.settings import DatabaseSettings, SettingsError, load_settings, secrets_of

# One number for all services: each has a database of its own, and advisory locks are per database.
_LOCK_PAUSE_SECONDS = 0.2
LOCK_KEY = 0x626F6F6B73
_log = structlog.get_logger(__name__)


class MigrationSettings(DatabaseSettings):
    """The owner role's connection and the roles that get grants."""

    database_app_role: str = Field(description="the role that changes rows, for example ecom_app")
    database_ro_role: str = Field(description="the role that only reads, for example ecom_ro")
    database_cdc_role: str = Field(description="the role that captures changes, for example ecom_cdc")
    migration_lock_timeout_seconds: int = Field(default=60, ge=1, le=600, description="seconds, for example 60")
    # Longer than a database takes to be made: a container that gives up is started again after a pause that grows.
    migration_connect_patience_seconds: int = Field(default=600, ge=0, le=3600, description="seconds, for example 600")
    migration_statement_timeout_seconds: int = Field(default=300, ge=1, le=3600, description="seconds, for example 300")


class MigrationError(Exception):
    """Migrations cannot run; the text says why and what to do."""


@dataclass(frozen=True)
class Roles:
    """Names of the roles that receive grants from migrations."""

    app: str
    ro: str
    cdc: str

    def __iter__(self) -> Iterator[str]:
        return iter((self.app, self.ro, self.cdc))


def folder_of(module: str) -> Path:
    """The migrations of the package that holds the file ``module``: inside it if installed, else beside ``src``."""
    package = Path(module).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


class Migrations:
    """The migrations of one service in ``folder`` (with env.py and versions/)."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "env.py").is_file():
            raise MigrationError(f"{folder}: no env.py there; the image lacks the migrations folder")
        self._config = Config()
        self._config.set_main_option("script_location", str(folder).replace("%", "%%"))
        self.script = ScriptDirectory.from_config(self._config)
        head = self.script.get_current_head()  # raises CommandError if there are two
        if head is None:
            raise MigrationError(f"{folder}: no migration there")
        self.head: str = head
        self._known = frozenset(revision.revision for revision in self.script.walk_revisions())

    def upgrade(self, connection: Connection, roles: Roles, revision: str = "head") -> None:
        self._run(connection, roles, lambda: command.upgrade(self._config, revision))

    def downgrade(self, connection: Connection, roles: Roles, revision: str) -> None:
        self._run(connection, roles, lambda: command.downgrade(self._config, revision))

    def current(self, connection: Connection) -> str | None:
        """Revision of the database, None if nothing was ever migrated."""
        revision = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()
        return revision

    def _run(self, connection: Connection, roles: Roles, action: Callable[[], None]) -> None:
        self._config.attributes.update(connection=connection, roles=roles)
        action()

    def readiness_check(self, database: Database) -> Check:
        """The check ``schema`` of a process that uses ``database``; see :meth:`check`."""

        async def schema() -> None:
            async with database.reading() as session:
                await self.check(session)

        return schema

    async def check(self, session: ReadSession) -> None:
        """Raise CheckFailedError while the schema is older than this code.

        A revision that this code does not know is newer: during a rollout the new pod has migrated and the old one
        still serves, so migrations must stay compatible with the release before.
        """
        try:
            current = (await session.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
        except exc.ProgrammingError as error:
            raise CheckFailedError(
                f"the schema cannot be read ({str(error.orig).partition(chr(10))[0]}); run the migrations"
            ) from error
        if current is None or (current in self._known and current != self.head):
            raise CheckFailedError(f"schema revision {current} is older than {self.head}; run the migrations")


def run_env(metadata: MetaData) -> None:
    """Body of every env.py: migrate the connection given by :class:`Migrations`, each revision in its transaction."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def granted_roles() -> Roles:
    """The roles for a migration's grants, quoted for SQL."""
    roles: Roles = context.config.attributes["roles"]
    quote = postgresql.dialect().identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]
    return Roles(quote(roles.app), quote(roles.ro), quote(roles.cdc))


def _connect(engine: Engine, patience_seconds: float) -> Connection:
    """Connect, waiting for a database that is still starting."""
    deadline = time.monotonic() + patience_seconds
    pause = 0.1
    while True:
        try:
            return engine.connect()
        except exc.OperationalError as error:
            reason = str(error.orig).strip().partition("\n")[0]
            # Wrong credentials do not heal; everything else may be a server that is starting.
            if "authentication failed" in str(error.orig) or time.monotonic() + pause > deadline:
                raise MigrationError(
                    f"cannot connect to {engine.url.host}:{engine.url.port}/{engine.url.database} as "
                    f"{engine.url.username} ({reason}); check DATABASE_HOST, DATABASE_PORT and the Secret's password"
                ) from None
            _log.info("waiting_for_database", reason=reason)
            time.sleep(pause)  # bounded polling of a fact that no event announces
            pause = min(pause * 2, 0.5)


def _require_roles(connection: Connection, roles: Roles) -> None:
    for variable, role in (("APP", roles.app), ("RO", roles.ro), ("CDC", roles.cdc)):
        if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}) is None:
            raise MigrationError(
                f"DATABASE_{variable}_ROLE: the role {role!r} does not exist; create it in the database first or "
                f"set DATABASE_{variable}_ROLE to one that does"
            )


def _lock(connection: Connection, timeout_seconds: float) -> None:
    """Take the lock of migrations, of the session and not of a transaction: it outlasts the commits between migrations.

    Asked for again and again: a statement that waits for the lock keeps a snapshot, for whose end an index that the
    holder builds concurrently would wait in turn.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        taken = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY})
        connection.commit()
        if taken:
            return
        if time.monotonic() > deadline:
            raise MigrationError(
                f"another migration holds the lock for more than {timeout_seconds} s; see "
                "pg_stat_activity for application_name 'migrate', or raise MIGRATION_LOCK_TIMEOUT_SECONDS"
            )
        time.sleep(_LOCK_PAUSE_SECONDS)  # bounded polling of a fact that no event announces


def migrate(migrations: Migrations, settings: MigrationSettings, action: str, revision: str) -> str | None:
    """Run ``action`` (upgrade, downgrade or current) under the lock; returns the revision afterwards.

    Raises MigrationError if the database, the lock or a role is not to be had.
    """
    roles = Roles(settings.database_app_role, settings.database_ro_role, settings.database_cdc_role)
    engine = create_engine(
        settings.database_url(),
        poolclass=NullPool,
        connect_args={
            "application_name": "migrate",
            "connect_timeout": settings.database_connect_timeout_seconds,
            "sslmode": settings.database_sslmode,
            "options": f"-c statement_timeout={settings.migration_statement_timeout_seconds}s"
            f" -c lock_timeout={settings.migration_lock_timeout_seconds}s -c timezone=UTC",
        },
    )
    with _connect(engine, settings.migration_connect_patience_seconds) as connection:
        _lock(connection, settings.migration_lock_timeout_seconds)
        before = migrations.current(connection)
        if action != "current":
            _require_roles(connection, roles)
            connection.rollback()
            run = migrations.upgrade if action == "upgrade" else migrations.downgrade
            run(connection, roles, revision)
        after = migrations.current(connection)
        _log.info("migrated" if after != before else "nothing_to_migrate", before=before, after=after)
    engine.dispose()  # closing the connection frees the lock
    return after


def main(
    service: str, folder: Path, settings_class: type[MigrationSettings], arguments: Sequence[str] | None = None
) -> int:
    """Command line of ``python -m <service>.migrate``; returns the exit code (0 done, 1 failed, 2 bad settings)."""
    parser = argparse.ArgumentParser(prog=f"python -m {service}.migrate", description="Migrate the service's schema.")
    parser.add_argument("action", nargs="?", default="upgrade", choices=["upgrade", "downgrade", "current"])
    parser.add_argument("revision", nargs="?", default="head", help="target, for example head, base or 0001")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(settings_class)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logging.configure(settings.log_level, settings.log_format, f"{service}-migrate")
    for secret in secrets_of(settings):
        logging.hide_secret(secret)
    try:
        migrate(Migrations(folder), settings, options.action, options.revision)
    except MigrationError as error:
        _log.error("migration_refused", reason=str(error))
        return 1
    except Exception:
        _log.exception("migration_failed")
        return 1
    return 0
