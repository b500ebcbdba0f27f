"""Fixtures: a real PostgreSQL with the roles and default privileges that role databases sets."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from audit_testing import bench, source_names, source_templates, sources

from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.logs import log_stream
from bookstore_common.testing.postgres import Postgres, postgres, template_database
from bookstore_common.testing.processes import remove_variables
from mv_refresher.migrate import migrations_folder
from mv_refresher.settings import RefresherMigrationSettings

__all__ = ["bench", "log_stream", "postgres", "source_names", "source_templates", "sources"]

OWNER, APP, RO, CDC, SUPERSET = (
    "analytics_owner", "analytics_app", "analytics_ro", "analytics_cdc", "superset_ro",
)  # fmt: skip
PREFIXES = ("DATABASE_", "KAFKA_", "LOG_", "MIGRATION_", "MANAGEMENT_", "MV_", "CDC_", "READINESS_", "SHUTDOWN_")
Connection = psycopg.Connection[tuple[object, ...]]
# Opens a connection of a role to the test's database, in autocommit mode; closed when the test ends.
Connect = Callable[[str], Connection]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_variables(monkeypatch, PREFIXES)


@pytest.fixture(scope="session")
def roles(postgres: Postgres) -> Postgres:
    """The server with the roles that the databases role creates."""
    for role in (OWNER, APP, RO, CDC, SUPERSET):
        postgres.create_role(role)
    return postgres


def grant_defaults(server: Postgres, database: str) -> None:
    """What the databases role does in a new database (roles/databases/templates/postgresql.yml.j2)."""
    statements = (
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {database} TO {APP}, {CDC}, {RO}, {SUPERSET}",
        f"ALTER SCHEMA public OWNER TO {OWNER}",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA public TO {APP}, {CDC}, {RO}, {SUPERSET}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {APP}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT USAGE ON SEQUENCES TO {APP}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT SELECT ON TABLES TO {CDC}, {RO}",
    )
    for statement in statements:
        server.execute(statement, database)


def migration_settings(server: Postgres, database: str) -> RefresherMigrationSettings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment(OWNER, database).items():
            patch.setenv(name, value)
        return load_settings(RefresherMigrationSettings)


def build(server: Postgres, database: str) -> None:
    grant_defaults(server, database)
    migrate(Migrations(migrations_folder()), migration_settings(server, database), "upgrade", "head")


@pytest.fixture(scope="session")
def template(roles: Postgres) -> str:
    """Migrated once per worker; never connected to afterwards, so that it can be copied."""
    return template_database(roles, OWNER, lambda name: build(roles, name))


@pytest.fixture
def fresh(roles: Postgres, template: str) -> Iterator[str]:
    """Migrated database for one test; grants on the database itself are no part of the template."""
    name = roles.create_database(OWNER, template)
    roles.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    roles.execute(f"GRANT CONNECT ON DATABASE {name} TO {APP}, {CDC}, {RO}, {SUPERSET}")
    yield name
    roles.drop_database(name)


@pytest.fixture
def empty(roles: Postgres) -> Iterator[str]:
    """Database in which no migration ran."""
    name = roles.create_database(OWNER)
    grant_defaults(roles, name)
    yield name
    roles.drop_database(name)


@pytest.fixture
def connect(roles: Postgres, fresh: str) -> Iterator[Connect]:
    opened: list[Connection] = []

    def of(role: str) -> Connection:
        opened.append(
            psycopg.connect(
                host="127.0.0.1",
                port=roles.port,
                dbname=fresh,
                user=role,
                password=roles.role_passwords[role],
                autocommit=True,
            )
        )
        return opened[-1]

    yield of
    for connection in opened:
        connection.close()


@pytest.fixture
def rows(connect: Connect) -> Connection:
    """Connection of the role that Flink and mv-refresher use."""
    return connect(APP)
