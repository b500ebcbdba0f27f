"""The real migrations: up, down, several at once, and what they leave behind."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from oracle import differences
from refresher_testing import DEPENDENCIES, settle
from streams import Stream

from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres
from mv_refresher.migrate import migrations_folder
from mv_refresher.settings import RefresherMigrationSettings

OWNER, APP, RO, CDC, SUPERSET = "analytics_owner", "analytics_app", "analytics_ro", "analytics_cdc", "superset_ro"
FACTS = ("fact_orders", "fact_order_items", "fact_inventory", "dim_books")


@pytest.fixture
def settings(roles: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch) -> RefresherMigrationSettings:
    for name, value in roles.environment(OWNER, empty).items():
        monkeypatch.setenv(name, value)
    return load_settings(RefresherMigrationSettings)


def objects(server: Postgres, database: str) -> list[Any]:
    """Everything that a migration could have left in the schema."""
    with server.connect(database) as connection:
        return connection.execute(
            "SELECT 'relation', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION ALL SELECT 'trigger', tgname FROM pg_trigger"
            " UNION ALL SELECT 'type', typname FROM pg_type WHERE typnamespace = 'public'::regnamespace ORDER BY 1, 2"
        ).fetchall()


def test_up_down_up(roles: Postgres, empty: str, settings: RefresherMigrationSettings) -> None:
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


def test_rows_that_are_there_are_counted_and_come_back(
    roles: Postgres, empty: str, settings: RefresherMigrationSettings
) -> None:
    migrations, stream = Migrations(migrations_folder()), Stream(9)

    def write_and_compare(number: int, revision: str, direction: str) -> None:
        for late in (False, True):
            # A connection for each schema: its prepared statements are of one.
            with psycopg.connect(
                host="127.0.0.1", port=roles.port, dbname=empty, user=APP, password=roles.role_passwords[APP],
                autocommit=True,
            ) as rows:  # fmt: skip
                if late:
                    settle(rows)
                    assert differences(rows) == {}
                else:
                    for step in stream.steps(number):
                        step(rows)
            if not late:
                migrate(migrations, settings, direction, revision)

    migrate(migrations, settings, "upgrade", "0008")
    write_and_compare(150, "head", "upgrade")
    write_and_compare(50, "0008", "downgrade")
    write_and_compare(50, "head", "upgrade")


def test_a_refresh_that_runs_and_a_migration_do_not_deadlock(
    roles: Postgres, empty: str, settings: RefresherMigrationSettings
) -> None:
    migrations = Migrations(migrations_folder())
    for before, direction, after in (("0009", "upgrade", "0010"), ("0010", "downgrade", "0009")):
        migrate(migrations, settings, "upgrade", before)
        with ThreadPoolExecutor(1) as pool, roles.connect(empty) as look, roles.connect(empty) as refresh:
            with refresh.transaction():
                # As mv_refresh does: its lock, the view, and only then the tables that the view reads.
                refresh.execute("SELECT pg_advisory_xact_lock(hashtext('mv_refresh_state'))")
                refresh.execute("SELECT count(*) FROM mv_top_books_by_revenue")
                moving = pool.submit(migrate, migrations, settings, direction, after)
                deadline = time.monotonic() + 30
                while not look.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").fetchone()[0]:  # type: ignore[index]
                    assert time.monotonic() < deadline, "the migration waits for nothing"
                    assert not moving.done()
                refresh.execute("LOCK TABLE fact_orders, fact_order_items, dim_books IN ACCESS SHARE MODE")
            assert moving.result(timeout=30) == after


def test_summaries_are_complete_until_a_time_from_the_beginning(rows: Any) -> None:
    # -infinity would be promised by a refresh, when a key came before the first was taken.
    assert rows.execute("SELECT complete_until > now() - interval '1 day' FROM mv_summary_state").fetchone() == (True,)


def test_several_at_once(roles: Postgres, empty: str) -> None:
    environment = {**os.environ, **roles.environment(OWNER, empty), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-m", "mv_refresher.migrate"]
    runs = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)
    ]
    outputs = [run.communicate(timeout=50)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], outputs
    events = [event for output in outputs for event in ("nothing_to_migrate", '"migrated"') if event in output]
    assert sorted(events) == ['"migrated"', "nothing_to_migrate", "nothing_to_migrate"]


def test_the_calendar_is_complete(rows: Any) -> None:
    assert rows.execute(
        "SELECT count(*), min(date)::text, max(date)::text, min(date_key), max(date_key) FROM dim_date"
    ).fetchone() == (5844, "2020-01-01", "2035-12-31", 20200101, 20351231)
    # A day whose ISO week belongs to the year before.
    assert rows.execute(
        "SELECT date::text, year, quarter, month, day, iso_week, day_of_week FROM dim_date WHERE date_key = 20270103"
    ).fetchone() == ("2027-01-03", 2027, 1, 1, 3, 53, 7)


def test_views_have_their_columns_and_keys(rows: Any) -> None:
    columns = {
        name: tuple(found)
        for name, found in rows.execute(
            "SELECT relname, array_agg(attname::text ORDER BY attnum) FROM pg_class JOIN pg_attribute"
            " ON attrelid = pg_class.oid WHERE relkind = 'm' AND attnum > 0 GROUP BY relname"
        ).fetchall()
    }
    assert columns == {
        "mv_product_sales_volume": ("book_id", "label", "title", "author", "units_sold", "revenue"),
        "mv_sales_over_time": ("sale_date", "orders", "units", "revenue"),
        "mv_revenue_by_author": ("author", "revenue", "units", "orders"),
        "mv_revenue_by_genre": ("genre", "revenue", "units", "share_pct"),
        "mv_order_status_distribution": ("status", "orders", "total"),
        "mv_inventory_health": (
            "book_id", "label", "title", "author", "genre", "quantity", "reserved", "available",
            "low_stock_threshold", "stock_status",
        ),
        "mv_avg_order_value": ("order_date", "orders", "total", "avg_order_value"),
        "mv_top_books_by_revenue": ("book_id", "label", "title", "author", "revenue", "units_sold", "rank"),
        "mv_inventory_turnover": ("book_id", "label", "title", "units_sold", "quantity", "turnover_pct"),
        "mv_book_price_distribution": ("price_range", "sort_key", "books"),
    }  # fmt: skip
    keys = rows.execute(
        "SELECT indrelid::regclass::text, attname FROM pg_index JOIN pg_class ON pg_class.oid = indrelid"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]"
        " WHERE relkind = 'm' AND indisunique AND indpred IS NULL AND indnatts = 1 ORDER BY 1"
    ).fetchall()
    assert dict(keys) == {
        "mv_product_sales_volume": "book_id", "mv_sales_over_time": "sale_date", "mv_revenue_by_author": "author",
        "mv_revenue_by_genre": "genre", "mv_order_status_distribution": "status", "mv_inventory_health": "book_id",
        "mv_avg_order_value": "order_date", "mv_top_books_by_revenue": "book_id", "mv_inventory_turnover": "book_id",
        "mv_book_price_distribution": "price_range",
    }  # fmt: skip


def test_who_may_what(roles: Postgres, fresh: str, connect: Any) -> None:
    everything = (
        *FACTS, *DEPENDENCIES, "dim_date", "mv_refresh_state", "mv_dependencies", "mv_changes", "sum_days",
        "sum_status", "sum_books", "sum_authors", "counted_orders", "mv_changed_orders", "mv_changed_books",
        "mv_summary_state", "mv_summary_audit",
    )  # fmt: skip
    writing = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")

    with roles.connect(fresh) as connection:

        def may(role: str, *privileges: str) -> set[str]:
            return {
                table
                for table in everything
                for privilege in privileges
                if connection.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, privilege]).fetchone()
                == (True,)
            }

        assert may(APP, "SELECT") == may(RO, "SELECT") == set(everything)
        assert may(APP, "INSERT") & may(APP, "UPDATE") & may(APP, "DELETE") >= set(FACTS)
        # On a view the default privilege means nothing: PostgreSQL refuses to write one.
        assert may(APP, *writing) - set(DEPENDENCIES) == set(FACTS)
        assert may(RO, *writing) == set()
        quarantine = [
            [privilege for privilege in ("SELECT", *writing) if connection.execute(
                "SELECT has_table_privilege(%s, 'quarantined_records', %s)", [role, privilege]
            ).fetchone() == (True,)]
            for role in (APP, RO, CDC, SUPERSET)
        ]  # fmt: skip
        assert quarantine == [["SELECT", "INSERT", "UPDATE", "DELETE"], ["SELECT"], [], []]
        # What Superset may read, role databases grants: views alone.
        assert may(CDC, "SELECT", *writing) == may(SUPERSET, "SELECT", *writing) == set()
    for name in everything:
        connect(RO).execute(f"SELECT * FROM {name} LIMIT 1")
    for role in (RO, SUPERSET):
        for call in (
            "mv_collect()", "mv_refresh('mv_revenue_by_genre')", "mv_apply(1)", "mv_rebuild_sums()", "mv_audit_sums()",
            "mv_audit_orders(1)",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connect(role).execute(f"SELECT {call}")
    for statement in ("REFRESH MATERIALIZED VIEW mv_revenue_by_genre", "UPDATE mv_refresh_state SET dirty = false"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connect(APP).execute(statement)
