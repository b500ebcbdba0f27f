"""Replica identities and publications against a real PostgreSQL: what is noticed, and what is restored."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_source

from ..conftest import APPS
from .conftest import Databases, psql

CAPTURED = yaml.safe_load((APPS.parent / "inventory/local/group_vars/all/topics.yml").read_text("utf-8"))["bookstore_captured"]
ECOM = CAPTURED[0]
NAME = "debezium_ecom_publication"


@pytest.fixture
def run(databases: Databases) -> Any:
    return lambda place, statement: psql(databases.connections[place.split("/")[0]], statement)


def restored(run: Any, *, apply: bool = True) -> cdc_source.Outcome:
    return cdc_source.restore(run, CAPTURED, apply=apply)


def test_what_the_migrations_make_is_as_declared(run: Any) -> None:
    assert restored(run).faults == []


@pytest.mark.parametrize(
    ("drift", "told", "tables"),
    [
        ("ALTER TABLE orders REPLICA IDENTITY DEFAULT", ["ecom, table orders: REPLICA IDENTITY is DEFAULT, not FULL"], ["orders"]),
        ("ALTER TABLE books REPLICA IDENTITY NOTHING", ["ecom, table books: REPLICA IDENTITY is NOTHING, not FULL"], ["books"]),
        (f"ALTER PUBLICATION {NAME} SET (publish = 'insert, update, delete, truncate')",
         [f"ecom: publication {NAME} publishes insert, update, delete, truncate, not insert, update, delete"], ECOM["tables"]),
        (f"ALTER PUBLICATION {NAME} SET (publish = 'insert')",
         [f"ecom: publication {NAME} publishes insert, not insert, update, delete"], ECOM["tables"]),
        (f"ALTER PUBLICATION {NAME} SET (publish = '')",
         [f"ecom: publication {NAME} publishes nothing, not insert, update, delete"], ECOM["tables"]),
        (f"ALTER PUBLICATION {NAME} DROP TABLE orders", [f"ecom, table orders: is not in publication {NAME}"], ["orders"]),
        (f"ALTER PUBLICATION {NAME} ADD TABLE cart_items",
         [f"ecom, table public.cart_items: is in publication {NAME}, and not declared"], ECOM["tables"]),
        (f"ALTER PUBLICATION {NAME} SET TABLE books WHERE (active), orders, order_items (id, quantity), outbox_events, cdc_heartbeat",
         [f"ecom, table books: publication {NAME} has the row filter active",
          f"ecom, table order_items: publication {NAME} has a list of columns"],
         ["books", "order_items"]),
        (f"ALTER PUBLICATION {NAME} SET (publish_via_partition_root = true)",
         [f"ecom: publication {NAME} publishes via partition roots"], ECOM["tables"]),
        (f"ALTER PUBLICATION {NAME} ADD TABLES IN SCHEMA public", [f"ecom: publication {NAME} has schema public"], ECOM["tables"]),
        (f"DROP PUBLICATION {NAME}", [f"ecom: publication {NAME} does not exist"], ECOM["tables"]),
        (f"DROP PUBLICATION {NAME}; CREATE PUBLICATION {NAME} FOR ALL TABLES",
         [f"ecom: publication {NAME} is FOR ALL TABLES",
          f"ecom: publication {NAME} publishes insert, update, delete, truncate, not insert, update, delete"], ECOM["tables"]),
    ],
)  # fmt: skip
def test_drift_is_told_and_restored(run: Any, databases: Databases, drift: str, told: list[str], tables: list[str]) -> None:
    psql(databases.connections["ecom"], drift)
    seen = [str(fault) for fault in restored(run, apply=False).faults]
    assert seen == told
    outcome = restored(run)
    assert [str(fault) for fault in outcome.faults] == told
    assert sorted(outcome.tables) == sorted(tables)
    assert restored(run).faults == []
    owner = databases.connections["ecom"].execute("SELECT pubowner::regrole::text FROM pg_publication").fetchone()
    assert owner == ("ecom_owner",)


@pytest.mark.parametrize(
    ("drift", "snapshot"),
    [
        ("ALTER TABLE orders REPLICA IDENTITY DEFAULT", []),
        (f"ALTER PUBLICATION {NAME} SET (publish = 'insert, update, delete, truncate')", []),
        (f"ALTER PUBLICATION {NAME} DROP TABLE outbox_events", ["ecom"]),
        (f"ALTER PUBLICATION {NAME} SET (publish = 'insert')", ["ecom"]),
        (f"DROP PUBLICATION {NAME}", ["ecom"]),
    ],
)
def test_a_publication_that_left_changes_out_costs_a_snapshot(databases: Databases, run: Any, drift: str, snapshot: list[str]) -> None:
    connection = databases.connections["ecom"]
    connection.execute("SELECT pg_create_logical_replication_slot('debezium_ecom_slot', 'pgoutput')")
    try:
        psql(connection, drift)
        assert restored(run).snapshots == snapshot
        left = connection.execute("SELECT count(*) FROM pg_replication_slots").fetchone()
        assert left == (0 if snapshot else 1,)
    finally:
        connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def test_a_captured_table_that_is_not_there_is_named(run: Any) -> None:
    source = {**ECOM, "tables": [*ECOM["tables"], "gone"]}
    with pytest.raises(cdc_source.SourceError, match="BK-261: source ecom: table gone does not exist"):
        cdc_source.restore(run, [source], apply=True)
