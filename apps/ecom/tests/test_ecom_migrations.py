"""The real migrations: up, down, twice at once, and what they leave behind."""

import asyncio
import os
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from ecom_testing import http, running, settings_of
from sqlalchemy import create_engine

from bookstore_common.db import Base
from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres
from ecom.migrate import migrations_folder
from ecom.settings import EcomMigrationSettings


@pytest.fixture
def settings(roles: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch) -> EcomMigrationSettings:
    for name, value in roles.environment("ecom_owner", empty).items():
        monkeypatch.setenv(name, value)
    return load_settings(EcomMigrationSettings)


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


def test_up_down_up(roles: Postgres, empty: str, settings: EcomMigrationSettings) -> None:
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
    url = f"postgresql+psycopg://postgres:{roles.superuser_password}@127.0.0.1:{roles.port}/{seeded}"
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_two_at_once(roles: Postgres, empty: str, settings: EcomMigrationSettings) -> None:
    """Two replicas' init containers; the second one waits and finds nothing to do."""
    environment = {**os.environ, **roles.environment("ecom_owner", empty), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "ecom.migrate"]
    runs = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)
    ]
    outputs = [run.communicate(timeout=50)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    events = [event for output in outputs for event in ("nothing_to_migrate", '"migrated"') if event in output]
    assert sorted(events) == ['"migrated"', "nothing_to_migrate", "nothing_to_migrate"]
    assert all(roles.role_passwords["ecom_owner"] not in output for output in outputs)
    assert migrate(Migrations(migrations_folder()), settings, "current", "") == Migrations(migrations_folder()).head


DML = {"SELECT", "INSERT", "UPDATE", "DELETE"}
# table -> what the roles ro and cdc may do; app has DML everywhere but in what a trigger keeps.
GRANTS: dict[str, tuple[set[str], set[str]]] = {
    "books": ({"SELECT"}, {"SELECT"}),
    "book_search": ({"SELECT"}, set()),
    "cart_items": ({"SELECT"}, set()),
    "orders": ({"SELECT"}, {"SELECT"}),
    "order_items": ({"SELECT"}, {"SELECT"}),
    "idempotency_keys": (set(), set()),
    "outbox_events": ({"SELECT"}, {"SELECT"}),
    "processed_events": ({"SELECT"}, set()),
    "cdc_heartbeat": ({"SELECT"}, {"SELECT", "INSERT", "UPDATE"}),
    "consumer_gaps": ({"SELECT"}, set()),
    "dead_letters": ({"SELECT"}, set()),
}
# app may change nothing of them but, in one column, that a gap is repaired.
WRITTEN_ONCE = {"consumer_gaps", "dead_letters"}
# SPEC 7.
CAPTURED = {"books", "orders", "order_items", "outbox_events", "cdc_heartbeat"}


def test_every_table_is_known(roles: Postgres, seeded: str) -> None:
    with roles.connect(seeded) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {name for (name,) in found} == {*GRANTS, "alembic_version"}


@pytest.mark.parametrize("defaults_first", [True, False])
@pytest.mark.parametrize("role", ["ecom_app", "ecom_ro", "ecom_cdc"])
def test_grants(roles: Postgres, empty: str, settings: EcomMigrationSettings, role: str, defaults_first: bool) -> None:
    """The same whether the databases role set its default privileges before the migration or not at all."""
    if defaults_first:
        for privileges, to in (("SELECT, INSERT, UPDATE, DELETE", "ecom_app"), ("SELECT", "ecom_cdc, ecom_ro")):
            roles.execute(
                f"ALTER DEFAULT PRIVILEGES FOR ROLE ecom_owner IN SCHEMA public GRANT {privileges} ON TABLES TO {to}",
                empty,
            )
    migrate(Migrations(migrations_folder()), settings, "upgrade", "head")
    with roles.connect(empty) as connection:
        for table, (ro, cdc) in GRANTS.items():
            app = {"SELECT"} if table == "book_search" else DML - {"UPDATE"} if table in WRITTEN_ONCE else DML
            allowed = {"ecom_app": app, "ecom_ro": ro, "ecom_cdc": cdc}[role]
            for privilege in (*DML, "TRUNCATE", "REFERENCES", "TRIGGER"):
                row = connection.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, privilege]).fetchone()
                assert row == (privilege in allowed,), (table, privilege)
        row = connection.execute("SELECT has_table_privilege(%s, 'alembic_version', 'SELECT')", [role]).fetchone()
        assert row == (True,)
        assert connection.execute("SELECT has_schema_privilege(%s, 'public', 'CREATE')", [role]).fetchone() == (False,)


def test_whole_old_row_goes_into_the_wal(roles: Postgres, seeded: str) -> None:
    with roles.connect(seeded) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relreplident = 'f'"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert {name for (name,) in rows} == CAPTURED


@pytest.mark.parametrize("table", ["books", "orders", "order_items", "outbox_events", "cdc_heartbeat"])
@pytest.mark.parametrize("role", ["postgres", "ecom_owner", "ecom_app"])
def test_a_captured_table_is_not_truncated(roles: Postgres, fresh: str, table: str, role: str) -> None:
    """Debezium skips TRUNCATE: copies of the rows would stay. The owner is told; the service has no right to it."""
    refused = psycopg.errors.InsufficientPrivilege if role == "ecom_app" else psycopg.errors.FeatureNotSupported
    with roles.connect(fresh) as connection:
        connection.execute(f"SET ROLE {role}".encode())
        with pytest.raises(refused) as caught:
            connection.execute(f"TRUNCATE {table} CASCADE".encode())
    if role != "ecom_app":
        assert caught.value.diag.message_hint == "Use DELETE."
        assert str(caught.value).startswith("TRUNCATE of ")


def test_what_is_published(roles: Postgres, fresh: str) -> None:
    with roles.connect(fresh) as connection:
        assert connection.execute(
            "SELECT pubname, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication"
        ).fetchall() == [("debezium_ecom_publication", True, True, True, False)]


ORDER = "20000000-0000-4000-8000-000000000001"
_NEW_ORDER = (
    f"INSERT INTO orders (id, user_id, status, total, shipping) VALUES ('{ORDER}', 'u', 'CONFIRMED', 1, '{{}}')"
)
_NEW_ITEM = (
    "INSERT INTO order_items (order_id, book_id, title_at_purchase, quantity, price_at_purchase)"
    f" VALUES ('{ORDER}', '00000000-0000-0000-0000-000000000001', 't', 1, 1)"
)
_NEW_LINE = (
    "INSERT INTO cart_items (user_id, book_id, quantity) VALUES ('u', '00000000-0000-0000-0000-000000000001', 1)"
)
CHECK, UNIQUE, FOREIGN, NULL = (
    psycopg.errors.CheckViolation,
    psycopg.errors.UniqueViolation,
    psycopg.errors.ForeignKeyViolation,
    psycopg.errors.NotNullViolation,
)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE orders SET status = 'PAID'", CHECK),
        ("UPDATE orders SET total = -0.01", CHECK),
        ("UPDATE orders SET currency = 'EUR'", CHECK),
        ("UPDATE orders SET shipping = NULL", NULL),
        ("UPDATE orders SET user_id = NULL", NULL),
        ("UPDATE order_items SET quantity = 0", CHECK),
        ("UPDATE order_items SET price_at_purchase = 0", CHECK),
        ("UPDATE order_items SET book_id = gen_random_uuid()", FOREIGN),
        ("UPDATE order_items SET order_id = gen_random_uuid()", FOREIGN),
        (_NEW_ORDER, UNIQUE),
        (_NEW_ITEM, UNIQUE),
        ("DELETE FROM orders", FOREIGN),
        ("UPDATE cart_items SET quantity = 0", CHECK),
        ("UPDATE cart_items SET quantity = 100", CHECK),
        ("UPDATE cart_items SET book_id = gen_random_uuid()", FOREIGN),
        (_NEW_LINE, UNIQUE),
    ],
)
def test_database_refuses_in_carts_and_orders(books: Any, statement: str, error: type[psycopg.Error]) -> None:
    for new in (_NEW_ORDER, _NEW_ITEM, _NEW_LINE):
        books.execute(new)
    with pytest.raises(error):
        books.execute(statement)


@pytest.mark.parametrize(
    ("column", "value", "error"),
    [
        ("price", "0", psycopg.errors.CheckViolation),
        ("price", "-1", psycopg.errors.CheckViolation),
        ("price", None, psycopg.errors.NotNullViolation),
        ("published_year", 999, psycopg.errors.CheckViolation),
        ("published_year", 2101, psycopg.errors.CheckViolation),
        ("isbn", "978014143951X", psycopg.errors.CheckViolation),
        ("isbn", "9780141439518", psycopg.errors.UniqueViolation),
        ("title", None, psycopg.errors.NotNullViolation),
        ("title", "t" * 256, psycopg.errors.StringDataRightTruncation),
        ("author", None, psycopg.errors.NotNullViolation),
        ("genre", "g" * 101, psycopg.errors.StringDataRightTruncation),
    ],
)
def test_database_refuses(add_book: Any, column: str, value: object, error: type[psycopg.Error]) -> None:
    with pytest.raises(error):
        add_book(**{"title": "Any", column: value})


def test_any_change_raises_the_version(books: Any) -> None:
    read = "SELECT version, updated_at FROM books WHERE title = 'Dune'"
    before = books.execute(read).fetchone()
    books.execute("UPDATE books SET price = price WHERE title = 'Dune'")  # changes nothing
    assert books.execute(read).fetchone() == before
    books.execute("UPDATE books SET price = price + 1 WHERE title = 'Dune'")
    after = books.execute(read).fetchone()
    assert after[0] == before[0] + 1
    assert after[1] > before[1]


def test_seed_books(books: Any) -> None:
    rows = books.execute(
        "SELECT id::text, isbn, genre, price, published_year, description, created_at, updated_at, active, version"
        " FROM books ORDER BY id"
    ).fetchall()
    assert [row[0] for row in rows] == [f"00000000-0000-0000-0000-0000000000{number:02d}" for number in range(1, 31)]
    for _id, isbn, _genre, price, year, description, created, updated, active, version in rows:
        # ISO 2108: weights 1 and 3, sum divisible by ten.
        assert sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(isbn)) % 10 == 0
        assert isbn.startswith(("978", "979"))
        assert 1 < price < 100
        assert 1800 < year < 2026
        assert description.endswith(".")
        assert created == updated
        assert active
        assert version == 1
    assert len({row[1] for row in rows}) == 30
    assert len({row[2] for row in rows}) >= 6
    assert len({row[3] for row in rows}) >= 15
    assert len({row[6].date() for row in rows}) == 30


@pytest.mark.anyio
async def test_readiness_follows_the_schema(
    roles: Postgres, empty: str, settings: EcomMigrationSettings, environment: Any
) -> None:
    migrations = Migrations(migrations_folder())
    async with running(settings_of(environment(empty))) as service, http(service.management) as client:

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
