"""Sessions, pools and timeouts against a real PostgreSQL."""

import time
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import ForeignKey, exc, select, text
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.application import create_app
from bookstore_common.db import Base, Database, Reading, Writing, relation
from bookstore_common.metrics import Metrics
from bookstore_common.settings import DatabaseSettings, load_settings
from bookstore_common.testing.postgres import Postgres, free_port
from polling import until

pytestmark = pytest.mark.anyio


class Shelf(Base):
    __tablename__ = "shelves"
    id: Mapped[int] = mapped_column(primary_key=True)
    boxes: Mapped[list["Box"]] = relation()


class Box(Base):
    __tablename__ = "boxes"
    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelves.id", deferrable=True, initially="DEFERRED"))


@pytest.fixture
async def shelves(database: Database) -> Database:
    async with database.transaction() as session:
        await (await session.connection()).run_sync(Base.metadata.create_all)
    return database


async def count(database: Database, table: str) -> int:
    async with database.reading() as session:
        number: int = (await session.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608
        return number


async def test_transaction_commits(shelves: Database) -> None:
    async with shelves.transaction() as session:
        session.add(Shelf(id=1))
    assert await count(shelves, "shelves") == 1


async def test_transaction_rolls_back(shelves: Database) -> None:
    with pytest.raises(RuntimeError):  # noqa: PT012 # the error must come after the write
        async with shelves.transaction() as session:
            session.add(Shelf(id=1))
            await session.flush()
            raise RuntimeError
    assert await count(shelves, "shelves") == 0


async def test_reading_cannot_write(shelves: Database) -> None:
    async with shelves.reading() as session:
        with pytest.raises(exc.InternalError, match="read-only transaction"):
            await session.execute(text("INSERT INTO shelves (id) VALUES (1)"))


async def test_relationships_never_load_by_themselves(shelves: Database) -> None:
    async with shelves.transaction() as session:
        session.add(Shelf(id=1))
    async with shelves.transaction() as session:
        shelf = (await session.scalars(select(Shelf))).one()
        with pytest.raises(exc.InvalidRequestError, match="lazy='raise'"):
            assert shelf.boxes


async def test_connection_names_itself_and_speaks_utc(database: Database) -> None:
    async with database.reading() as session:
        row = (
            await session.execute(
                text(
                    "SELECT current_setting('application_name'), current_setting('TimeZone'),"
                    " current_setting('statement_timeout')"
                )
            )
        ).one()
    assert tuple(row) == ("library-test-read", "UTC", "5s")


async def test_slow_statement_is_cut(database_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_COMMAND_TIMEOUT_SECONDS", "0.1")
    database = Database(load_settings(DatabaseSettings), "library-test")
    async with database.reading() as session:
        with pytest.raises(exc.OperationalError, match="statement timeout"):
            await session.execute(text("SELECT pg_sleep(10)"))
    await database.close()


async def test_unreachable_database_fails_soon(
    database_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PORT", str(free_port()))
    database = Database(load_settings(DatabaseSettings), "library-test")
    started = time.monotonic()
    with pytest.raises(exc.OperationalError):
        await database.check()
    assert time.monotonic() - started < 5


async def test_idle_connections_that_the_server_closed_are_replaced(database: Database, postgres: Postgres) -> None:
    await database.check()
    postgres.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'library-test-read'"
    )
    await database.check()


async def test_transaction_that_rested_too_long_is_no_mistake_of_ours(
    database_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, postgres: Postgres
) -> None:
    """As while another service is asked that does not answer; PostgreSQL calls it an internal error."""
    monkeypatch.setenv("DATABASE_COMMAND_TIMEOUT_SECONDS", "0.1")
    database = Database(load_settings(DatabaseSettings), "library-test")
    app: FastAPI = create_app("test", listener="public", metrics=Metrics())
    app.state.database = database
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'library-test'"

    @app.post("/rest")
    async def rest(session: Writing) -> None:
        await session.execute(text("SELECT 1"))
        with postgres.connect() as connection:
            await until(lambda: connection.execute(sessions).fetchone() == (0,))
        await session.execute(text("SELECT 1"))

    @app.post("/mistake")
    async def mistake(session: Writing) -> None:
        await session.execute(text("SELECT 1/0"))

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as client:
        answer = await client.post("/rest")
        assert (answer.status_code, answer.json()["code"]) == (503, "dependency_unavailable")
        assert (await client.post("/mistake")).status_code == 500
    await database.close()


@pytest.fixture
async def client(shelves: Database) -> AsyncIterator[httpx2.AsyncClient]:
    app: FastAPI = create_app("test", listener="public", metrics=Metrics())
    app.state.database = shelves

    @app.post("/orphan", status_code=201)
    async def orphan(session: Writing) -> dict[str, str]:
        session.add(Box(id=1, shelf_id=99))  # its foreign key is checked only when committing
        return {"status": "stored"}

    @app.post("/shelf", status_code=201)
    async def shelf(session: Writing) -> dict[str, str]:
        session.add(Shelf(id=1))
        return {"status": "stored"}

    @app.get("/boxes/{number}")
    async def boxes(number: int, session: Reading) -> dict[str, int]:
        return {"count": (await session.execute(text("SELECT count(*) FROM boxes"))).scalar_one()}

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api") as client:
        yield client


async def test_failed_commit_is_an_error_and_not_a_lie(client: httpx2.AsyncClient, shelves: Database) -> None:
    assert (await client.post("/orphan")).status_code == 500
    assert await count(shelves, "boxes") == 0


async def test_success_is_committed_before_it_is_told(client: httpx2.AsyncClient, shelves: Database) -> None:
    assert (await client.post("/shelf")).status_code == 201
    assert await count(shelves, "shelves") == 1


async def test_refused_request_takes_no_connection(client: httpx2.AsyncClient, shelves: Database) -> None:
    await shelves.close()
    assert (await client.get("/boxes/x")).status_code == 422
    pool = shelves._reading.pool
    assert pool.status().startswith("Pool size")
    assert "Connections in pool: 0" in pool.status()
