"""A bench for the standing audit: the real sources' schemas and digests, analytics, and a feed in between."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import psycopg
import pytest
from refresher_testing import Sources

from bookstore_common import events
from bookstore_common.audit import SourceAudit
from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres, template_database
from ecom.audit.service import TABLES as ECOM_TABLES
from inventory.audit.service import TABLES as INVENTORY_TABLES
from mv_refresher.audit.service import Auditor
from mv_refresher.settings import Settings

TABLES = {audited.table: audited for audited in (*ECOM_TABLES, *INVENTORY_TABLES)}
FACTS = {
    "books": ("dim_books", "book_id"), "orders": ("fact_orders", "order_id"),
    "order_items": ("fact_order_items", "order_item_id"), "inventory": ("fact_inventory", "book_id"),
}  # fmt: skip


class Feed:
    """Kafka and Flink as the audit sees them; ``lacking`` records are still on their way."""

    def __init__(self) -> None:
        self.lacking: list[int] = []

    def ends(self, topics: Mapping[str, str]) -> dict[str, int]:
        return dict.fromkeys(topics, 1)

    def behind(self, topics: Mapping[str, str], _ends: Mapping[str, int]) -> dict[str, int]:
        lack = self.lacking.pop(0) if self.lacking else 0
        return dict.fromkeys(topics, lack) if lack else {}


class Bench:
    """A source, analytics, and both sides of the audit."""

    def __init__(self, sources: Sources, ours: Database, theirs: tuple[Database, Database], settings: Settings) -> None:
        self.sources = sources
        self._ours, self._settings = ours, settings
        self.metrics = Metrics()
        self.feed = Feed()
        self.auditor = Auditor(settings, ours, self.metrics)
        self.ecom = SourceAudit(theirs[0], ECOM_TABLES, 300)
        self.inventory = SourceAudit(theirs[1], INVENTORY_TABLES, 300)

    def restart(self) -> None:
        """Another process of the service, over the same database."""
        self.metrics = Metrics()
        self.auditor = Auditor(self._settings, self._ours, self.metrics)

    async def publish(self, table: str) -> dict[str, Any]:
        """What the source's worker does; returns the event as Debezium publishes it."""
        source, rows = (
            (self.inventory, self.sources.inventory) if table == "inventory" else (self.ecom, self.sources.ecom)
        )
        await source.publish(TABLES[table])
        payload: dict[str, Any] = rows.execute(
            "DELETE FROM outbox_events WHERE event_type = 'cdc.audit' RETURNING payload"
        ).fetchone()[0]
        events.validate(payload)
        return payload

    async def compare(self, payload: dict[str, Any]) -> None:
        await self.take(json.dumps(payload).encode())

    async def take(self, value: bytes | None) -> None:
        """Audit what an event asks for, whether or not a later one was audited."""
        if digest := self.auditor._read(value):
            await self.auditor._compare(self.feed, digest)  # type: ignore[arg-type]

    async def audit(self, table: str) -> int | None:
        """Both sides; returns the number of divergent buckets, None if the audit was not completed."""
        await self.compare(await self.publish(table))
        return self.divergent(table)

    def divergent(self, table: str) -> int | None:
        return self.value("divergent", table)

    def value(self, kind: str, table: str) -> int | None:
        value = self.metrics.registry.get_sample_value(f"cdc_audit_{kind}_buckets", {"table": table})
        return None if value is None else int(value)

    def results(self) -> dict[str, Any]:
        found = self.sources.analytics.execute(
            "SELECT table_name, result, row_count, cardinality(divergent_buckets), cardinality(unsettled_buckets)"
            " FROM cdc_audit"
        ).fetchall()
        return {str(name): rest for name, *rest in found}


def database(server: Postgres, role: str, name: str) -> Database:
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in variables(server, role, name).items():
            patch.setenv(variable, value)
        return Database(load_settings(Settings), "audit-test")


def variables(server: Postgres, role: str, name: str) -> dict[str, str]:
    return {
        **server.environment(role, name),
        "KAFKA_BOOTSTRAP_SERVERS": "nowhere:9092",
        "DATABASE_CONNECT_TIMEOUT_SECONDS": "30",
        "DATABASE_COMMAND_TIMEOUT_SECONDS": "60",
        "CDC_AUDIT_CONFIRM_SECONDS": "0.2",
        "CDC_AUDIT_PATIENCE_SECONDS": "2",
    }


SOURCES = ("ecom", "inventory")


@pytest.fixture(scope="session")
def source_templates(roles: Postgres) -> list[str]:
    """Each source's database as its own migrations make it; in processes of their own, as their models share names."""
    templates = []
    for service in SOURCES:
        for role in ("owner", "app", "ro", "cdc"):
            roles.create_role(f"{service}_{role}")

        def build(name: str, service: str = service) -> None:
            environment = roles.environment(f"{service}_owner", name)
            subprocess.run(
                [sys.executable, "-W", "ignore", "-m", f"{service}.migrate"],
                env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                check=True,
            )

        templates.append(template_database(roles, f"{service}_owner", build))
    return templates


@pytest.fixture
def source_names(roles: Postgres, source_templates: list[str]) -> Iterator[list[str]]:
    names = [
        roles.create_database(f"{service}_owner", template)
        for service, template in zip(SOURCES, source_templates, strict=True)
    ]
    yield names
    for name in names:
        roles.drop_database(name)


@pytest.fixture
def sources(roles: Postgres, source_names: list[str], connect: Any) -> Iterator[Sources]:
    connections = [
        psycopg.connect(
            host="127.0.0.1", port=roles.port, dbname=name, user=f"{service}_owner", autocommit=True,
            password=roles.role_passwords[f"{service}_owner"], options="-c timezone=UTC",
        )
        for service, name in zip(SOURCES, source_names, strict=True)
    ]  # fmt: skip
    ecom, inventory = connections
    yield Sources(ecom, inventory, connect("analytics_owner"))
    for connection in connections:
        connection.close()


@pytest.fixture
async def bench(roles: Postgres, fresh: str, sources: Sources, source_names: list[str]) -> AsyncIterator[Bench]:
    ours = database(roles, "analytics_app", fresh)
    ecom, inventory = (
        database(roles, f"{service}_app", name) for service, name in zip(SOURCES, source_names, strict=True)
    )
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in variables(roles, "analytics_app", fresh).items():
            patch.setenv(variable, value)
        settings = load_settings(Settings)
    yield Bench(sources, ours, (ecom, inventory), settings)
    for used in (ours, ecom, inventory):
        await used.close()
