"""What the process does beside serving: tasks that run until they are told to end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from bookstore_common.db import not_now
from bookstore_common.patience import Backlog

_log = structlog.get_logger(__name__)


class Background:
    """A task. A subclass has ``_run``, which ends soon after ``_stop`` is set."""

    task_name: str

    def __init__(self) -> None:
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run until the block ends; what was begun is finished."""
        task = asyncio.create_task(self._run(), name=self.task_name)
        try:
            yield task
        finally:
            self._stop.set()
            await asyncio.wait([task])

    async def _run(self) -> None:
        raise NotImplementedError

    async def _rest(self, seconds: float) -> bool:
        """Wait, but not when told to end; returns whether that is so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()


class Lookout(Background):
    """A task that looks again and again. A subclass has ``_run``, which calls ``_attempt``, and ``look``."""

    # Of the log's events: <log_name>_interrupted, <log_name>_failed.
    log_name: str

    def __init__(self) -> None:
        super().__init__()
        self._backlog = Backlog()

    async def look(self) -> None:
        """Look once; raises the driver's errors."""
        raise NotImplementedError

    async def _attempt(self) -> None:
        """Look; after a failure, which is told and ends nothing, pause the longer the more often it failed."""
        try:
            await self.look()
            self._backlog = Backlog()
        except Exception as error:
            if not_now(error):
                _log.warning(f"{self.log_name}_interrupted", error=type(error).__name__)
            else:
                # Views must stay fresh, whatever this runs into.
                _log.exception(f"{self.log_name}_failed")
            await self._backlog.pause()
