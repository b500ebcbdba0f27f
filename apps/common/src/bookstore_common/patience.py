"""Waiting for a database that is away, as long as it takes."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bookstore_common.db import contended, not_now

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
SILENCE_SECONDS = 30.0
T = TypeVar("T")
_log = structlog.get_logger(__name__)


class StoppedError(Exception):
    """The process is told to end while it waits; what it was about to do comes again."""


class Backlog:
    """Grows from one pause to the next, with jitter, until something succeeded."""

    def __init__(self, first: float = _FIRST_PAUSE) -> None:
        self._next = first

    async def pause(self) -> None:
        """Wait a little longer than the last time."""
        await asyncio.sleep(self._next * random.uniform(0.7, 1.3))  # noqa: S311 # spreads load, guards nothing
        self._next = min(self._next * 2, _LONGEST_PAUSE)


def away(error: Exception) -> bool:
    """The database is, or a part of it; see :func:`bookstore_common.db.not_now`."""
    return not_now(error)


def away_or_busy(error: Exception) -> bool:
    """For what must be written whatever happens, and is none of a record's doing."""
    return not_now(error) or contended(error)


async def undisturbed(
    action: Callable[[], Awaitable[T]], stopping: Callable[[], bool], waits: Callable[[Exception], bool] = away
) -> T:
    """Do ``action``, again and again while it raises what ``waits`` is for; raises StoppedError when ``stopping``."""
    backlog = Backlog()
    told = 0.0
    while True:
        try:
            return await action()
        except Exception as error:
            if not waits(error):
                raise
            if stopping():
                raise StoppedError from error
            if not told or time.monotonic() - told > SILENCE_SECONDS:
                told = time.monotonic()
                _log.warning("database_unavailable", error=type(error).__name__)
            await backlog.pause()
