"""Fixtures of the shared library's tests."""

from collections.abc import AsyncIterator, Iterator

import pytest

from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from bookstore_common.redis import RedisClient, RedisSettings
from bookstore_common.settings import DatabaseSettings, load_settings
from bookstore_common.testing.http_stub import upstream
from bookstore_common.testing.logs import log_stream
from bookstore_common.testing.postgres import Postgres, postgres
from bookstore_common.testing.processes import remove_variables
from bookstore_common.testing.redis import RedisServer, _redis_process, redis_server
from bookstore_common.testing.tokens import Issuer, _issuer, issuer
from bookstore_common.tokens import OidcSettings, TokenVerifier

__all__ = ["_issuer", "_redis_process", "issuer", "log_stream", "postgres", "redis_server", "upstream"]
OWNER = "library_owner"
PREFIXES = ("DATABASE_", "CORS_", "LOG_", "MIGRATION_", "SHUTDOWN_", "REDIS_", "OIDC_", "SERVICE_")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_variables(monkeypatch, PREFIXES)


@pytest.fixture(scope="session")
def owner(postgres: Postgres) -> str:
    postgres.create_role(OWNER)
    return OWNER


@pytest.fixture
def database_name(postgres: Postgres, owner: str) -> Iterator[str]:
    """A fresh, empty database."""
    name = postgres.create_database(owner)
    yield name
    postgres.drop_database(name)


@pytest.fixture
def database_environment(
    postgres: Postgres, owner: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    environment = postgres.environment(owner, database_name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
async def database(database_environment: dict[str, str]) -> AsyncIterator[Database]:
    database = Database(load_settings(DatabaseSettings), "library-test")
    yield database
    await database.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def redis_client(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisClient]:
    for name, value in redis_server.environment().items():
        monkeypatch.setenv(name, value)
    client = RedisClient(load_settings(RedisSettings))
    yield client
    await client.close()


@pytest.fixture
def oidc_settings(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> OidcSettings:
    for name, value in issuer.environment().items():
        monkeypatch.setenv(name, value)
    return load_settings(OidcSettings)


@pytest.fixture
async def verifier(oidc_settings: OidcSettings, metrics: Metrics) -> AsyncIterator[TokenVerifier]:
    verifier = TokenVerifier(oidc_settings, metrics)
    yield verifier
    await verifier.close()
