"""What `prepare` tells a real PostgreSQL at each start of an instance: the roles' SQL of role databases, run as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from bookstore_common.testing.postgres import Postgres, find_binaries, running_postgres

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "roles/databases"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text("utf-8"))
INSTANCES = DEFAULTS["databases_instances"]


# Manifests of the real template, by Ansible itself, with the inventory's variables.
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_vars: {file: "{{ role }}/defaults/main.yml"}
    - ansible.builtin.template: {src: "{{ role }}/templates/postgresql.yml.j2", dest: "{{ playbook_dir }}/manifests.yml", mode: "0600"}
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the pods of each instance find as roles.sql."""
    folder = tmp_path_factory.mktemp("play")
    (folder / "play.yml").write_text(PLAY, "utf-8")
    (folder / "files").symlink_to(ROLE / "files")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventory/local"), str(folder / "play.yml"),
               "-e", f"role={ROLE}", "-e", "bookstore_render_only=true"]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-1000:]}"
    manifests = [one for one in yaml.safe_load_all((folder / "manifests.yml").read_text("utf-8")) if one]
    return {one["metadata"]["name"]: one["data"]["roles.sql"] for one in manifests if one["kind"] == "ConfigMap"}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def passwords(script: str, folder: Path) -> dict[str, str]:
    """The mounted Secret: each role's file with a password of its own, which SQL and shells treat specially."""
    found = {name: f"it's $(\"{name}\"); --" for name in re.findall(r"`cat /etc/bookstore-roles/(\w+)`", script)}
    for name, password in found.items():
        (folder / name).write_text(password, "utf-8")
    return found


def prepare(server: Postgres, folder: Path, text: str) -> dict[str, str]:
    """Run the SQL as the superuser, as prepare.sh does; returns the passwords."""
    found = passwords(text, folder)
    script = folder / "roles.sql"
    script.write_text(text.replace("/etc/bookstore-roles/", f"{folder}/"), "utf-8")
    command = [str(find_binaries() / "psql"), "--host=127.0.0.1", f"--port={server.port}", "--username=postgres", "--dbname=postgres",
               "--no-psqlrc", "--quiet", f"--file={script}"]  # fmt: skip
    done = subprocess.run(command, env={**os.environ, "PGPASSWORD": server.superuser_password}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return found


def as_role(server: Postgres, role: str, password: str, database: str = "analyticsdb") -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host="127.0.0.1", port=server.port, dbname=database, user=role, password=password, autocommit=True)


@pytest.mark.parametrize("instance", INSTANCES, ids=[instance["name"] for instance in INSTANCES])
def test_each_role_has_its_own_password_and_rights(
    server: Postgres, scripts: dict[str, str], tmp_path: Path, instance: dict[str, Any]
) -> None:
    prefix, database = instance["prefix"], instance["database"]
    for _ in range(2):
        found = prepare(server, tmp_path, scripts[instance["name"]])
    readers = [reader["role"] for reader in instance.get("readers", [])]
    extra = [other["database"] for other in instance.get("extra", [])]
    assert set(found) == {"owner", "app", "cdc", "ro", "monitor", *readers, *extra}
    names = {name: name if name in (*readers, *extra) else f"{prefix}_{name}" for name in found}
    for name, role in names.items():
        with as_role(server, role, found[name], role if name in extra else database) as connection:
            rights = connection.execute(
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert rights == (False, False, False, False, name == "cdc"), role
            if name == "ro":
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    connection.execute("CREATE TABLE own (n int)")
                # A person may ask for the other kind, and has no rights for it.
                connection.execute("SET default_transaction_read_only = off")
            if name not in ("owner", *extra):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("CREATE TABLE public.own (n int)")
    owner = as_role(server, f"{prefix}_owner", found["owner"], database)
    with owner, as_role(server, f"{prefix}_app", found["app"], database) as app:
        owner.execute("CREATE TABLE made (n int)")
        app.execute("INSERT INTO made VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("TRUNCATE made")
        owner.execute("DROP TABLE made")


def test_a_reader_reads_views_of_yesterday_and_tomorrow_and_no_table(
    server: Postgres, scripts: dict[str, str], tmp_path: Path
) -> None:
    script = scripts["analytics-db"]
    found = prepare(server, tmp_path, script)
    owner = as_role(server, "analytics_owner", found["owner"])
    with owner, as_role(server, "superset_ro", found["superset_ro"]) as reader:
        owner.execute("CREATE TABLE fact (n int)")
        owner.execute("CREATE MATERIALIZED VIEW mv_early AS SELECT count(*) FROM fact")
        # As earlier releases had it: everything was granted.
        with server.connect("analyticsdb") as superuser:
            superuser.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO superset_ro")
            superuser.execute("ALTER DEFAULT PRIVILEGES FOR ROLE analytics_owner IN SCHEMA public GRANT SELECT ON TABLES TO superset_ro")
        for _ in range(2):
            prepare(server, tmp_path, script)
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


@pytest.mark.parametrize("instance", INSTANCES, ids=[instance["name"] for instance in INSTANCES])
def test_the_role_for_people_is_bounded(server: Postgres, scripts: dict[str, str], tmp_path: Path, instance: dict[str, Any]) -> None:
    found = prepare(server, tmp_path, scripts[instance["name"]])
    role, database = f"{instance['prefix']}_ro", instance["database"]
    with ExitStack() as opened:
        most = DEFAULTS["databases_ro_connections"]
        connections = [opened.enter_context(as_role(server, role, found["ro"], database)) for _ in range(most)]
        for setting, value in (("statement_timeout", DEFAULTS["databases_ro_statement_timeout"]), ("lock_timeout", "5s"),
                               ("idle_in_transaction_session_timeout", "1min"), ("default_transaction_read_only", "on")):  # fmt: skip
            assert connections[0].execute(f"SHOW {setting}").fetchone() == (value,), setting
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            as_role(server, role, found["ro"], database)


def test_of_keycloak_it_reads_what_is_named_and_nothing_that_comes(server: Postgres, scripts: dict[str, str], tmp_path: Path) -> None:
    script = scripts["keycloak-db"]
    found = prepare(server, tmp_path, script)
    owner = as_role(server, "keycloak_owner", found["owner"], "keycloakdb")
    with owner, as_role(server, "keycloak_ro", found["ro"], "keycloakdb") as people:
        owner.execute("CREATE TABLE credential (n int); CREATE TABLE keycloak_role (n int)")
        # As earlier releases had it: everything was granted.
        with server.connect("keycloakdb") as superuser:
            superuser.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO keycloak_ro")
            superuser.execute("ALTER DEFAULT PRIVILEGES FOR ROLE keycloak_owner IN SCHEMA public GRANT SELECT ON TABLES TO keycloak_ro")
        for _ in range(2):
            prepare(server, tmp_path, script)
        owner.execute("CREATE TABLE user_entity (n int); CREATE TABLE client (n int)")
        owner.execute("CREATE SCHEMA other; CREATE TABLE other.client_scope (n int)")
        for name in ("keycloak_role", "user_entity"):
            assert people.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,)
        for name in ("credential", "client", "other.client_scope"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                people.execute(f"SELECT * FROM {name}")
        owner.execute("DROP TABLE credential, keycloak_role, user_entity, client; DROP SCHEMA other CASCADE")
