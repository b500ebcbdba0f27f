"""PostgreSQL through SQLAlchemy's asyncio engine and psycopg 3."""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import Executable, MetaData, Result, event, exc, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Relationship, relationship
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from bookstore_common.settings import DatabaseSettings

_AWAY = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, OSError)
# States of the database, by SQLSTATE or its class (two characters). 08 connection, 28 its account (a password is being
# changed), 3D database missing, 53 disk or connections used up, 57P restarting, 58 its host; read-only; undefined table
# and column: the schema of this release is still being made.
_STATES = ("08", "28", "3D", "53", "57P", "58", "25006", "42P01", "42703")
# Of these, a statement can be the cause itself.
_NO_STATES = ("53200",)
# The statement did not end: cancelled for its time, lock not had, victim of a deadlock, serialization failure; or its
# transaction, which rested for too long, as while another service is asked that does not answer.
_CONTENTION = ("57014", "55P03", "40", "25P03", "25P04")


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's code of ``error``; empty if the server said nothing."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def not_now(error: BaseException) -> bool:
    """Whether ``error`` is about the database's state and not about what was asked: trying again later is right.

    It is away, has no connection or disk left, takes no changes, or lacks a part of its schema. A statement that was
    cancelled, for its time or for the sake of others (see :func:`contended`), is none of these: it may be so for ever.
    """
    if code := sqlstate(error):
        return code.startswith(_STATES) and code not in _NO_STATES
    return isinstance(error, _AWAY)


def contended(error: BaseException) -> bool:
    """Whether a statement or its transaction was given up for its time, or for others who had what it needed."""
    return sqlstate(error).startswith(_CONTENTION)


class Base(DeclarativeBase):
    """Base of the mapped classes; names every constraint so that migrations can drop it by name."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


def relation(*args: Any, **kwargs: Any) -> Relationship[Any]:
    """``relationship`` whose unloaded access is an error instead of a hidden query."""
    return relationship(*args, **{"lazy": "raise", **kwargs})


class ReadSession:
    """Reads rows, cannot write: it has no add, flush or commit, and a type checker refuses it where a Session is due.

    Each statement is its own transaction: two round trips to the server less per request. The connection is taken
    with the first statement, so a request that is refused before never waits for one.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None

    async def execute(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Result[Any]:
        if self._connection is None:
            self._connection = await self._engine.connect()
        return await self._connection.execute(statement, parameters)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


class Session(AsyncSession):
    """Writes through the ORM, inside one transaction that its dependency ends; services never commit."""


class Database:
    """A pool for transactions and one for reads. Connects when first used, so a process starts without its database.

    The reads' pool is read-only at the server, too, and in autocommit for good: switching shared connections to and
    fro cost a tenth of a list request.
    """

    def __init__(self, settings: DatabaseSettings, application_name: str) -> None:
        self.engine = _engine(settings, application_name)
        self._reading = _engine(settings, f"{application_name}-read", read_only=True)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[ReadSession]:
        session = ReadSession(self._reading)
        try:
            yield session
        finally:
            await session.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Commit on success, roll back on any exception."""
        async with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def check(self) -> None:
        """Raise the driver's error if the database does not answer."""
        async with self.reading() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._reading.dispose()
        await self.engine.dispose()


def _engine(settings: DatabaseSettings, application_name: str, *, read_only: bool = False) -> AsyncEngine:
    command_ms = int(settings.database_command_timeout_seconds * 1000)
    engine = create_async_engine(
        settings.database_url(),
        isolation_level="AUTOCOMMIT" if read_only else "READ COMMITTED",
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_max_overflow,
        pool_timeout=settings.database_pool_timeout_seconds,
        pool_recycle=settings.database_pool_recycle_seconds,
        # Parameters hold what people typed; keep them out of error texts.
        hide_parameters=True,
        connect_args={
            "application_name": application_name,
            "connect_timeout": settings.database_connect_timeout_seconds,
            "sslmode": settings.database_sslmode,
            "options": f"-c statement_timeout={command_ms} -c timezone=UTC"
            f" -c idle_in_transaction_session_timeout={command_ms * 2}"
            f" -c default_transaction_read_only={'on' if read_only else 'off'}",
            # A server that vanished without a word: give up when data stays unacknowledged that long.
            "tcp_user_timeout": command_ms,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def _refuse_closed(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
    """Replace connections that the server closed while they were idle.

    An idle connection has nothing to say; if its socket is readable the server hung up. One system call, where
    SQLAlchemy's pre-ping would pay a round trip on every checkout.
    """
    driver_connection: Any = connection.driver_connection
    pgconn = driver_connection.pgconn
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise exc.InvalidatePoolError("the server closed the idle connection")


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _read_session(database: Annotated[Database, Depends(_database)]) -> AsyncIterator[ReadSession]:
    async with database.reading() as session:
        yield session


async def _write_session(database: Annotated[Database, Depends(_database)]) -> AsyncIterator[Session]:
    async with database.transaction() as session:
        yield session


# scope="function": ended before the answer is sent, so a failed commit is an error and not a lie.
Reading = Annotated[ReadSession, Depends(_read_session, scope="function")]
Writing = Annotated[Session, Depends(_write_session, scope="function")]
