"""Resolves quarantined records when analytics has what the source has, counts the others, and forgets old ones.

Flink writes an entry for each record that its table cannot hold, and goes on. Nobody repairs such a record; its row is
right again when a later record of it was applied (the source was corrected, or read again by ``cdc_convergence`` with
mode ``reread``), or when the standing audit found the whole table equal: the record was then never the source's.

A job that was started again reads records again that are older than an entry, and may so seem to have applied a later
one; a moment later it reads the entry's own record again, which opens the entry again.
"""

import structlog

from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from mv_refresher.background import Lookout
from mv_refresher.quarantine.metrics import QuarantineMetrics
from mv_refresher.quarantine.repository import TABLES, QuarantineRepository
from mv_refresher.settings import Settings

_log = structlog.get_logger(__name__)


class Quarantine(Lookout):
    """Looks every QUARANTINE_SECONDS."""

    task_name = log_name = "quarantine"

    def __init__(self, settings: Settings, database: Database, metrics: Metrics) -> None:
        super().__init__()
        self._settings = settings
        self._repository = QuarantineRepository(database)
        self._metrics = QuarantineMetrics(metrics)
        self._told: dict[str, int] = {}

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._attempt()
            await self._rest(self._settings.quarantine_seconds)

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
