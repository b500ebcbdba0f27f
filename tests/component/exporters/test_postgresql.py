"""What the exporter beside an instance tells of it, under its own role and with the instance's own rules of access."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from bookstore_common.testing.postgres import Postgres, find_binaries, running_postgres

from .. import series
from ..debezium.pipeline import until
from .conftest import Documents, Start, container

pytestmark = pytest.mark.timeout(300)
PASSWORD = "letters1and2digits3as4generated5"
# What PostgreSQL has since the version that the platform runs.
SINCE_17 = "pg_stat_checkpointer_"


@dataclass
class Instance:
    server: Postgres
    declared: dict[str, object]
    mounts: list[str]


@pytest.fixture(scope="module")
def instance(rendered: Callable[[str, str], Documents], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """PostgreSQL with the roles of ecom-db, as its own SQL makes them."""
    documents = rendered("databases", "postgresql.yml.j2")
    (data,) = [one["data"] for one in documents if (one["kind"], one["metadata"]["name"]) == ("ConfigMap", "ecom-db")]
    folder = tmp_path_factory.mktemp("ecom-db")
    secrets = tmp_path_factory.mktemp("roles")
    for name in re.findall(r"`cat /etc/bookstore-roles/(\w+)`", data["roles.sql"]):
        (secrets / name).write_text(PASSWORD, encoding="utf-8")
    (secrets / "monitor").chmod(0o644)
    secrets.chmod(0o755)
    script = folder / "roles.sql"
    script.write_text(data["roles.sql"].replace("/etc/bookstore-roles/", f"{secrets}/"), encoding="utf-8")
    (folder / "queries.yml").write_text(data["queries.yml"], encoding="utf-8")
    folder.chmod(0o755)
    with running_postgres() as server:
        server.execute("ALTER SYSTEM SET wal_level = logical")
        server.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '2GB'")
        server.stop()
        server.start()
        command = [str(find_binaries() / "psql"), "--host=127.0.0.1", f"--port={server.port}", "--username=postgres", "--dbname=postgres",
                   "--no-psqlrc", "--quiet", f"--file={script}"]  # fmt: skip
        environment = {"PGPASSWORD": server.superuser_password}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        mounts = [f"{folder}:/etc/bookstore", f"{secrets}/monitor:/etc/bookstore-monitor/monitor"]
        yield Instance(server, container(documents, "ecom-db"), mounts)


def test_it_tells_size_connections_locks_and_slots(exporter: Start, instance: Instance) -> None:
    server = instance.server
    server.execute("SELECT pg_create_logical_replication_slot('a_slot', 'pgoutput')", "ecomdb")
    with server.connect("ecomdb") as first, server.connect("ecomdb") as second:
        first.execute("CREATE TABLE things (n int)")
        first.execute("INSERT INTO things SELECT generate_series(1, 10000)")
        port = exporter("postgresql", instance.declared, (5432, server.port), mounts=instance.mounts)
        samples = series.scraped(port)
        version = server.connect().info.server_version // 10_000
        assert [one for one in series.missing(samples, "databases") if version >= 17 or not one.startswith(SINCE_17)] == []
        assert series.value(samples, "pg_up") == 1
        assert series.value(samples, "pg_exporter_last_scrape_error") == 0
        assert (series.value(samples, "pg_database_size_bytes", datname="ecomdb") or 0) > 1_000_000
        assert (series.value(samples, "pg_connections_max") or 0) >= 10
        retained = series.value(samples, "pg_slot_retained_bytes", slot_name="a_slot") or 0
        assert retained > 500_000, "the slot retains what was written since it was made"
        assert series.value(samples, "pg_slot_lost", slot_name="a_slot") == 0
        # One session waits for another's lock.
        first.execute("BEGIN")
        first.execute("LOCK TABLE things")
        waiting = subprocess.Popen(
            [str(find_binaries() / "psql"), "--host=127.0.0.1", f"--port={server.port}", "--username=postgres", "--dbname=ecomdb",
             "--no-psqlrc", "--command=SELECT count(*) FROM things"],
            env={"PGPASSWORD": server.superuser_password}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: series.value(series.scrape(port), "pg_connections_waiting_for_lock") == 1, "a session that waits", 30)
        finally:
            first.execute("ROLLBACK")
            waiting.wait(30)
        second.execute("DROP TABLE things")
    # Few series: no settings, no sessions, no queries.
    assert sum(map(len, samples.values())) < 400
    server.execute("SELECT pg_drop_replication_slot('a_slot')")


def test_its_role_reads_no_row_and_takes_few_connections(instance: Instance) -> None:
    server = instance.server

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host="127.0.0.1", port=server.port, dbname="ecomdb", user="ecom_monitor", password=PASSWORD, autocommit=True)

    with server.connect("ecomdb") as superuser:
        superuser.execute("SET ROLE ecom_owner")
        superuser.execute("CREATE TABLE secret (n int)")
    with connect() as one:
        for statement in ("SELECT * FROM public.secret", "CREATE TABLE public.own (n int)", "SELECT pg_read_file('PG_VERSION')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                one.execute(statement)
        others = [connect(), connect()]
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            connect()
        for other in others:
            other.close()


def test_it_says_that_the_server_is_away_and_finds_it_again(exporter: Start, instance: Instance) -> None:
    server = instance.server
    port = exporter("postgresql", instance.declared, (5432, server.port), mounts=instance.mounts)
    assert series.value(series.scraped(port), "pg_up") == 1
    server.stop()
    try:
        until(lambda: series.value(series.scrape(port), "pg_up") == 0, "the server to be missed", 60)
    finally:
        server.start()
    until(lambda: series.value(series.scrape(port), "pg_up") == 1, "the server to be found again", 60)
