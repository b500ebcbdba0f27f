"""Serve until told to stop. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys
import time
from datetime import datetime

import structlog
from prometheus_client import Counter

from bookstore_common import logging
from bookstore_common.audit import SourceAudit
from bookstore_common.consumer import Worker, WorkerSettings
from bookstore_common.db import Database
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.outbox import prune_statement
from bookstore_common.server import ListenError, run
from bookstore_common.settings import SettingsError, load_settings
from bookstore_common.worker import prune, run_worker
from inventory.audit.service import TABLES
from inventory.events.service import EFFECTS, sweep
from inventory.migrate import migrations_folder
from inventory.settings import SLOT

SERVICE = "inventory-worker"
GROUP = "inventory-service"
# Its time says until when every placed order is known here (see bookstore_common.consumer.Worker).
HEARTBEATS = "cdc.ecom.public.cdc_heartbeat"
SWEEP_SECONDS = 60.0
# SPEC 5.3: the outbox keeps events for seven days. Topics keep them as long, so older ids cannot come again.
CHORES = (
    prune_statement(SLOT, "7 days"),
    # Digests of the standing audit are large, and of no use once the next is there.
    prune_statement(SLOT, "1 day", "cdc.audit"),
    "DELETE FROM processed_events WHERE processed_at < now() - interval '60 days'",
    # Kept for an ``order.created`` that comes after its cancellation; none that old is in a topic.
    "DELETE FROM cancelled_orders WHERE cancelled_at < now() - interval '60 days'",
)
_log = structlog.get_logger(__name__)


class Sweeper:
    """Expires holds, at most once in :data:`SWEEP_SECONDS`."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._next = 0.0
        self._holds = Counter(
            "expired_holds_total", "Holds that ended: expired, failed (left as they are).", ["result"],
            registry=metrics.registry,
        )  # fmt: skip

    async def __call__(self, moment: datetime) -> None:
        """All orders placed until ``moment`` are known: holds that ended before are nobody's."""
        if time.monotonic() < self._next:
            return
        swept = await sweep(self._database, moment)
        self._next = time.monotonic() + SWEEP_SECONDS
        self._holds.labels("expired").inc(swept.expired)
        self._holds.labels("failed").inc(swept.failed)
        if swept.expired:
            _log.info("holds_expired", count=swept.expired)


def make_worker(settings: WorkerSettings, database: Database, metrics: Metrics) -> Worker:
    """Put the worker together."""
    migrations = Migrations(migrations_folder())

    async def schema() -> None:
        async with database.reading() as session:
            await migrations.check(session)

    sweeper = Sweeper(database, metrics)
    return Worker(settings, GROUP, EFFECTS, database, metrics, schema, heartbeat=(HEARTBEATS, sweeper))


async def main(settings: WorkerSettings) -> None:
    """Run the worker."""
    database, metrics = Database(settings, SERVICE), Metrics()
    worker = make_worker(settings, database, metrics)
    audit = SourceAudit(database, TABLES, settings.cdc_audit_seconds)
    await run_worker(settings, worker, database, metrics, prune(CHORES), audit.run)


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
