"""Audits the summaries that the views read, and mends what differs (README, "Summaries").

A difference has no known cause: each is told in the log and counted, and mended all the same.
"""

import time
from collections.abc import Callable

import structlog

from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from mv_refresher.background import Lookout
from mv_refresher.settings import Settings
from mv_refresher.summaries.metrics import SummaryMetrics
from mv_refresher.summaries.repository import SummaryRepository

BATCH = 2000
_TOLD = 20
_log = structlog.get_logger(__name__)


class SummaryAudit(Lookout):
    """Looks at a part of the orders every MV_AUDIT_SECONDS, at all sums every MV_SUMS_AUDIT_SECONDS.

    Of several processes the one that ``leads`` does it.
    """

    task_name = "summaries"
    log_name = "summary_audit"

    def __init__(
        self, settings: Settings, database: Database, metrics: Metrics, leads: Callable[[], bool], batch: int = BATCH
    ) -> None:
        super().__init__()
        self._settings = settings
        self._repository = SummaryRepository(database)
        self._metrics = SummaryMetrics(metrics)
        self._leads = leads
        self._batch = batch

    async def _run(self) -> None:
        while not await self._rest(self._settings.mv_audit_seconds):
            if self._leads():
                await self._attempt()

    async def look(self) -> None:
        """Look at the next orders, and at the sums if it is time; raises the driver's errors."""
        seen = await self._repository.orders(self._batch)
        self._metrics.looked.inc(seen.looked)
        if seen.differing:
            self._metrics.orders.inc(len(seen.differing))
            _log.error("orders_counted_wrongly", orders=len(seen.differing), first=seen.differing[:_TOLD])
        if seen.passed:
            self._metrics.last_pass.labels("orders").set(time.time())
        if not await self._repository.sums_due(self._settings.mv_sums_audit_seconds):
            return
        differing = await self._repository.sums()
        for table in differing:
            self._metrics.sums.labels(table).inc()
            _log.error("sums_differ", table=table)
        if differing:
            await self._repository.rebuild()
            _log.info("sums_rebuilt", still_differing=await self._repository.sums())
        self._metrics.last_pass.labels("sums").set(time.time())
