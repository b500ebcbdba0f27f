"""Audits the summaries that the views read, and mends what differs (README, "Summaries").

A difference has no known cause: each is told in the log and counted, and mended all the same.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from bookstore_common.db import Database, not_now
from bookstore_common.metrics import Metrics
from bookstore_common.patience import Backlog
from mv_refresher.settings import Settings
from mv_refresher.summaries.metrics import SummaryMetrics
from mv_refresher.summaries.repository import SummaryRepository

BATCH = 2000
_TOLD = 20
_log = structlog.get_logger(__name__)


class SummaryAudit:
    """Looks at a part of the orders every MV_AUDIT_SECONDS, at all sums every MV_SUMS_AUDIT_SECONDS.

    Of several processes the one that ``leads`` does it.
    """

    def __init__(
        self, settings: Settings, database: Database, metrics: Metrics, leads: Callable[[], bool], batch: int = BATCH
    ) -> None:
        self._settings = settings
        self._repository = SummaryRepository(database)
        self._metrics = SummaryMetrics(metrics)
        self._leads = leads
        self._batch = batch
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Look until the block ends."""
        task = asyncio.create_task(self._run(), name="summaries")
        try:
            yield task
        finally:
            self._stop.set()
            await asyncio.wait([task])

    async def _run(self) -> None:
        backlog = Backlog()
        while not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.mv_audit_seconds):
                    await self._stop.wait()
            if self._stop.is_set() or not self._leads():
                continue
            try:
                await self.look()
                backlog = Backlog()
            except Exception as error:
                if not_now(error):
                    _log.warning("summary_audit_interrupted", error=type(error).__name__)
                else:
                    # Views must stay fresh, whatever this runs into.
                    _log.exception("summary_audit_failed")
                await backlog.pause()

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
