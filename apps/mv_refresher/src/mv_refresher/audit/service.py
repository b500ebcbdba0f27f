"""The standing audit's comparing side; what is compared, and why so, says bookstore_common.audit.

An event of a source is compared once Flink has committed all that was in the table's topics when the event came: what
Flink commits it has written. A bucket that differs may still be right: a settled row may have changed after the source
looked. Rows that are newer than that look tell which buckets are concerned; those are left to the next audit, as
unsettled, or as divergent if they were so before. Any other difference is looked at again, and is a divergence when it
was seen three times in a row.

Events come again: with each new snapshot all that the sources' outboxes still hold, which are days of audits. What was
seen before the latest audit of its table, or before another event that came with it, is passed over: rows that were
removed since would be taken for divergences, and each would be looked at for most of a minute.

What remains: a settled row that was deleted, or that a transaction of more than two minutes changed, after the source
looked counts as a divergence until the next audit; so an alert should wait for two.
"""

import asyncio
import time
from contextlib import suppress
from datetime import datetime

import structlog
from kafka.errors import KafkaError

from bookstore_common.audit import BUCKETS, EMPTY, Bucket
from bookstore_common.db import Database, not_now
from bookstore_common.health import CheckFailedError
from bookstore_common.metrics import Metrics
from bookstore_common.patience import Backlog
from bookstore_common.records import UnreadableError
from mv_refresher.audit.feed import Feed
from mv_refresher.audit.metrics import AuditMetrics
from mv_refresher.audit.reading import Digest, read
from mv_refresher.audit.repository import NOTHING, AuditRepository, Target
from mv_refresher.background import Background
from mv_refresher.settings import Settings

LOOKS = 3
_POLL_MS = 1000
_CATCH_UP_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class Auditor(Background):
    """Compares each source's digests with analytics, one after the other."""

    task_name = "auditor"

    def __init__(self, settings: Settings, database: Database, metrics: Metrics) -> None:
        super().__init__()
        self._settings = settings
        self._repository = AuditRepository(database)
        self._metrics = AuditMetrics(metrics)
        self._connected = False
        # By table, when the source looked for the latest audit that was completed.
        self._seen: dict[str, datetime] = {}

    async def check(self) -> None:
        """Readiness check that only degrades: views are refreshed without Kafka."""
        if not self._connected:
            raise CheckFailedError("no connection to Kafka: nothing is audited")

    async def _run(self) -> None:
        backlog = Backlog()
        remembered = False
        while not self._stop.is_set():
            feed: Feed | None = None
            try:
                if not remembered:
                    await self._remember()
                    remembered = True
                feed = await asyncio.to_thread(Feed, self._settings.kafka_bootstrap_servers)
                self._connected = True
                while not self._stop.is_set():
                    for digest in self._due(await asyncio.to_thread(feed.poll, _POLL_MS)):
                        await self._compare(feed, digest)
                        backlog = Backlog()
            except Exception as error:
                if isinstance(error, KafkaError) or not_now(error):
                    # An audit that was under way is given up; the next one comes.
                    _log.warning("audit_interrupted", error=type(error).__name__)
                else:
                    # Views must stay fresh, whatever the audit runs into; it shows as an audit that was not completed.
                    _log.exception("audit_failed")
                await backlog.pause()
            finally:
                self._connected = False
                if feed is not None:
                    with suppress(KafkaError, OSError):
                        await asyncio.to_thread(feed.close)

    async def _remember(self) -> None:
        """Show what the last audits found: a restart must not look like a recovery."""
        for table, (moment, found) in (await self._repository.last()).items():
            self._metrics.show(table, moment, found)
        self._seen = await self._repository.seen()

    def _due(self, values: list[bytes | None]) -> list[Digest]:
        """The latest of each table among events that came together, unless a later one was audited already."""
        due: dict[str, Digest] = {}
        for digest in filter(None, map(self._read, values)):
            table = digest.target.audited.table
            known = due[table].seen_at if table in due else self._seen.get(table)
            if table in due or (known is not None and digest.seen_at <= known):
                self._metrics.total.labels(table, "superseded").inc()
            if known is None or digest.seen_at > known:
                due[table] = digest
        return list(due.values())

    def _read(self, value: bytes | None) -> Digest | None:
        """What an event asks for; one that cannot be read keeps no other one."""
        try:
            return read(value)
        except UnreadableError as error:
            _log.error("audit_event_refused", reason=str(error))
            self._metrics.total.labels("unknown", "refused").inc()
            return None

    async def _compare(self, feed: Feed, digest: Digest) -> None:
        """Audit; one that cannot be compared keeps no other one."""
        try:
            await self.audit(feed, digest)
        except Exception as error:
            if isinstance(error, (KafkaError, OSError)) or not_now(error):
                raise
            # Views must stay fresh, whatever the audit runs into; it shows as an audit that was not completed.
            _log.exception("audit_failed", table=digest.target.audited.table)
            self._metrics.total.labels(digest.target.audited.table, "failed").inc()

    async def audit(self, feed: Feed, digest: Digest) -> None:
        """Compare one digest; raises the driver's errors."""
        target, table = digest.target, digest.target.audited.table
        missing = await self._catch_up(feed, target)
        if missing:
            if not self._stop.is_set():
                _log.warning("audit_behind", table=table, records=missing)
                self._metrics.total.labels(table, "behind").inc()
            return
        source = digest.buckets
        suspects, unsettled = set(range(BUCKETS)), set[int]()
        ours: dict[int, Bucket] = {}
        for look in range(LOOKS):
            ours, moved = await self._repository.digest(target, digest.settled_at, digest.changed_since)
            differing = {number for number in suspects if source.get(number, EMPTY) != ours.get(number, EMPTY)}
            suspects, unsettled = differing - moved, unsettled | (differing & moved)
            if not suspects:
                break
            if look < LOOKS - 1 and await self._rest(self._settings.cdc_audit_confirm_seconds):
                return
        await self._conclude(digest, suspects, unsettled, ours)

    async def _conclude(
        self, digest: Digest, divergent: set[int], unsettled: set[int], ours: dict[int, Bucket]
    ) -> None:
        table, source = digest.target.audited.table, digest.buckets
        for number in sorted(divergent):
            left, right = source.get(number, EMPTY), ours.get(number, EMPTY)
            _log.error(
                "cdc_divergence", table=table, bucket=number, source_count=left.count, analytics_count=right.count,
                sums=digest.sums, source_sums=left.sums, analytics_sums=right.sums,
            )  # fmt: skip
        rows = sum(bucket.count for bucket in source.values())
        _moment, before = (await self._repository.last()).get(table, (0.0, NOTHING))
        found = before.followed_by(divergent, unsettled)
        await self._repository.save(table, digest.seen_at, rows, found)
        self._seen[table] = digest.seen_at
        self._metrics.show(table, time.time(), found)
        self._metrics.total.labels(table, found.result).inc()
        _log.info("audited", table=table, rows=rows, divergent=len(found.divergent), unsettled=len(found.unsettled))

    async def _catch_up(self, feed: Feed, target: Target) -> dict[str, int]:
        """Wait for Flink; returns what is missing when patience ends, else nothing."""
        deadline = time.monotonic() + self._settings.cdc_audit_patience_seconds
        ends = await asyncio.to_thread(feed.ends, target.topics)
        while missing := await asyncio.to_thread(feed.behind, target.topics, ends):
            if time.monotonic() > deadline or await self._rest(_CATCH_UP_SECONDS):
                break
        return missing
