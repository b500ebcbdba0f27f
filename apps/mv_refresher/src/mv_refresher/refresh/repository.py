"""The refresher's connection: what it asks of the database, one round trip each."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from mv_refresher.settings import SERVICE, Settings

# Held by the one process that refreshes, for as long as its connection lives.
LEADER_KEY = 0x6D765F6C656164


class ViewRepository:
    """Flags and views. Every method raises psycopg.Error if the database does not do it."""

    def __init__(self, connection: "psycopg.AsyncConnection[tuple[Any, ...]]") -> None:
        self._connection = connection

    @property
    def lost(self) -> bool:
        """Whether the connection is no more, and the lead with it."""
        return self._connection.closed

    async def try_to_lead(self) -> bool:
        """Whether this connection is now the one that refreshes; it stays so until it ends."""
        return bool(await self._scalar("SELECT pg_try_advisory_lock(%s)", LEADER_KEY))

    async def collect(self) -> list[str]:
        """Take a batch of what changed; names of the dirty views, those first whose refresh is short."""
        cursor = await self._connection.execute("SELECT mv_collect()")
        return [name for (name,) in await cursor.fetchall()]

    async def lag(self) -> float | None:
        """Seconds since the oldest change that is not taken; None if all was taken."""
        lag = await self._scalar(
            "SELECT coalesce(extract(epoch FROM clock_timestamp() - nullif(complete_until, '-infinity')), 0)"
            " FROM mv_summary_state WHERE behind"
        )
        return None if lag is None else float(lag)

    async def all(self) -> list[str]:
        """Names of all views, the longest unrefreshed first."""
        cursor = await self._connection.execute(
            "SELECT mv_name FROM mv_refresh_state ORDER BY last_refresh_at NULLS FIRST, mv_name"
        )
        return [name for (name,) in await cursor.fetchall()]

    async def refresh(self, view: str) -> float:
        """Refresh ``view`` and clear its flag; returns the seconds that it took."""
        return int(await self._scalar("SELECT mv_refresh(%s)", view)) / 1000

    async def _scalar(self, statement: str, *parameters: Any) -> Any:
        cursor = await self._connection.execute(statement.encode(), parameters)
        row = await cursor.fetchone()
        return row[0] if row else None


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[ViewRepository]:
    """A connection in autocommit mode, apart from any pool: the lead belongs to it. Raises psycopg.Error."""
    timeout_ms = int(settings.mv_refresh_timeout_seconds * 1000)
    connection = await psycopg.AsyncConnection.connect(
        host=settings.database_host,
        port=settings.database_port,
        dbname=settings.database_name,
        user=settings.database_user,
        password=settings.database_password.get_secret_value(),
        sslmode=settings.database_sslmode,
        connect_timeout=settings.database_connect_timeout_seconds,
        application_name=f"{SERVICE}-views",
        options=f"-c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms} -c timezone=UTC",
        # A server that vanished without a word must not keep the lead's owner waiting for ever.
        tcp_user_timeout=int(settings.database_command_timeout_seconds * 1000),
        keepalives_idle=5,
        keepalives_interval=3,
        keepalives_count=3,
        autocommit=True,
    )
    try:
        # Asked several times a second: planned once.
        connection.prepare_threshold = 0
        yield ViewRepository(connection)
    finally:
        await connection.close()
