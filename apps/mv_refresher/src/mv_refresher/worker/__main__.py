"""Serve until told to stop. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bookstore_common.db import Database
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.process import run_process
from bookstore_common.server import Listener, serve
from mv_refresher.audit.service import Auditor
from mv_refresher.migrate import migrations_folder
from mv_refresher.quarantine.service import Quarantine
from mv_refresher.refresh.service import Refresher
from mv_refresher.settings import SERVICE, Settings
from mv_refresher.summaries.service import SummaryAudit


async def main(settings: Settings) -> None:
    """Serve the management listener and refresh until told to stop; raises what ended a task by itself."""
    database, metrics = Database(settings, SERVICE), Metrics()
    schema = Migrations(migrations_folder()).readiness_check(database)
    refresher, auditor = Refresher(settings, metrics), Auditor(settings, database, metrics)
    quarantine = Quarantine(settings, database, metrics)
    summaries = SummaryAudit(settings, database, metrics, lambda: refresher.leads)
    stop = asyncio.Event()

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        try:
            async with AsyncExitStack() as running:
                tasks = [
                    await running.enter_async_context(one.running())
                    for one in (refresher, auditor, quarantine, summaries)
                ]
                for task in tasks:
                    # Ended by itself: a fault, and no reason to go on as if nothing had happened.
                    task.add_done_callback(lambda _task: stop.set())
                yield
            for task in tasks:
                task.result()
        finally:
            await database.close()

    readiness = Readiness(
        {"database": database.check, "schema": schema, "views": refresher.check},
        settings.readiness_timeout_seconds,
        degrading={"audit": auditor.check},
    )
    management = create_management_app(readiness, metrics)
    listener = Listener("management", management, settings.management_port, "MANAGEMENT_PORT")
    await serve(settings, readiness, [], listener, resources=resources(), stop=stop)


if __name__ == "__main__":
    sys.exit(run_process(SERVICE, Settings, main))
