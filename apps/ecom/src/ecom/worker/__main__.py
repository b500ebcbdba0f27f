"""Serve until told to stop. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys

import structlog

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
from ecom.audit.service import TABLES
from ecom.events.service import EFFECTS
from ecom.migrate import migrations_folder
from ecom.settings import SLOT

SERVICE = "ecom-worker"
GROUP = "ecom-service"
# SPEC 5.3: answers are kept for 24 h, the outbox for seven days; topics keep events no longer.
CHORES = (
    prune_statement(SLOT, "7 days"),
    # Digests of the standing audit are large, and of no use once the next is there.
    prune_statement(SLOT, "1 day", "cdc.audit"),
    "DELETE FROM processed_events WHERE processed_at < now() - interval '60 days'",
    "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'",
)
_log = structlog.get_logger(__name__)


def make_worker(settings: WorkerSettings, database: Database, metrics: Metrics) -> Worker:
    """Put the worker together."""
    migrations = Migrations(migrations_folder())

    async def schema() -> None:
        async with database.reading() as session:
            await migrations.check(session)

    return Worker(settings, GROUP, EFFECTS, database, metrics, schema)


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
