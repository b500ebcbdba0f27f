"""Serve until told to stop. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys
from datetime import datetime

import structlog

from bookstore_common.audit import SourceAudit
from bookstore_common.chores import Chore
from bookstore_common.consumer import Worker, WorkerSettings
from bookstore_common.db import Database
from bookstore_common.gaps import OUTBOX_DAYS
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.outbox import outbox_chore
from bookstore_common.process import run_process
from bookstore_common.worker import run_worker
from ecom.audit.service import TABLES
from ecom.events.service import EFFECTS
from ecom.migrate import migrations_folder
from ecom.settings import SLOT

SERVICE = "ecom-worker"
GROUP = "ecom-service"
# Nothing waits for its time; with it the worker sees when a new snapshot of the source has closed a gap.
HEARTBEATS = "cdc.inventory.public.cdc_heartbeat"
# SPEC 5.3: answers are kept for 24 h. The outbox keeps events for longer than any topic, so that a worker that was away
# can be given them again; ids of what was applied are kept for longer than that.
CHORES = (
    outbox_chore(SLOT, f"{OUTBOX_DAYS} days"),
    # Digests of the standing audit are large, and of no use once the next is there.
    outbox_chore(SLOT, "1 day", "cdc.audit"),
    Chore("processed_events", "processed_events", "processed_at < now() - interval '60 days'"),
    Chore("idempotency_keys", "idempotency_keys", "created_at < now() - interval '24 hours'"),
    Chore("consumer_gaps", "consumer_gaps", "repaired_at < now() - interval '60 days'"),
    Chore("dead_letters", "dead_letters", "resolved_at < now() - interval '60 days'"),
)
_log = structlog.get_logger(__name__)


def make_worker(settings: WorkerSettings, database: Database, metrics: Metrics) -> Worker:
    """Put the worker together."""
    schema = Migrations(migrations_folder()).readiness_check(database)

    async def told(moment: datetime) -> None:
        _log.debug("heartbeat", moment=moment.isoformat())

    return Worker(settings, GROUP, EFFECTS, database, metrics, schema, heartbeat=(HEARTBEATS, told))


async def main(settings: WorkerSettings) -> None:
    """Run the worker."""
    database, metrics = Database(settings, SERVICE), Metrics()
    worker = make_worker(settings, database, metrics)
    audit = SourceAudit(database, TABLES, settings.cdc_audit_seconds)
    await run_worker(settings, worker, database, metrics, CHORES, audit.run)


if __name__ == "__main__":
    sys.exit(run_process(SERVICE, WorkerSettings, main))
