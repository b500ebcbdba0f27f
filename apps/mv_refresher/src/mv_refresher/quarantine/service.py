"""Resolves quarantined records when analytics has what the source has, counts the others, and forgets old ones.

Flink writes an entry for each record that its table cannot hold, and goes on. Nobody repairs such a record; its row is
right again when a later record of it was applied (the source was corrected, or read again by ``cdc_convergence`` with
mode ``reread``), or when the standing audit found the whole table equal: the record was then never the source's.

A job that was started again reads records again that are older than an entry, and may so seem to have applied a later
one; a moment later it reads the entry's own record again, which opens the entry again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from bookstore_common.db import Database, not_now
from bookstore_common.metrics import Metrics
from bookstore_common.patience import Backlog
from mv_refresher.quarantine.metrics import QuarantineMetrics
from mv_refresher.quarantine.repository import TABLES, QuarantineRepository
from mv_refresher.settings import Settings

_log = structlog.get_logger(__name__)


class Quarantine:
    """Looks every QUARANTINE_SECONDS."""

    def __init__(self, settings: Settings, database: Database, metrics: Metrics) -> None:
        self._settings = settings
        self._repository = QuarantineRepository(database)
        self._metrics = QuarantineMetrics(metrics)
        self._stop = asyncio.Event()
        self._told: dict[str, int] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Look until the block ends."""
        task = asyncio.create_task(self._run(), name="quarantine")
        try:
            yield task
        finally:
            self._stop.set()
            await asyncio.wait([task])

    async def _run(self) -> None:
        backlog = Backlog()
        while not self._stop.is_set():
            try:
                await self.look()
                backlog = Backlog()
            except Exception as error:
                if not_now(error):
                    _log.warning("quarantine_interrupted", error=type(error).__name__)
                else:
                    # Views must stay fresh, whatever this runs into.
                    _log.exception("quarantine_failed")
                await backlog.pause()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.quarantine_seconds):
                    await self._stop.wait()

    async def look(self) -> None:
        """Resolve, count, forget; raises the driver's errors."""
        for table in TABLES:
            for resolution, number in (await self._repository.resolve(table)).items():
                self._metrics.resolved.labels(table, resolution).inc(number)
                _log.info("quarantine_resolved", table=table, resolution=resolution, records=number)
        waiting = await self._repository.waiting()
        self._metrics.show(waiting)
        for table, number in waiting.items():
            if number > self._told.get(table, 0):
                _log.error("records_quarantined", table=table, records=number)
        self._told = waiting
        if removed := await self._repository.forget(self._settings.quarantine_keep_days):
            _log.info("quarantine_forgotten", records=removed)
