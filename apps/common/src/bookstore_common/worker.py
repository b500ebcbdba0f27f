"""The process of a worker: it consumes, keeps its tables small, and audits them beside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import text

from bookstore_common.consumer import Worker, WorkerSettings
from bookstore_common.db import Database, not_now
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.server import Listener, serve

CHORES_SECONDS = 3600.0
_log = structlog.get_logger(__name__)


def prune(statements: Sequence[str]) -> Callable[[Database], Awaitable[None]]:
    """Return an action that runs ``statements``, each in a transaction of its own."""

    async def run(database: Database) -> None:
        for statement in statements:
            async with database.transaction() as session:
                await session.execute(text(statement))

    return run


async def run_worker(
    settings: WorkerSettings,
    worker: Worker,
    database: Database,
    metrics: Metrics,
    chores: Callable[[Database], Awaitable[None]],
    audit: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve the management listener and consume until told to stop; raises what ended the worker by itself.

    ``chores`` run when the worker is prepared and then every :data:`CHORES_SECONDS`; a database that is away puts them
    off. ``audit`` runs beside, and never ends.
    """
    readiness = Readiness(
        {"database": database.check, "schema": worker.schema, "kafka": worker.check}, settings.readiness_timeout_seconds
    )
    management = create_management_app(readiness, metrics)
    stop = asyncio.Event()

    async def housekeeping() -> None:
        await worker.prepared.wait()
        while True:
            try:
                await chores(database)
            except Exception as error:
                if not not_now(error):
                    raise
                _log.warning("chores_put_off", error=type(error).__name__)
            await asyncio.sleep(CHORES_SECONDS)

    async def audited(forever: Callable[[], Awaitable[None]]) -> None:
        await worker.prepared.wait()
        await forever()

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        beside = [asyncio.create_task(housekeeping(), name="housekeeping")]
        if audit is not None:
            beside.append(asyncio.create_task(audited(audit), name="audit"))
        try:
            async with worker.running() as consuming:
                for task in (consuming, *beside):
                    # Ended by itself: a fault, and no reason to go on as if nothing had happened.
                    task.add_done_callback(lambda _task: stop.set())
                yield
            consuming.result()
            for task in beside:
                if task.done():
                    task.result()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            await database.close()

    listener = Listener("management", management, settings.management_port, "MANAGEMENT_PORT")
    await serve(settings, readiness, [], listener, resources=resources(), stop=stop)
