"""Fixtures of the live tests: they speak to the running platform, as a client with our CA would."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from . import leftovers
from .declared import GATEWAY, door
from .goods import Goods, Sql
from .people import People
from .rerun import Rerun, rerun
from .signin import Hidden, Places, Shopper
from .tls import Trust

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "bookstore-platform"
API = f"https://api.bookstore.test:{GATEWAY['https']}"
SHOP_ORIGIN = f"https://shop.bookstore.test:{GATEWAY['https']}"
PLACES = Places(SHOP_ORIGIN, API, f"https://id.bookstore.test:{GATEWAY['https']}")
CONSOLE = f"http://127.0.0.1:{door('N8')}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder: it needs the running platform."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.live)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster's API server."""
    return Cluster(str(STATE / "kubeconfig"), request_timeout=15)


@pytest.fixture(scope="session")
def second_bootstrap(cluster: Cluster) -> Rerun:
    """What `make up` did on the platform that runs; it takes minutes, and each worker makes its own."""
    return rerun(cluster)


@pytest.fixture(scope="session")
def trust(cluster: Cluster) -> Trust:
    """Makes clients that trust the platform's certificate authority and nothing else."""
    secret = cluster.get("Secret", "gateway", "bookstore-gateway-tls")
    assert secret is not None, "gateway/bookstore-gateway-tls does not exist; run make up"
    return Trust(base64.b64decode(secret["data"]["ca.crt"]).decode("ascii"))


@pytest.fixture
def api(trust: Trust) -> Iterator[httpx2.Client]:
    """A client of the api host."""
    with trust.client(base_url=API, timeout=15) as client:
        yield client


def psql(cluster: Cluster, name: str, timeout: float = 30) -> Sql:
    """Run SQL in the database of a service as its superuser, over the pod's local socket; ClusterError when it fails."""

    def run(statement: str) -> str:
        command = ["psql", "--host=/run/postgresql", "--username=postgres", f"--dbname={name}db", "--no-psqlrc"]
        command += ["--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1", f"--command={statement}"]
        return cluster.execute(name, f"{name}-db-0", "postgresql", command, timeout).strip()

    return run


@pytest.fixture(scope="session")
def ecom_sql(cluster: Cluster) -> Sql:
    """Run SQL in ecom-db."""
    return psql(cluster, "ecom")


@pytest.fixture(scope="session")
def inventory_sql(cluster: Cluster) -> Sql:
    """Run SQL in inventory-db."""
    return psql(cluster, "inventory")


@pytest.fixture(scope="session")
def analytics_sql(cluster: Cluster) -> Sql:
    """Run SQL in analytics-db."""
    return psql(cluster, "analytics")


def secret_of(cluster: Cluster) -> Callable[[str, str], Hidden]:
    """Reads a value of a Secret of the namespace identity, by name and key."""

    def read(name: str, key: str) -> Hidden:
        found = cluster.get("Secret", "identity", name)
        assert found is not None, f"identity/{name} does not exist; run make up"
        assert key in found["data"], f"identity/{name} has no key {key}; it needs bookstore_test_support=true"
        return Hidden(base64.b64decode(found["data"][key]).decode("utf-8"))

    return read


@pytest.fixture(scope="session")
def secret(cluster: Cluster) -> Callable[[str, str], Hidden]:
    """A value of a Secret of the namespace identity, by name and key."""
    return secret_of(cluster)


@pytest.fixture(scope="session", autouse=True)
def swept(trust: Trust, secret: Callable[[str, str], Hidden], ecom_sql: Sql, inventory_sql: Sql) -> None:
    """Nothing is left of runs that were killed; of several workers the first one sees to it."""
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        people = People(trust, PLACES, CONSOLE, secret("keycloak-clients", "e2e-provisioner"))
        leftovers.sweep(ecom_sql, inventory_sql, people)
        people.close()


@pytest.fixture
def user1(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[Shopper]:
    """The demo customer, newly signed in."""
    with Shopper(trust, PLACES, "user1", secret("demo-users", "user1")) as shopper:
        yield shopper


@pytest.fixture(scope="module")
def admin1(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[Shopper]:
    """The demo administrator, signed in for a module's tests."""
    with Shopper(trust, PLACES, "admin1", secret("demo-users", "admin1")) as shopper:
        yield shopper


@pytest.fixture
def people(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[People]:
    """Makes users for one test."""
    made = People(trust, PLACES, CONSOLE, secret("keycloak-clients", "e2e-provisioner"))
    yield made
    made.close()


@pytest.fixture
def goods(admin1: Shopper, ecom_sql: Sql, inventory_sql: Sql) -> Iterator[Goods]:
    """Makes books for one test."""
    made = Goods(admin1, ecom_sql, inventory_sql)
    yield made
    made.close()
