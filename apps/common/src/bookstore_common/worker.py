"""The process of a worker: it consumes, keeps its tables small, and audits them beside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from bookstore_common.chores import Call, Chore, Housekeeping
from bookstore_common.consumer import Worker, WorkerSettings
from bookstore_common.db import Database
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.server import Listener, serve


async def run_worker(
    settings: WorkerSettings,
    worker: Worker,
    database: Database,
    metrics: Metrics,
    chores: Sequence[Chore | Call],
    audit: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve the management listener and consume until told to stop; raises what ended the worker by itself.

    ``chores`` run when the worker is prepared and then every hour. ``audit`` runs beside, and never ends.
    """
    readiness = Readiness(
        {"database": database.check, "schema": worker.schema, "kafka": worker.check}, settings.readiness_timeout_seconds
    )
    management = create_management_app(readiness, metrics)
    stop = asyncio.Event()

    async def housekeeping() -> None:
        await worker.prepared.wait()
        await Housekeeping(database, metrics, chores).run()

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
