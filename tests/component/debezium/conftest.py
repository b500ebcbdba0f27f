"""Real PostgreSQL, Kafka and Debezium Server; skipped, with the reason, where their images were never built."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres, running_postgres
from ecom.migrate import migrations_folder
from ecom.settings import EcomMigrationSettings

from .pipeline import ROOT, Debezium, Kafka, Manifests, compiled, newest_image

OWNER = "ecom_owner"


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Kafka and Debezium."""
    found = {name: newest_image(name) for name in ("kafka", "debezium")}
    if missing := [name for name, image in found.items() if image is None]:
        pytest.skip(f"bookstore.local/{missing[0]} is not built on this host; `make up` builds it")
    return {name: str(image) for name, image in found.items()}


@pytest.fixture(scope="session")
def compiler() -> Path:
    """The compiler of role kafka's recipe, from the cache."""
    return fetched("java-compiler-*/ecj-*.jar")


def fetched(pattern: str) -> Path:
    """The newest file of an artifact in the cache; skips where the recipe was never carried out."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bookstore-platform"
    found = sorted(cache.glob(f"artifacts/{pattern}"), key=lambda path: path.stat().st_mtime)
    if not found:
        pytest.skip(f"there is no {cache}/artifacts/{pattern}; `make up` fetches it")
    return found[-1]


@pytest.fixture(scope="session")
def classes(images: dict[str, str], compiler: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Classes of our own, from the checkout's sources, and the agent that serves metrics."""
    folder = tmp_path_factory.mktemp("classes")
    jars = {"kafka": "/opt/kafka/libs/*.jar", "debezium": "/opt/debezium/*.jar /opt/debezium/lib/*.jar"}
    homes = {"kafka": "kafka-ops", "debezium": "debezium-guard"}
    made = {
        name: compiled(images[name], compiler, ROOT / f"components/{homes[name]}/src", jars[name], folder / name) for name in jars
    }  # fmt: skip
    return {**made, "agent": fetched("jmx-agent-*/jmx_prometheus_javaagent-*.jar")}


@pytest.fixture(scope="session")
def manifests(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """As the roles render them."""
    return Manifests(tmp_path_factory.mktemp("manifests"), Path(sys.executable).with_name("ansible"))


@contextmanager
def running_kafka(manifests: Manifests, images: dict[str, str], classes: dict[str, Path], tmp_path: Path) -> Iterator[Kafka]:
    """An empty broker with the declared topics."""
    broker = Kafka(manifests, images["kafka"], classes, tmp_path / "kafka", f"bookstore-test-kafka-{uuid.uuid4().hex[:8]}")
    try:
        broker.empty()
        broker.make_topics()
        yield broker
    finally:
        broker.remove()


@pytest.fixture
def kafka(manifests: Manifests, images: dict[str, str], classes: dict[str, Path], tmp_path: Path) -> Iterator[Kafka]:
    """A broker of the test's own."""
    with running_kafka(manifests, images, classes, tmp_path) as broker:
        yield broker


@pytest.fixture(scope="module")
def module_kafka(
    manifests: Manifests, images: dict[str, str], classes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kafka]:
    """A broker of the module's own."""
    with running_kafka(manifests, images, classes, tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """PostgreSQL with the roles of source ecom."""
    with running_postgres() as server:
        for role in (OWNER, "ecom_app", "ecom_ro", "ecom_cdc"):
            server.create_role(role)
        server.execute("ALTER ROLE ecom_cdc REPLICATION")
        yield server


@pytest.fixture
def database(server: Postgres) -> Iterator[str]:
    """The real schema of source ecom."""
    name = server.create_database(OWNER)
    server.execute("ALTER SCHEMA public OWNER TO " + OWNER, name)
    server.execute("GRANT USAGE ON SCHEMA public TO ecom_app, ecom_cdc, ecom_ro", name)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in server.environment(OWNER, name).items():
            patch.setenv(variable, value)
        migrate(Migrations(migrations_folder()), load_settings(EcomMigrationSettings), "upgrade", "head")
    yield name
    server.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
    server.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")


@pytest.fixture
def debezium(
    manifests: Manifests, images: dict[str, str], classes: dict[str, Path], kafka: Kafka, server: Postgres, database: str, tmp_path: Path
) -> Iterator[Debezium]:
    """The server, not started yet."""
    name = f"bookstore-test-debezium-{uuid.uuid4().hex[:8]}"
    one = Debezium(manifests, images["debezium"], classes, tmp_path / "debezium", server, database, kafka, name)
    try:
        yield one
    finally:
        one.container.remove()
