"""Serve until told to stop. Exit codes: 0 stopped on request, 1 failed, 2 bad settings."""

import sys
import time
from datetime import datetime

import structlog
from prometheus_client import Counter

from bookstore_common.audit import SourceAudit
from bookstore_common.chores import Call, Chore
from bookstore_common.consumer import Worker, WorkerSettings
from bookstore_common.db import Database
from bookstore_common.gaps import OUTBOX_DAYS, TOPIC_DAYS
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.outbox import outbox_chore
from bookstore_common.process import run_process
from bookstore_common.worker import run_worker
from inventory.audit.service import TABLES
from inventory.events.service import EFFECTS, sweep
from inventory.migrate import migrations_folder
from inventory.settings import SLOT

SERVICE = "inventory-worker"
GROUP = "inventory-service"
# Its time says until when every placed order is known here (see bookstore_common.consumer.Worker).
HEARTBEATS = "cdc.ecom.public.cdc_heartbeat"
SWEEP_SECONDS = 60.0
# How long an administrator sees each movement of a book by itself.
MOVEMENT_DAYS = 90
# The outbox keeps events for longer than any topic, so that a worker that was away can be given them again; ids of what
# was applied are kept for longer than that.
CHORES = (
    outbox_chore(SLOT, f"{OUTBOX_DAYS} days"),
    # No worker consumes these.
    outbox_chore(SLOT, f"{TOPIC_DAYS} days", "inventory.updated"),
    # Digests of the standing audit are large, and of no use once the next is there.
    outbox_chore(SLOT, "1 day", "cdc.audit"),
    Chore("processed_events", "processed_events", "processed_at < now() - interval '60 days'"),
    # Kept for an ``order.created`` that comes after its cancellation; none that old is in a topic or an outbox.
    Chore("cancelled_orders", "cancelled_orders", "cancelled_at < now() - interval '60 days'"),
    # What was given back or never claimed, once nothing can ask for it; a committed one stays as long as its order.
    Call("reservations", "forget_reservations(interval '60 days', :rows)"),
    # The lines before that become one of each book.
    Call("stock_movements", f"fold_stock_movements(interval '{MOVEMENT_DAYS} days', :rows)"),
    Chore("consumer_gaps", "consumer_gaps", "repaired_at < now() - interval '60 days'"),
    Chore("dead_letters", "dead_letters", "resolved_at < now() - interval '60 days'"),
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
    schema = Migrations(migrations_folder()).readiness_check(database)
    sweeper = Sweeper(database, metrics)
    return Worker(settings, GROUP, EFFECTS, database, metrics, schema, heartbeat=(HEARTBEATS, sweeper))


async def main(settings: WorkerSettings) -> None:
    """Run the worker."""
    database, metrics = Database(settings, SERVICE), Metrics()
    worker = make_worker(settings, database, metrics)
    audit = SourceAudit(database, TABLES, settings.cdc_audit_seconds)
    await run_worker(settings, worker, database, metrics, CHORES, audit.run)


if __name__ == "__main__":
    sys.exit(run_process(SERVICE, WorkerSettings, main))
