"""Fixtures: a real PostgreSQL, migrated by the real migrations, behind the real application."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import httpx2
import psycopg
import pytest
from fastapi import FastAPI

from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.logs import log_stream
from bookstore_common.testing.postgres import Postgres, postgres, template_database
from ecom.app import Service, create_service
from ecom.migrate import migrations_folder
from ecom.settings import EcomMigrationSettings, Settings

__all__ = ["log_stream", "postgres"]

SHOP = "https://shop.bookstore.test:30000"
OWNER, APP, RO, CDC = "ecom_owner", "ecom_app", "ecom_ro", "ecom_cdc"
PREFIXES = ("DATABASE_", "CORS_", "LOG_", "MIGRATION_", "SHUTDOWN_", "PUBLIC_", "INTERNAL_", "MANAGEMENT_", "LISTEN_")
# Given the server and a database's name; yields a connection as the owner, in autocommit mode.
Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)


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


def service_settings(server: Postgres, database: str, **changes: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        variables = {**server.environment(APP, database), "CORS_ALLOWED_ORIGINS": SHOP, **changes}
        for name, value in variables.items():
            patch.setenv(name, value)
        return load_settings(Settings)


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


def http(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://ecom.test")


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[Service]:
    built = create_service(settings)
    yield built
    await built.database.close()


@pytest.fixture
async def client(roles: Postgres, seeded: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The public API over the seed books."""
    async with service(service_settings(roles, seeded)) as built, http(built.public) as client:
        yield client


@pytest.fixture
async def shop(roles: Postgres, fresh: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The public API over the database that ``add_book`` and ``books`` write to."""
    async with service(service_settings(roles, fresh)) as built, http(built.public) as client:
        yield client


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
        statement = f"INSERT INTO books ({names}) VALUES ({marks}) RETURNING id::text"  # noqa: S608 # our names
        row = books.execute(statement.encode(), list(values.values())).fetchone()
        assert row is not None
        return str(row[0])

    return add
