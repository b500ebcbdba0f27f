"""The runner refuses with reasons; each service tests its own migrations."""

import json
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from bookstore_common import migrations
from bookstore_common.db import Database
from bookstore_common.health import CheckFailedError
from bookstore_common.migrations import LOCK_KEY, MigrationError, Migrations, MigrationSettings, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.postgres import Postgres, free_port

ENV = """
from bookstore_common.db import Base
from bookstore_common.migrations import run_env
run_env(Base.metadata)
"""
VERSION = """
from alembic import op
revision = "{revision}"
down_revision = {parent!r}
def upgrade():
    op.execute("{up}")
def downgrade():
    op.execute("{down}")
"""


def write(folder: Path, revision: str, parent: str | None, up: str, down: str = "SELECT 1") -> None:
    text = VERSION.format(revision=revision, parent=parent, up=up, down=down)
    (folder / "versions" / f"{revision}.py").write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    write(tmp_path, "0001", None, "CREATE TABLE things (id int)", "DROP TABLE things")
    return tmp_path


@pytest.fixture
def roles(owner: str, monkeypatch: pytest.MonkeyPatch, database_environment: dict[str, str]) -> None:
    for name in ("APP", "RO", "CDC"):
        monkeypatch.setenv(f"DATABASE_{name}_ROLE", owner)


@pytest.mark.usefixtures("roles")
def test_up_and_down(folder: Path) -> None:
    settings = load_settings(MigrationSettings)
    assert migrate(Migrations(folder), settings, "upgrade", "head") == "0001"
    assert migrate(Migrations(folder), settings, "upgrade", "head") == "0001"
    assert migrate(Migrations(folder), settings, "current", "head") == "0001"
    assert migrate(Migrations(folder), settings, "downgrade", "base") is None


@pytest.mark.usefixtures("roles")
def test_failed_migration_leaves_what_was_before(folder: Path) -> None:
    settings = load_settings(MigrationSettings)
    write(folder, "0002", "0001", "CREATE TABLE broken (id nothing)")
    with pytest.raises(Exception, match='type "nothing" does not exist'):
        migrate(Migrations(folder), settings, "upgrade", "head")
    assert migrate(Migrations(folder), settings, "current", "head") == "0001"


def test_two_heads_are_refused(folder: Path) -> None:
    write(folder, "0002a", "0001", "SELECT 1")
    write(folder, "0002b", "0001", "SELECT 1")
    with pytest.raises(Exception, match="multiple heads"):
        Migrations(folder)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match=r"no env\.py there"):
        Migrations(tmp_path)
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    with pytest.raises(MigrationError, match="no migration there"):
        Migrations(tmp_path)


@pytest.mark.usefixtures("roles")
def test_missing_role_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_CDC_ROLE", "nobody_there")
    with pytest.raises(MigrationError, match="DATABASE_CDC_ROLE: the role 'nobody_there' does not exist"):
        migrate(Migrations(folder), load_settings(MigrationSettings), "upgrade", "head")


@pytest.mark.usefixtures("roles")
def test_lock_is_waited_for_only_so_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, database_name: str
) -> None:
    monkeypatch.setenv("MIGRATION_LOCK_TIMEOUT_SECONDS", "1")
    with postgres.connect(database_name) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        with pytest.raises(MigrationError, match="another migration holds the lock for more than 1 s"):
            migrate(Migrations(folder), load_settings(MigrationSettings), "upgrade", "head")


@pytest.mark.usefixtures("roles")
def test_wrong_password_fails_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "not-the-password")
    with pytest.raises(MigrationError, match="authentication failed") as caught:
        migrate(Migrations(folder), load_settings(MigrationSettings), "upgrade", "head")
    assert "not-the-password" not in str(caught.value)


@pytest.mark.usefixtures("roles")
def test_starting_database_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch, postgres: Postgres) -> None:
    refused = threading.Event()
    real = psycopg.connect

    def starting(*args: object, **kwargs: object) -> object:
        if not refused.is_set():
            refused.set()
            raise psycopg.OperationalError("the database system is starting up")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(psycopg.Connection, "connect", starting)
    monkeypatch.setattr(psycopg, "connect", starting)
    assert migrate(Migrations(folder), load_settings(MigrationSettings), "upgrade", "head") == "0001"
    assert refused.is_set()


@pytest.mark.usefixtures("roles")
def test_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert migrations.main("library", folder, MigrationSettings, []) == 0
    out = capsysbinary.readouterr().out
    assert json.loads(out)["after"] == "0001"
    monkeypatch.setenv("DATABASE_PORT", str(free_port()))
    monkeypatch.setenv("MIGRATION_CONNECT_PATIENCE_SECONDS", "0")
    assert migrations.main("library", folder, MigrationSettings, ["current"]) == 1
    assert b"migration_refused" in capsysbinary.readouterr().out
    monkeypatch.setenv("DATABASE_PORT", "none")
    assert migrations.main("library", folder, MigrationSettings, []) == 2
    assert b"DATABASE_PORT" in capsysbinary.readouterr().err


@pytest.mark.usefixtures("roles")
def test_unexpected_failure_is_logged(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write(folder, "0002", "0001", "BROKEN")
    assert migrations.main("library", folder, MigrationSettings, []) == 1
    assert b"migration_failed" in capsysbinary.readouterr().out


@pytest.mark.anyio
@pytest.mark.usefixtures("roles")
async def test_schema_check(folder: Path, database: Database) -> None:
    settings = load_settings(MigrationSettings)
    write(folder, "0002", "0001", "SELECT 1")
    known = Migrations(folder)

    async def check() -> None:
        async with database.reading() as session:
            await known.check(session)

    with pytest.raises(CheckFailedError, match="run the migrations"):
        await check()
    migrate(known, settings, "upgrade", "0001")
    with pytest.raises(CheckFailedError, match="schema revision 0001 is older than 0002"):
        await check()
    migrate(known, settings, "upgrade", "head")
    await check()
    # A newer release has migrated while this one still serves.
    async with database.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    await check()
