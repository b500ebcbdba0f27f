"""The four SQL jobs on a mini-cluster of Flink, from records that Debezium wrote on the running platform.

Covers what a job makes of records: their format, repeats, updates, deletes, tombstones, transformations, and what the JDBC
sink makes of texts, numbers and times in the real schema. The Kafka connector, checkpoints and restarts are not part of
it: tests/live and molecule/flink have them.

In records/ are, for each topic: two inserts, an update of the first row, a delete of the second one, and its tombstone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres, running_postgres
from mv_refresher.migrate import migrations_folder
from mv_refresher.settings import RefresherMigrationSettings

ROOT = Path(__file__).parents[3]
RECORDS = Path(__file__).parent / "records"
OWNER, APP = "analytics_owner", "analytics_app"
TABLES = {"cdc-dim-books": "dim_books", "cdc-fact-orders": "fact_orders", "cdc-fact-order-items": "fact_order_items",
          "cdc-fact-inventory": "fact_inventory"}  # fmt: skip
# Topic to the order in which its records are read: as recorded; each twice, as after a failed acknowledgement; everything
# twice, as after a return to an older offset; first rows of other topics alone, as when they come in another order.
Order = Callable[[list[str]], list[str]]
SCENARIOS: dict[str, Order] = {
    "recorded": lambda lines: lines,
    "each record twice": lambda lines: [line for line in lines for _ in range(2)],
    "all records twice": lambda lines: lines + lines,
    "the end read before": lambda lines: lines[2:] + lines,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        for role in (OWNER, APP, "analytics_ro", "analytics_cdc", "superset_ro"):
            server.create_role(role)
        yield server


@pytest.fixture(scope="module")
def image() -> str:
    """The newest image of Flink that this host has."""
    listing = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "bookstore.local/flink"]
    if not shutil.which("docker"):
        pytest.skip("there is no container engine, and Flink is only in its image")
    found = subprocess.run(listing, capture_output=True, text=True, timeout=20, check=False).stdout.split()
    if not found:
        pytest.skip("bookstore.local/flink is not built on this host; `make up` builds it")
    return found[0]


def database(server: Postgres) -> str:
    """Return a new database with the real schema."""
    name = server.create_database(OWNER)
    server.execute("ALTER SCHEMA public OWNER TO " + OWNER, name)
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in server.environment(OWNER, name).items():
            patch.setenv(variable, value)
        migrate(Migrations(migrations_folder()), load_settings(RefresherMigrationSettings), "upgrade", "head")
    return name


@pytest.fixture(scope="module")
def tables(server: Postgres, image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Any]]]:
    """Scenario and table to rows, after all jobs have read all records."""
    folder = tmp_path_factory.mktemp("flink")
    password = server.role_passwords[APP].replace("\\", "\\\\").replace(":", "\\:")
    (folder / "pgpass").write_text(f"*:*:*:{APP}:{password}\n", encoding="utf-8")
    (folder / "config.yaml").write_text("io.tmp.dirs: /tmp\n", encoding="utf-8")
    defaults = yaml.safe_load((ROOT / "roles/flink/defaults/main.yml").read_text(encoding="utf-8"))
    settings = {key: value for key, value in defaults["flink_job_settings"].items() if key.startswith(("table.", "parallelism."))}
    databases, plan = {}, []
    for number, (scenario, order) in enumerate(SCENARIOS.items()):
        databases[scenario] = database(server)
        (folder / str(number)).mkdir()
        for file in RECORDS.glob("*.jsonl"):
            lines = order(file.read_text(encoding="utf-8").split("\n")[:-1])
            (folder / str(number) / file.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        # Order lines before their orders, and both before their books.
        for job in sorted(TABLES, reverse=True):
            plan.append({
                "sql": (ROOT / f"flink/sql/{job}.sql").read_text(encoding="utf-8"), "records": f"/data/{number}",
                "url": f"jdbc:postgresql://127.0.0.1:{server.port}/{databases[scenario]}",
            })  # fmt: skip
    packages = ("java.lang", "java.net", "java.nio", "java.time", "java.util")
    opened = " ".join(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in packages)
    command = [
        "docker", "run", "--rm", "--network=host", "--read-only", "--tmpfs=/tmp", f"--user={os.getuid()}:{os.getgid()}",
        f"--volume={folder}:/data:ro", f"--volume={ROOT}/flink/tools:/opt/tools:ro",
        f"--volume={Path(__file__).with_name('run_jobs.py')}:/run_jobs.py:ro", "--env=PGPASSFILE=/data/pgpass",
        "--env=FLINK_CONF_DIR=/data", "--env=_python_worker_execution_mode=process",
        f"--env=FLINK_ENV_JAVA_OPTS={opened} -Duser.timezone=UTC",
        "--env=JVM_ARGS=-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1", image, "python3", "/run_jobs.py",
        json.dumps({"plan": plan, "settings": settings}),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, dict[str, list[Any]]] = {}
    for scenario, name in databases.items():
        with server.connect(name) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found[scenario] = {
                table: [row[0] for row in connection.execute(f"SELECT to_jsonb(t) - 'synced_at' FROM {table} t".encode()).fetchall()]
                for table in TABLES.values()
            }
    return found


@pytest.mark.parametrize("scenario", list(SCENARIOS))
class TestJobs:
    """What is left of two rows in each table: the first one, as updated."""

    def test_books_have_a_genre_and_their_latest_price(self, tables: dict[str, Any], scenario: str) -> None:
        assert tables[scenario]["dim_books"] == [{
            "book_id": "ffffffff-0000-4000-8000-0000000000b1", "title": "Sea & “Sky”", "author": "Ana Ø. Writer", "isbn": "9999999999991",
            "genre": "Poetry", "price": 13.00, "published_year": 1999, "active": True, "created_at": "2026-01-31T23:59:59.999999+00:00",
            "updated_at": "2026-11-23T14:47:20.069685+00:00",
        }]  # fmt: skip

    def test_orders_belong_to_the_day_in_utc(self, tables: dict[str, Any], scenario: str) -> None:
        # Placed half an hour after midnight one hour east of Greenwich.
        assert tables[scenario]["fact_orders"] == [{
            "order_id": "ffffffff-0000-4000-8000-0000000000c1", "user_id": "cdc-probe", "status": "SHIPPED", "total": 38.49,
            "currency": "USD", "order_date_key": 20260228, "created_at": "2026-02-28T23:30:00+00:00",
            "updated_at": "2026-02-28T23:30:00+00:00",
        }]  # fmt: skip

    def test_lines_come_to_quantity_times_price(self, tables: dict[str, Any], scenario: str) -> None:
        assert tables[scenario]["fact_order_items"] == [{
            "order_item_id": "ffffffff-0000-4000-8000-0000000000d1", "order_id": "ffffffff-0000-4000-8000-0000000000c1",
            "book_id": "ffffffff-0000-4000-8000-0000000000b1", "quantity": 2, "price_at_purchase": 12.50, "line_total": 25.00,
        }]  # fmt: skip

    def test_available_is_what_is_not_reserved(self, tables: dict[str, Any], scenario: str) -> None:
        assert tables[scenario]["fact_inventory"] == [{
            "book_id": "ffffffff-0000-4000-8000-0000000000b1", "quantity": 10, "reserved": 10, "available": 0, "low_stock_threshold": 5,
            "updated_at": "2026-11-23T14:47:21.441164+00:00",
        }]  # fmt: skip


def test_the_records_are_what_the_module_says() -> None:
    kinds = {
        file.name: [json.loads(line)["op"] if line else "tombstone" for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
        for file in RECORDS.glob("*.jsonl")
    }
    assert len(kinds) == len(TABLES)
    assert set(map(tuple, kinds.values())) == {("c", "c", "u", "d", "tombstone")}
