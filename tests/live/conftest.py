"""Fixtures of the live tests: they speak to the running platform, as a client with our CA would."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.cluster import Cluster

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "bookstore-platform"
NETWORK = yaml.safe_load((Path(__file__).parents[2] / "inventory/local/group_vars/all/network.yml").read_text())
API = f"https://api.bookstore.test:{NETWORK['bookstore_gateway_https_port']}"
SHOP_ORIGIN = f"https://shop.bookstore.test:{NETWORK['bookstore_gateway_https_port']}"


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
def trust(cluster: Cluster) -> ssl.SSLContext:
    """TLS that trusts the platform's certificate authority and nothing else."""
    secret = cluster.get("Secret", "gateway", "bookstore-gateway-tls")
    assert secret is not None, "gateway/bookstore-gateway-tls does not exist; run make up"
    return ssl.create_default_context(cadata=base64.b64decode(secret["data"]["ca.crt"]).decode("ascii"))


@pytest.fixture
def api(trust: ssl.SSLContext) -> Iterator[httpx2.Client]:
    """A client of the api host."""
    with httpx2.Client(base_url=API, verify=trust, timeout=15, trust_env=False) as client:
        yield client


@pytest.fixture
def ecom_sql(cluster: Cluster) -> Callable[[str], str]:
    """Run SQL in ecom-db as its superuser, over the pod's local socket; ClusterError when it fails."""

    def run(statement: str) -> str:
        command = ["psql", "--host=/run/postgresql", "--username=postgres", "--dbname=ecomdb", "--no-psqlrc"]
        command += ["--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1", f"--command={statement}"]
        return cluster.execute("ecom", "ecom-db-0", "postgresql", command, timeout=30).strip()

    return run
