"""A database server, and the images of Flink and Kafka."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from bookstore_common.testing.postgres import Postgres, running_postgres

from .mini_cluster import APP, OWNER


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        for role in (OWNER, APP, "analytics_ro", "analytics_cdc", "superset_ro"):
            server.create_role(role)
        yield server


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    """The newest images of Flink and Kafka that this host has."""
    if not shutil.which("docker"):
        pytest.skip("there is no container engine, and Flink and Kafka are only in their images")
    found = {}
    for name in ("flink", "kafka"):
        listing = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"bookstore.local/{name}"]
        tags = subprocess.run(listing, capture_output=True, text=True, timeout=20, check=False).stdout.split()
        if not tags:
            pytest.skip(f"bookstore.local/{name} is not built on this host; `make up` builds it")
        found[name] = tags[0]
    return found
