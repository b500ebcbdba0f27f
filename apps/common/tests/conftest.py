"""Fixtures of the shared library's tests."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from bookstore_common.db import Database
from bookstore_common.settings import DatabaseSettings, load_settings
from bookstore_common.testing.logs import log_stream
from bookstore_common.testing.postgres import Postgres, postgres

__all__ = ["log_stream", "postgres"]
OWNER = "library_owner"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the desk or of another test reaches a test."""
    for name in list(os.environ):
        if name.startswith(("DATABASE_", "CORS_", "LOG_", "MIGRATION_", "SHUTDOWN_")):
            monkeypatch.delenv(name)


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
