"""Refreshes dirty views soon, and all of them now and then (SPEC 7.3)."""

import time

import psycopg
import structlog

from bookstore_common.health import CheckFailedError
from bookstore_common.metrics import Metrics
from bookstore_common.patience import Backlog
from mv_refresher.background import Background
from mv_refresher.refresh.metrics import RefreshMetrics
from mv_refresher.refresh.repository import ViewRepository, connected
from mv_refresher.settings import Settings

_STANDBY_SECONDS = 0.5
_SILENCE_SECONDS = 30.0
# For so long a backlog is worked off before the views are shown what there is.
_CATCH_UP_SECONDS = 2.0
_DATABASE_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, OSError)
_log = structlog.get_logger(__name__)


class Refresher(Background):
    """The one that refreshes, or waits to become it.

    After a round of refreshes it rests for as long as they took, and at least MV_POLL_SECONDS: it never refreshes for
    more than half of the time. What changed is taken in batches, each a transaction; of a backlog as many as fit into
    two seconds, then the views show what was taken. After each new connection everything is refreshed once.
    """

    task_name = "refresher"

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__()
        self._settings = settings
        self._metrics = RefreshMetrics(metrics)
        self._connected = self._leads = False
        self._failed: dict[str, str] = {}
        self._told: dict[str, float] = {}

    @property
    def leads(self) -> bool:
        """Whether this is the process that refreshes."""
        return self._leads

    async def check(self) -> None:
        """Readiness check: connected, as the one that refreshes or in wait for it, and no view resists."""
        if not self._connected:
            raise CheckFailedError("no connection to refresh views with; see the log for database_unavailable")
        if self._failed:
            view, reason = next(iter(self._failed.items()))
            raise CheckFailedError(f"{len(self._failed)} views cannot be refreshed, {view}: {reason}")

    async def _run(self) -> None:
        backlog = Backlog()
        while not self._stop.is_set():
            try:
                async with connected(self._settings) as views:
                    self._connected = True
                    backlog = Backlog()
                    if await self._lead(views):
                        await self._keep_fresh(views)
            except _DATABASE_AWAY as error:
                self._tell("", "database_unavailable", error=type(error).__name__)
                await backlog.pause()
            finally:
                self._connected = self._leads = False
                self._metrics.leading.set(0)

    async def _lead(self, views: ViewRepository) -> bool:
        """Wait until no other process refreshes; False if told to end meanwhile."""
        waited = False
        while not await views.try_to_lead():
            if not waited:
                waited = True
                _log.info("standing_by")
            if await self._rest(_STANDBY_SECONDS):
                return False
        self._leads = True
        self._metrics.leading.set(1)
        _log.info("leading")
        return True

    async def _keep_fresh(self, views: ViewRepository) -> None:
        next_full = 0.0
        while not self._stop.is_set():
            began = time.monotonic()
            # Also before a full round: its refreshes cover what is taken here.
            wanted = await self._collect(views, began + _CATCH_UP_SECONDS)
            self._metrics.note_dirty(wanted)
            if began >= next_full:
                wanted = await views.all()
                self._metrics.know(wanted)
                next_full = began + self._settings.mv_full_refresh_seconds
            began = time.monotonic()
            for view in wanted:
                if self._stop.is_set():
                    return
                await self._refresh(views, view)
            spent = time.monotonic() - began
            await self._rest(max(self._settings.mv_poll_seconds, spent) if wanted else self._settings.mv_poll_seconds)

    async def _collect(self, views: ViewRepository, deadline: float) -> list[str]:
        """Take what changed, as far as the time allows; names of the dirty views."""
        while True:
            wanted = await views.collect()
            lag = await views.lag()
            self._metrics.lag.set(lag or 0)
            if lag is None or time.monotonic() >= deadline or self._stop.is_set():
                return wanted

    async def _refresh(self, views: ViewRepository, view: str) -> None:
        try:
            seconds = await views.refresh(view)
        except psycopg.Error as error:
            if views.lost:
                raise
            # Its flag stays, so the next round tries again.
            self._failed[view] = str(error).partition("\n")[0]
            self._metrics.failures.labels(view).inc()
            self._tell(view, "refresh_failed", view=view, reason=self._failed[view])
        else:
            self._failed.pop(view, None)
            self._metrics.note_fresh(view, seconds)

    def _tell(self, subject: str, event: str, **facts: str) -> None:
        """Log what repeats itself at most twice a minute."""
        if time.monotonic() - self._told.get(subject, -_SILENCE_SECONDS) >= _SILENCE_SECONDS:
            self._told[subject] = time.monotonic()
            _log.warning(event, **facts)
