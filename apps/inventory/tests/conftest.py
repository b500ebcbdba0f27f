"""Fixtures: real PostgreSQL and Redis, and an issuer of real tokens, behind the real applications."""

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import httpx2
import psycopg
import pytest
from inventory_testing import http, running, settings_of

from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing import answers
from bookstore_common.testing.logs import log_stream
from bookstore_common.testing.postgres import Postgres, postgres, template_database
from bookstore_common.testing.processes import remove_variables
from bookstore_common.testing.redis import RedisServer, _redis_process, redis_server
from bookstore_common.testing.tokens import Issuer, _issuer, issuer
from inventory.app import Service
from inventory.migrate import migrations_folder
from inventory.openapi import document
from inventory.settings import InventoryMigrationSettings

__all__ = ["_issuer", "_redis_process", "issuer", "log_stream", "postgres", "redis_server"]

SHOP = "https://shop.bookstore.test:30000"
LISTENERS: tuple[Literal["public"], Literal["internal"]] = ("public", "internal")
OWNER, APP, RO, CDC = "inventory_owner", "inventory_app", "inventory_ro", "inventory_cdc"
PREFIXES = (
    "DATABASE_", "CORS_", "LOG_", "MIGRATION_", "SHUTDOWN_", "PUBLIC_", "INTERNAL_", "MANAGEMENT_", "LISTEN_",
    "OIDC_", "READINESS_", "REDIS_", "RESERVATION_",
)  # fmt: skip
Connection = psycopg.Connection[tuple[object, ...]]
# Makes request headers with a token of a role and client.
Headers = Callable[..., dict[str, str]]


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


def migration_settings(server: Postgres, database: str) -> InventoryMigrationSettings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment(OWNER, database).items():
            patch.setenv(name, value)
        return load_settings(InventoryMigrationSettings)


@pytest.fixture
def environment(roles: Postgres, redis_server: RedisServer, issuer: Issuer) -> Callable[[str], dict[str, str]]:
    """The variables of a service over the named database."""

    def of(database: str) -> dict[str, str]:
        return {
            **roles.environment(APP, database),
            **redis_server.environment(),
            **issuer.environment(),
            "CORS_ALLOWED_ORIGINS": SHOP,
            # Longer than a busy host needs for a whole test; a deadlock is found after one second all the same.
            "DATABASE_POOL_TIMEOUT_SECONDS": "60",
            "DATABASE_COMMAND_TIMEOUT_SECONDS": "60",
            "DATABASE_CONNECT_TIMEOUT_SECONDS": "30",
            "READINESS_TIMEOUT_SECONDS": "20",
        }

    return of


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
    """Database with the seed stock for tests that only read."""
    return roles.create_database(OWNER, template)


@pytest.fixture
def fresh(roles: Postgres, template: str) -> Iterator[str]:
    """Database with the seed stock for one test that writes."""
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
async def client(environment: Callable[[str], dict[str, str]], seeded: str) -> AsyncIterator[httpx2.AsyncClient]:
    """The public API over the seed stock."""
    async with running(settings_of(environment(seeded))) as built, http(built.public) as client:
        yield client


@pytest.fixture
async def service(environment: Callable[[str], dict[str, str]], fresh: str) -> AsyncIterator[Service]:
    """A service over a database of its own."""
    async with running(settings_of(environment(fresh))) as built:
        yield built


@pytest.fixture
async def public(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(service.public) as client:
        yield client


@pytest.fixture
async def internal(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(service.internal) as client:
        yield client


@pytest.fixture
def rows(roles: Postgres, fresh: str) -> Iterator[Connection]:
    """Connection of the owner to the database behind ``public`` and ``internal``, in autocommit mode."""
    with psycopg.connect(
        host="127.0.0.1", port=roles.port, dbname=fresh, user=OWNER, password=roles.role_passwords[OWNER],
        autocommit=True,
    ) as connection:  # fmt: skip
        yield connection


@pytest.fixture
def headers(issuer: Issuer) -> Headers:
    """Headers of a caller: ``headers("admin")``; the client follows from the role unless given."""
    usual = {"service": "ecom-service", "admin": "smoke-admin", "customer": "smoke-customer"}

    def of(*roles: str, azp: str | None = None, **claims: object) -> dict[str, str]:
        token = issuer.token(roles=roles, azp=azp or usual[roles[0]], **claims)
        return {"authorization": f"Bearer {token}"}

    return of


@pytest.fixture
def ecom(headers: Headers) -> dict[str, str]:
    """Headers of the E-Commerce API's calls."""
    return headers("service", sub=str(uuid.uuid4()))


@pytest.fixture
def admin(headers: Headers) -> dict[str, str]:
    """Headers of an admin's calls."""
    return headers("admin", sub=str(uuid.uuid4()))
