"""Chores: a worker keeps its tables small, in batches that a busy database stands, however much there is.

A chore that fails neither stops nor delays the others: it is counted, told, and tried again in the next round, which
comes the sooner the less often it failed. Only a database that is away ends a round.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from bookstore_common.db import Database, contended, not_now
from bookstore_common.metrics import Metrics

CHORES_SECONDS = 3600.0
# Pause after the first round with a failure; doubled up to CHORES_SECONDS.
_FIRST_RETRY_SECONDS = 60.0
BATCH = 5_000
# A statement that is cancelled for its time takes a quarter of the rows the next time, down to this.
_SMALLEST_BATCH = 50
# Rows of the hour before are no hurry: a batch may take longer than a request.
STATEMENT_SECONDS = 15.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """Delete the rows of ``table`` for which ``condition`` (SQL) holds; ``name`` is a metric's label."""

    name: str
    table: str
    condition: str

    def statement(self) -> str:
        """SQL that deletes up to ``:rows`` of them."""
        return (
            f"DELETE FROM {self.table} WHERE ctid = ANY (ARRAY("  # noqa: S608 # of this module's callers, not of input
            f"SELECT ctid FROM {self.table} WHERE {self.condition} LIMIT :rows))"
        )


@dataclass(frozen=True, slots=True)
class Call:
    """Call ``function`` (SQL) of the database, which deals with up to ``:rows`` rows and returns each of them."""

    name: str
    function: str

    def statement(self) -> str:
        """SQL that has as many rows as were dealt with."""
        return f"SELECT {self.function}"


class Housekeeping:
    """Does ``chores`` of ``database``, each batch in a transaction of its own."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        chores: Sequence[Chore | Call],
        statement_seconds: float = STATEMENT_SECONDS,
    ) -> None:
        self._database = database
        self._chores = chores
        self._limit = text(f"SET LOCAL statement_timeout = {max(1, int(statement_seconds * 1000))}")
        self._rows = Counter("chore_rows_deleted_total", "Rows deleted.", ["chore"], registry=metrics.registry)
        self._failures = Counter("chore_failures_total", "Chores that failed.", ["chore"], registry=metrics.registry)
        self._put_off = Counter(
            "chore_put_off_total", "Chores that the database's state did not allow.", ["chore"],
            registry=metrics.registry,
        )  # fmt: skip
        self._success = Gauge(
            "chore_last_success_timestamp_seconds", "When a chore last ended without failure.", ["chore"],
            registry=metrics.registry,
        )  # fmt: skip
        for chore in chores:
            self._failures.labels(chore.name)
            self._rows.labels(chore.name)
            self._put_off.labels(chore.name)

    async def run(self) -> None:
        """One round after the other, without end."""
        retry = _FIRST_RETRY_SECONDS
        while True:
            succeeded = await self.round()
            await asyncio.sleep(CHORES_SECONDS if succeeded else retry)
            retry = _FIRST_RETRY_SECONDS if succeeded else min(retry * 2, CHORES_SECONDS)

    async def round(self) -> bool:
        """Do every chore until nothing is left for it; returns whether all succeeded."""
        failed = False
        for chore in self._chores:
            try:
                await self._do(chore)
            except Exception as error:
                failed = True
                if not_now(error):
                    self._put_off.labels(chore.name).inc()
                    _log.warning("chores_put_off", chore=chore.name, error=type(error).__name__)
                    return False
                self._failures.labels(chore.name).inc()
                _log.exception("chore_failed", chore=chore.name)
            else:
                self._success.labels(chore.name).set(time.time())
        return not failed

    async def _do(self, chore: Chore | Call) -> None:
        statement, size = text(chore.statement()), BATCH
        while True:
            try:
                async with self._database.transaction() as session:
                    await session.execute(self._limit)
                    done: int = (await session.execute(statement, {"rows": size})).rowcount  # type: ignore[attr-defined]
            except Exception as error:
                if not contended(error) or size <= _SMALLEST_BATCH:
                    raise
                size = max(size // 4, _SMALLEST_BATCH)
                _log.info("chore_batch_reduced", chore=chore.name, rows=size)
                continue
            self._rows.labels(chore.name).inc(done)
            if done < size:
                return
