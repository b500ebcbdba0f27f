"""Fixtures: real Redis, an issuer of real tokens and two scripted HTTP peers around the real application."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest
from admin_testing import SHOP, PeerStub, http, running, settings_of

from admin.app import Service
from admin.openapi import document
from bookstore_common.testing import answers
from bookstore_common.testing.http_stub import HttpStub
from bookstore_common.testing.logs import log_stream
from bookstore_common.testing.processes import remove_variables
from bookstore_common.testing.redis import RedisServer, _redis_process, redis_server
from bookstore_common.testing.tokens import Issuer, _issuer, issuer

__all__ = ["_issuer", "_redis_process", "issuer", "log_stream", "redis_server"]

CLIENTS = "ui-client,smoke-customer,smoke-admin"
PREFIXES = (
    "CORS_", "LOG_", "SHUTDOWN_", "PUBLIC_", "INTERNAL_", "MANAGEMENT_", "LISTEN_", "OIDC_", "REDIS_", "ECOM_",
    "INVENTORY_", "REQUEST_", "OPTIONAL_",
)  # fmt: skip


def documents() -> dict[str, Any]:
    """OpenAPI documents by listener."""
    return {"public": json.loads(document())}


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


@pytest.fixture
def ecom() -> Iterator[PeerStub]:
    """The E-Commerce API's internal listener."""
    stub = PeerStub()
    yield stub
    stub.stop()


@pytest.fixture
def inventory() -> Iterator[PeerStub]:
    """The Inventory API's internal listener."""
    stub = PeerStub()
    yield stub
    stub.stop()


@pytest.fixture
def environment(redis_server: RedisServer, issuer: Issuer, ecom: HttpStub, inventory: HttpStub) -> dict[str, str]:
    """The variables of a service between these."""
    return {
        **redis_server.environment(),
        **issuer.environment(),
        "OIDC_ALLOWED_CLIENTS": CLIENTS,
        "CORS_ALLOWED_ORIGINS": SHOP,
        "ECOM_URL": ecom.url,
        "INVENTORY_URL": inventory.url,
        # Longer than a busy host needs.
        "REDIS_TIMEOUT_SECONDS": "5",
        "READINESS_TIMEOUT_SECONDS": "20",
        "REQUEST_PATIENCE_SECONDS": "60",
        "OPTIONAL_PATIENCE_SECONDS": "30",
    }


@pytest.fixture
async def service(environment: dict[str, str]) -> AsyncIterator[Service]:
    async with running(settings_of(environment)) as built:
        yield built


@pytest.fixture
async def hurried(environment: dict[str, str]) -> AsyncIterator[Service]:
    """A service with little patience, for peers that are slow."""
    variables = {**environment, "REQUEST_PATIENCE_SECONDS": "1.5", "OPTIONAL_PATIENCE_SECONDS": "0.7"}
    async with running(settings_of(variables)) as built:
        yield built


@pytest.fixture
async def client(service: Service, admin: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    """The public API as an administrator's browser uses it: signed in, with a CSRF token."""
    async with http(service.public) as client:
        client.headers.update(await with_csrf(service, admin))
        yield client


async def with_csrf(service: Service, headers: dict[str, str]) -> dict[str, str]:
    """``headers`` and a CSRF token for their session."""
    access = service.public.state.access
    principal = await service.verifier.verify(headers["authorization"].removeprefix("Bearer "))
    return {**headers, "x-csrf-token": (await access.csrf.issue(principal)).token, "origin": SHOP}


@pytest.fixture
def headers(issuer: Issuer) -> Callable[..., dict[str, str]]:
    """Headers of a caller with the given roles: ``headers("admin")``."""

    def of(*roles: str, **claims: object) -> dict[str, str]:
        return {"authorization": f"Bearer {issuer.token(roles=roles, **claims)}"}

    return of


@pytest.fixture
def admin(headers: Callable[..., dict[str, str]]) -> dict[str, str]:
    """Headers of an administrator, who as in SPEC 3 is a customer, too."""
    return headers("customer", "admin")
