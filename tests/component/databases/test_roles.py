"""What `prepare` tells a real PostgreSQL at each start of an instance: the roles' SQL of role databases, run as it is."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jinja2
import psycopg
import pytest
import yaml
from bookstore_common.testing.postgres import Postgres, find_binaries, running_postgres

ROLE = Path(__file__).parents[3] / "roles/databases"
INSTANCES = yaml.safe_load((ROLE / "defaults/main.yml").read_text("utf-8"))["databases_instances"]
ANALYTICS = next(instance for instance in INSTANCES if instance["name"] == "analytics-db")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def prepare(server: Postgres, folder: Path) -> None:
    """Run the SQL as the superuser; every role gets the password `secret`."""
    template = (ROLE / "templates/postgresql.yml.j2").read_text("utf-8")
    block = re.search(r"{% set roles %}\n(.*?){% endset %}", template, re.DOTALL)
    assert block, "the template has no block of roles"
    readers, extra = ANALYTICS["readers"], ANALYTICS["extra"]
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["ternary"] = lambda value, yes, no: yes if value else no
    text = environment.from_string(block[1]).render(instance=ANALYTICS, readers=readers, extra=extra)
    script = folder / "roles.sql"
    script.write_text(re.sub(r"`cat /etc/bookstore-roles/\w+`", "secret", text), "utf-8")
    command = [str(find_binaries() / "psql"), "--host=127.0.0.1", f"--port={server.port}", "--username=postgres", "--dbname=postgres",
               "--no-psqlrc", "--quiet", f"--file={script}"]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "PGPASSWORD": server.superuser_password}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def as_role(server: Postgres, role: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host="127.0.0.1", port=server.port, dbname="analyticsdb", user=role, password="secret", autocommit=True)


def test_a_reader_reads_views_of_yesterday_and_tomorrow_and_no_table(server: Postgres, tmp_path: Path) -> None:
    prepare(server, tmp_path)
    with as_role(server, "analytics_owner") as owner, as_role(server, "superset_ro") as reader:
        owner.execute("CREATE TABLE fact (n int)")
        owner.execute("CREATE MATERIALIZED VIEW mv_early AS SELECT count(*) FROM fact")
        # As earlier releases had it: everything was granted.
        with server.connect("analyticsdb") as superuser:
            superuser.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO superset_ro")
            superuser.execute("ALTER DEFAULT PRIVILEGES FOR ROLE analytics_owner IN SCHEMA public GRANT SELECT ON TABLES TO superset_ro")
        for _ in range(2):
            prepare(server, tmp_path)
        owner.execute('CREATE MATERIALIZED VIEW "mv Late" AS SELECT count(*) FROM fact')
        owner.execute("CREATE VIEW v_late AS SELECT count(*) FROM fact")
        owner.execute("CREATE TABLE fact_late (n int)")
        for name in ("mv_early", '"mv Late"', "v_late"):
            assert reader.execute(f"SELECT * FROM {name}").fetchone() == (0,)
        for name in ("fact", "fact_late"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"SELECT * FROM {name}")
        owner.execute("REFRESH MATERIALIZED VIEW mv_early")
        owner.execute('DROP MATERIALIZED VIEW mv_early, "mv Late"; DROP VIEW v_late; DROP TABLE fact, fact_late')
