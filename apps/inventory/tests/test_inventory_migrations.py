"""The real migrations: up, down, several at once, and what they leave behind."""

import asyncio
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from inventory_testing import book, check_law, http, order, running, settings_of
from sqlalchemy import create_engine, text

from bookstore_common.db import Base
from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.postgres import Postgres
from inventory.app import Service
from inventory.events.repository import ExpiryRepository
from inventory.migrate import migrations_folder
from inventory.settings import InventoryMigrationSettings

TABLES = (
    "inventory", "reservations", "stock_movements", "outbox_events", "processed_events", "cdc_heartbeat",
    "cancelled_orders", "consumer_gaps", "dead_letters",
)  # fmt: skip


@pytest.fixture
def settings(roles: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch) -> InventoryMigrationSettings:
    for name, value in roles.environment("inventory_owner", empty).items():
        monkeypatch.setenv(name, value)
    return load_settings(InventoryMigrationSettings)


def objects(server: Postgres, database: str) -> list[Any]:
    """Everything that a migration could have left in the schema."""
    with server.connect(database) as connection:
        return connection.execute(
            "SELECT 'relation', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace ORDER BY 1, 2"
        ).fetchall()


def test_single_head_and_straight_line() -> None:
    script = ScriptDirectory(str(migrations_folder()))
    assert len(script.get_heads()) == 1
    assert all(not revision.is_branch_point for revision in script.walk_revisions())


def test_up_down_up(roles: Postgres, empty: str, settings: InventoryMigrationSettings) -> None:
    migrations = Migrations(migrations_folder())
    steps = [revision.revision for revision in migrations.script.walk_revisions()][::-1]
    seen = {}
    for revision in steps:
        migrate(migrations, settings, "upgrade", revision)
        seen[revision] = objects(roles, empty)
    for revision in steps[::-1]:
        assert objects(roles, empty) == seen[revision]
        migrate(migrations, settings, "downgrade", "-1")
    assert {name for _kind, name in objects(roles, empty)} <= {
        "alembic_version", "alembic_version_pkc", "_alembic_version",
    }  # fmt: skip
    assert migrate(migrations, settings, "upgrade", "head") == migrations.head
    assert objects(roles, empty) == seen[steps[-1]]


def test_models_say_what_the_database_has(roles: Postgres, seeded: str) -> None:
    from inventory.events import models as _events  # noqa: F401, PLC0415 # registers its tables

    assert set(Base.metadata.tables) == set(TABLES)
    url = f"postgresql+psycopg://postgres:{roles.superuser_password}@127.0.0.1:{roles.port}/{seeded}"
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_several_at_once(roles: Postgres, empty: str, settings: InventoryMigrationSettings) -> None:
    """Replicas' init containers; the later ones wait and find nothing to do."""
    environment = {**os.environ, **roles.environment("inventory_owner", empty), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "inventory.migrate"]
    runs = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)
    ]
    outputs = [run.communicate(timeout=50)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    events = [event for output in outputs for event in ("nothing_to_migrate", '"migrated"') if event in output]
    assert sorted(events) == ['"migrated"', "nothing_to_migrate", "nothing_to_migrate"]
    assert all(roles.role_passwords["inventory_owner"] not in output for output in outputs)
    assert migrate(Migrations(migrations_folder()), settings, "current", "") == Migrations(migrations_folder()).head


APP_MAY = {
    "inventory": {"SELECT", "INSERT", "UPDATE"},
    "reservations": {"SELECT", "INSERT", "UPDATE"},
    "stock_movements": {"SELECT", "INSERT"},
    "outbox_events": {"SELECT", "INSERT", "DELETE"},
    "processed_events": {"SELECT", "INSERT", "DELETE"},
    "cancelled_orders": {"SELECT", "INSERT", "DELETE"},
    "consumer_gaps": {"SELECT", "INSERT", "UPDATE", "DELETE"},
    "dead_letters": {"SELECT", "INSERT", "DELETE"},
    "cdc_heartbeat": {"SELECT"},
    "alembic_version": {"SELECT"},
}

# A grant on one column is a grant, too.
_ASKS = dict.fromkeys(("SELECT", "INSERT", "UPDATE", "REFERENCES"), "has_any_column_privilege")


def may(server: Postgres, database: str, role: str) -> dict[str, set[str]]:
    """What a role may do to each table there is, or to a column of it."""
    with server.connect(database) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"
        ).fetchall()
        return {
            str(table): {
                privilege
                for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
                if connection.execute(
                    f"SELECT {_ASKS.get(privilege, 'has_table_privilege')}(%s, %s, %s)", [role, table, privilege]
                ).fetchone()
                == (True,)
            }
            for (table,) in tables
        }


def test_grants(roles: Postgres, seeded: str) -> None:
    assert may(roles, seeded, "inventory_app") == APP_MAY
    assert may(roles, seeded, "inventory_ro") == {table: {"SELECT"} for table in APP_MAY}
    assert may(roles, seeded, "inventory_cdc") == {
        **{table: {"SELECT"} for table in APP_MAY},
        "cdc_heartbeat": {"SELECT", "INSERT", "UPDATE"},
        # Not captured.
        "cancelled_orders": set(),
        "consumer_gaps": set(),
        "dead_letters": set(),
    }
    with roles.connect(seeded) as connection:
        for role in ("inventory_app", "inventory_ro", "inventory_cdc"):
            row = connection.execute("SELECT has_schema_privilege(%s, 'public', 'CREATE')", [role]).fetchone()
            assert row == (False,)


def test_grants_hold_against_default_privileges(
    roles: Postgres, empty: str, settings: InventoryMigrationSettings
) -> None:
    """The databases role lets the app role do everything with new tables; the audit must still be append-only."""
    with roles.connect(empty) as connection:
        connection.execute(
            "ALTER DEFAULT PRIVILEGES FOR ROLE inventory_owner IN SCHEMA public"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO inventory_app"
        )
    migrate(Migrations(migrations_folder()), settings, "upgrade", "head")
    found = may(roles, empty, "inventory_app")
    del found["alembic_version"]
    assert found == {table: rights for table, rights in APP_MAY.items() if table != "alembic_version"}


@pytest.mark.parametrize("table", ["inventory", "outbox_events", "cdc_heartbeat"])
def test_whole_old_row_goes_into_the_wal(roles: Postgres, seeded: str, table: str) -> None:
    with roles.connect(seeded) as connection:
        row = connection.execute("SELECT relreplident::text FROM pg_class WHERE relname = %s", [table]).fetchone()
        assert row == ("f",)


INVENTORY = "INSERT INTO inventory (book_id, quantity, reserved, low_stock_threshold) VALUES (gen_random_uuid(), {})"
RESERVATION = "INSERT INTO reservations VALUES (gen_random_uuid(), {}, now())"
MOVEMENT = "INSERT INTO stock_movements (book_id, delta, reserved_delta, reason, actor) VALUES ({})"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (INVENTORY.format("-1, 0, 5"), psycopg.errors.CheckViolation),
        (INVENTORY.format("3, 4, 5"), psycopg.errors.CheckViolation),
        (INVENTORY.format("3, -1, 5"), psycopg.errors.CheckViolation),
        (INVENTORY.format("3, 0, -1"), psycopg.errors.CheckViolation),
        (INVENTORY.format("NULL, 0, 5"), psycopg.errors.NotNullViolation),
        (INVENTORY.format("1000000001, 0, 5"), psycopg.errors.CheckViolation),
        (INVENTORY.format("3, 0, 1000000001"), psycopg.errors.CheckViolation),
        ("INSERT INTO inventory (book_id, quantity, updated_at) VALUES (gen_random_uuid(), 1, 'infinity')",
         psycopg.errors.CheckViolation),
        (f"INSERT INTO inventory VALUES ('{book(1)}', 1)", psycopg.errors.UniqueViolation),
        (f"UPDATE inventory SET quantity = 49, reserved = 50 WHERE book_id = '{book(1)}'",
         psycopg.errors.CheckViolation),
        (RESERVATION.format(f"'{book(1)}', 0, 'HELD'"), psycopg.errors.CheckViolation),
        (RESERVATION.format(f"'{book(1)}', 1, 'LOST'"), psycopg.errors.CheckViolation),
        (RESERVATION.format(f"'{book(1)}', 1, NULL"), psycopg.errors.NotNullViolation),
        (RESERVATION.format("gen_random_uuid(), 1, 'HELD'"), psycopg.errors.ForeignKeyViolation),
        (MOVEMENT.format(f"'{book(1)}', 0, 0, 'r', 'a'"), psycopg.errors.CheckViolation),
        (MOVEMENT.format(f"'{book(1)}', 1, 0, NULL, 'a'"), psycopg.errors.NotNullViolation),
        (MOVEMENT.format(f"'{book(1)}', 1, 0, 'r', NULL"), psycopg.errors.NotNullViolation),
        (MOVEMENT.format("gen_random_uuid(), 1, 0, 'r', 'a'"), psycopg.errors.ForeignKeyViolation),
    ],
)  # fmt: skip
def test_database_refuses(rows: Any, statement: str, error: type[psycopg.Error]) -> None:
    with pytest.raises(error):
        rows.execute(statement)


def test_rows_from_before_are_mended(
    roles: Postgres, empty: str, settings: InventoryMigrationSettings, log_stream: LogStream
) -> None:
    """What the pipeline cannot carry becomes what it can, and the audit still adds up."""
    migrations = Migrations(migrations_folder())
    migrate(migrations, settings, "upgrade", "0005")
    with roles.connect(empty) as connection:
        most = 2**31 - 1
        for number, values in ((1, f"quantity = {most}, reserved = {most}"), (2, f"low_stock_threshold = {most}")):
            connection.execute(f"UPDATE inventory SET {values} WHERE book_id = '{book(number)}'".encode())
        connection.execute(
            f"INSERT INTO stock_movements (book_id, delta, reserved_delta, reason, actor)"
            f" VALUES ('{book(1)}', {most - 50}, {most}, 'set', 'somebody')".encode()
        )
        migrate(migrations, settings, "upgrade", "head")
        found = connection.execute(
            "SELECT quantity, reserved, low_stock_threshold FROM inventory ORDER BY book_id LIMIT 3"
        ).fetchall()
        assert found == [(10**9, 10**9, 5), (50, 0, 10**9), (50, 0, 5)]
        sums = connection.execute(
            f"SELECT sum(delta), sum(reserved_delta) FROM stock_movements WHERE book_id = '{book(1)}'".encode()
        ).fetchone()
        assert sums == (10**9, 10**9)
    told = [entry["rows"] for entry in log_stream.events() if entry["event"] == "rows_mended"]
    assert told == [[book(1), book(2)]]


def test_one_line_per_order_and_book(rows: Any) -> None:
    line = f"INSERT INTO reservations VALUES ('{order(1)}', '{book(1)}', 1, 'HELD', now())"
    rows.execute(line)
    with pytest.raises(psycopg.errors.UniqueViolation):
        rows.execute(line)


@pytest.mark.parametrize("table", ["inventory", "outbox_events", "cdc_heartbeat"])
@pytest.mark.parametrize("role", ["postgres", "inventory_owner", "inventory_app"])
def test_a_captured_table_is_not_truncated(roles: Postgres, fresh: str, table: str, role: str) -> None:
    """Debezium skips TRUNCATE: copies of the rows would stay. The owner is told; the service has no right to it."""
    refused = psycopg.errors.InsufficientPrivilege if role == "inventory_app" else psycopg.errors.FeatureNotSupported
    with roles.connect(fresh) as connection:
        connection.execute(f"SET ROLE {role}".encode())
        with pytest.raises(refused) as caught:
            connection.execute(f"TRUNCATE {table} CASCADE".encode())
    if role != "inventory_app":
        assert caught.value.diag.message_hint == "Use DELETE."
        assert str(caught.value).startswith("TRUNCATE of ")


def test_what_is_published(roles: Postgres, fresh: str) -> None:
    with roles.connect(fresh) as connection:
        assert connection.execute(
            "SELECT pubname, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication"
        ).fetchall() == [("debezium_inventory_publication", True, True, True, False)]


def test_any_change_raises_the_version(rows: Any) -> None:
    read = f"SELECT version, updated_at FROM inventory WHERE book_id = '{book(1)}'"
    before = rows.execute(read).fetchone()
    rows.execute(f"UPDATE inventory SET quantity = quantity WHERE book_id = '{book(1)}'")  # changes nothing
    assert rows.execute(read).fetchone() == before
    rows.execute(f"UPDATE inventory SET reserved = 1 WHERE book_id = '{book(1)}'")
    after = rows.execute(read).fetchone()
    assert after[0] == before[0] + 1
    assert after[1] > before[1]


@pytest.mark.anyio
async def test_the_sweeper_reads_no_reservation_that_is_settled(service: Service, rows: Any) -> None:
    """Its own query, among many orders of the past; PostgreSQL counts the rows that a transaction read."""
    rows.execute(
        "INSERT INTO reservations (order_id, book_id, quantity, status, expires_at)"
        " SELECT gen_random_uuid(), %s, 1, CASE WHEN n <= 3 THEN 'HELD' ELSE 'COMMITTED' END, now() - interval '1 day'"
        " FROM generate_series(1, 20000) n",
        [book(1)],
    )
    rows.execute("ANALYZE reservations")
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'reservations'"
    async with service.database.transaction() as session:
        found = await ExpiryRepository(session).overdue(datetime.now(UTC), uuid.UUID(int=0), 100)
        looked_at = (await session.execute(text(read))).scalar_one()
    assert len(found) == 3
    assert looked_at <= 10


def test_seed_stock(rows: Any) -> None:
    found = rows.execute(
        "SELECT book_id::text, quantity, reserved, low_stock_threshold, version FROM inventory ORDER BY 1"
    ).fetchall()
    assert found == [(book(number), {29: 3, 30: 0}.get(number, 50), 0, 5, 1) for number in range(1, 31)]
    assert rows.execute("SELECT count(*), sum(delta) FROM stock_movements").fetchone() == (29, 28 * 50 + 3)
    check_law(rows)


@pytest.mark.anyio
async def test_readiness_follows_the_schema(
    roles: Postgres, empty: str, environment: Any, settings: InventoryMigrationSettings
) -> None:
    migrations = Migrations(migrations_folder())
    async with running(settings_of(environment(empty))) as service, http(service.management) as client:
        await service.verifier.load()

        async def schema() -> tuple[int, str]:
            response = await client.get("/health/ready")
            return response.status_code, response.json()["checks"]["schema"].get("detail", "")

        status, detail = await schema()
        assert status == 503
        assert 'relation "alembic_version" does not exist' in detail
        await asyncio.to_thread(migrate, migrations, settings, "upgrade", "0001")
        assert await schema() == (503, f"schema revision 0001 is older than {migrations.head}; run the migrations")
        await asyncio.to_thread(migrate, migrations, settings, "upgrade", "head")
        assert await schema() == (200, "")
        roles.execute("UPDATE alembic_version SET version_num = '9999'", empty)
        assert await schema() == (200, "")  # a newer release has migrated
