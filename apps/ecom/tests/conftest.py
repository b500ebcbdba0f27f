"""Fixtures: real PostgreSQL and Redis, an issuer of real tokens, a stand-in for Inventory, and the real service."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx2
import psycopg
import pytest
from ecom_testing import SHOP, Caller, Connection, Inventory, Process, http, running, settings_of

from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing import answers
from bookstore_common.testing.logs import log_stream
from bookstore_common.testing.postgres import Postgres, postgres, template_database
from bookstore_common.testing.processes import remove_variables
from bookstore_common.testing.redis import RedisServer, _redis_process, redis_server
from bookstore_common.testing.tokens import Issuer, _issuer, issuer
from ecom.app import Service
from ecom.migrate import migrations_folder
from ecom.openapi import document
from ecom.settings import EcomMigrationSettings

__all__ = ["_issuer", "_redis_process", "issuer", "log_stream", "postgres", "redis_server"]

LISTENERS: tuple[Literal["public"], Literal["internal"]] = ("public", "internal")
OWNER, APP, RO, CDC = "ecom_owner", "ecom_app", "ecom_ro", "ecom_cdc"
PREFIXES = (
    "DATABASE_", "CORS_", "LOG_", "MIGRATION_", "SHUTDOWN_", "PUBLIC_", "INTERNAL_", "MANAGEMENT_", "LISTEN_",
    "OIDC_", "REDIS_", "SERVICE_", "INVENTORY_", "RATE_", "CHECKOUT_",
)  # fmt: skip
# The variables of a service over the named database.
Environment = Callable[[str], dict[str, str]]
# Makes a signed-in person on the public listener: ``person("customer", sub=...)``.
People = Callable[..., Caller]


def documents() -> dict[str, Any]:
    """OpenAPI documents by listener."""
    return {listener: json.loads(document(listener)) for listener in LISTENERS}


def pytest_addoption(parser: pytest.Parser) -> None:
    answers.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    answers.watch(config, documents)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_variables(monkeypatch, PREFIXES)


@pytest.fixture(scope="session")
def roles(postgres: Postgres) -> Postgres:
    """The server with the roles that the databases role creates."""
    for role in (OWNER, APP, RO, CDC):
        postgres.create_role(role)
    return postgres


def migration_settings(server: Postgres, database: str) -> EcomMigrationSettings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment(OWNER, database).items():
            patch.setenv(name, value)
        return load_settings(EcomMigrationSettings)


def owner_connection(server: Postgres, database: str) -> Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        dbname=database,
        user=OWNER,
        password=server.role_passwords[OWNER],
        autocommit=True,
    )


@pytest.fixture(scope="session")
def template(roles: Postgres) -> str:
    """Migrated and seeded once per worker; never connected to afterwards, so that it can be copied."""
    return template_database(
        roles,
        OWNER,
        lambda name: migrate(Migrations(migrations_folder()), migration_settings(roles, name), "upgrade", "head"),
    )


@pytest.fixture(scope="session")
def seeded(roles: Postgres, template: str) -> str:
    """Database with the 30 seed books for tests that only read."""
    return roles.create_database(OWNER, template)


@pytest.fixture
def fresh(roles: Postgres, template: str) -> Iterator[str]:
    """Database with the 30 seed books for one test that writes."""
    name = roles.create_database(OWNER, template)
    yield name
    roles.drop_database(name)


@pytest.fixture
def empty(roles: Postgres) -> Iterator[str]:
    """Database in which no migration ran."""
    name = roles.create_database(OWNER)
    yield name
    roles.drop_database(name)


@pytest.fixture
def inventory() -> Iterator[Inventory]:
    """Inventory with 50 copies of everything, for one test."""
    stub = Inventory()
    yield stub
    stub.stop()


@pytest.fixture
def environment(roles: Postgres, redis_server: RedisServer, issuer: Issuer, inventory: Inventory) -> Environment:
    issuer.answer_service_tokens()

    def of(database: str) -> dict[str, str]:
        return {
            **roles.environment(APP, database),
            **redis_server.environment(),
            **issuer.environment(),
            **issuer.service_environment(),
            "INVENTORY_URL": inventory.url,
            "CORS_ALLOWED_ORIGINS": SHOP,
            # Tests ask more often than people; what limits do is tested in apps/common.
            "RATE_LIMIT_FACTOR": "1000",
            # And a busy machine is no outage.
            "REDIS_TIMEOUT_SECONDS": "5",
            "READINESS_TIMEOUT_SECONDS": "20",
            "DATABASE_CONNECT_TIMEOUT_SECONDS": "30",
            "DATABASE_POOL_TIMEOUT_SECONDS": "20",
            "DATABASE_COMMAND_TIMEOUT_SECONDS": "30",
            "CHECKOUT_SLOT_TIMEOUT_SECONDS": "60",
        }

    return of


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Process]]:
    """Start ``python -m ecom`` with these variables."""
    processes: list[Process] = []

    def start(variables: dict[str, str]) -> Process:
        processes.append(Process(variables, tmp_path / f"log-{len(processes)}"))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
async def client(environment: Environment, seeded: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The public API over the seed books."""
    async with running(settings_of(environment(seeded))) as built, http(built.public) as client:
        yield client


@pytest.fixture
async def service(environment: Environment, fresh: str) -> AsyncIterator[Service]:
    """A service over a database of its own."""
    async with running(settings_of(environment(fresh))) as built:
        yield built


@pytest.fixture
async def shop(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """The public API over the database that ``add_book`` and ``books`` write to."""
    async with http(service.public) as client:
        yield client


@pytest.fixture
async def internal(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """The internal API over the same database as ``shop``."""
    async with http(service.internal) as client:
        yield client


@pytest.fixture
def person(shop: httpx2.AsyncClient, issuer: Issuer) -> People:
    return lambda *roles, **claims: Caller(shop, issuer, *roles, **claims)


@pytest.fixture
def customer(person: People) -> Caller:
    return person("customer")


@pytest.fixture
def admin(internal: httpx2.AsyncClient, issuer: Issuer) -> Caller:
    """An administrator on the internal listener."""
    return Caller(internal, issuer, "customer", "admin")


@pytest.fixture
def books(roles: Postgres, fresh: str) -> Iterator[Connection]:
    """Connection of the owner to the database behind ``shop``."""
    with owner_connection(roles, fresh) as connection:
        yield connection


@pytest.fixture
def add_book(books: Connection) -> Callable[..., str]:
    """Insert a book; returns its id."""

    def add(title: str, author: str = "Anon", price: str = "1.00", **columns: object) -> str:
        values = {"title": title, "author": author, "price": price, **columns}
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        statement = f"INSERT INTO books ({names}) VALUES ({marks}) RETURNING id::text"
        row = books.execute(statement.encode(), list(values.values())).fetchone()
        assert row is not None
        return str(row[0])

    return add
