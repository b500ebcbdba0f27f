"""Fixtures: two sources with recorded answers, and the real application before them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from map_testing import Cluster, Figures, client_of, environment, made

from bookstore_common.testing.processes import remove_variables
from mesh_map.app import Service

PREFIXES = (
    "LOG_", "SHUTDOWN_", "PUBLIC_", "MANAGEMENT_", "LISTEN_", "PROMETHEUS_", "KUBERNETES_", "OWN_", "ACCOUNT_",
    "DECLARED_", "PAGES_", "POD_", "LOOK_", "WATCH_", "PATIENCE_",
)  # fmt: skip


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    remove_variables(monkeypatch, PREFIXES)


@pytest.fixture
def figures() -> Iterator[Figures]:
    """Prometheus."""
    source = Figures()
    source.start()
    yield source
    source.stop()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The API server."""
    source = Cluster()
    source.start()
    yield source
    source.stop()


@pytest.fixture
def variables(figures: Figures, cluster: Cluster, tmp_path: Path) -> dict[str, str]:
    return environment(figures, cluster, tmp_path)


@pytest.fixture
async def service(variables: dict[str, str]) -> AsyncIterator[Service]:
    built = made(variables)
    yield built
    await built.prometheus.close()
    await built.kubernetes.close()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(service) as made_client:
        yield made_client
