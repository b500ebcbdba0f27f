"""Serve until told to stop. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys
import time
from datetime import datetime

import structlog

from bookstore_common import logging
from bookstore_common.audit import SourceAudit
from bookstore_common.consumer import Worker, WorkerSettings, prune, run_worker
from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.server import ListenError, run
from bookstore_common.settings import SettingsError, load_settings
from inventory.audit.service import TABLES
from inventory.events.service import EFFECTS, sweep
from inventory.migrate import migrations_folder

SERVICE = "inventory-worker"
GROUP = "inventory-service"
# Its time says until when every placed order is known here (see bookstore_common.consumer.Worker).
HEARTBEATS = "cdc.ecom.public.cdc_heartbeat"
SWEEP_SECONDS = 60.0
# SPEC 5.3: the outbox keeps events for seven days. Topics keep them as long, so older ids cannot come again.
CHORES = (
    "DELETE FROM outbox_events WHERE created_at < now() - interval '7 days'",
    # Digests of the standing audit are large, and of no use once the next is there.
    "DELETE FROM outbox_events WHERE event_type = 'cdc.audit' AND created_at < now() - interval '1 day'",
    "DELETE FROM processed_events WHERE processed_at < now() - interval '60 days'",
    # Kept for an ``order.created`` that comes after its cancellation; none that old is in a topic.
    "DELETE FROM cancelled_orders WHERE cancelled_at < now() - interval '60 days'",
)
_log = structlog.get_logger(__name__)


class Sweeper:
    """Expires holds, at most once in :data:`SWEEP_SECONDS`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = 0.0

    async def __call__(self, moment: datetime) -> None:
        """All orders placed until ``moment`` are known: holds that ended before are nobody's."""
        if time.monotonic() < self._next:
            return
        expired = await sweep(self._database, moment)
        self._next = time.monotonic() + SWEEP_SECONDS
        if expired:
            _log.info("holds_expired", count=expired)


async def main(settings: WorkerSettings) -> None:
    """Run the worker."""
    database, metrics, migrations = Database(settings, SERVICE), Metrics(), Migrations(migrations_folder())

    async def schema() -> None:
        async with database.reading() as session:
            await migrations.check(session)

    worker = Worker(settings, GROUP, EFFECTS, database, metrics, heartbeat=(HEARTBEATS, Sweeper(database)))
    audit = SourceAudit(database, TABLES, settings.cdc_audit_seconds)
    await run_worker(settings, worker, database, metrics, {"schema": schema}, prune(CHORES), audit.run)


def start() -> int:
    """Run the process; returns the exit code."""
    try:
        settings = load_settings(WorkerSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logging.configure(settings.log_level, settings.log_format, SERVICE)
    logging.hide_secret(settings.database_password.get_secret_value())
    try:
        run(main(settings))
    except ListenError as error:
        _log.error("cannot_listen", reason=str(error))
        return 2
    except Exception:
        _log.exception("failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(start())
