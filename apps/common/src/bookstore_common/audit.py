"""The standing audit: are the rows of a captured table in analytics as they are in their source? (SPEC 7, issue 5)

No service may read another's database, so the two sides meet in an event. A source's worker digests each of its tables
(:class:`SourceAudit`) and publishes the digest as ``cdc.audit`` through its outbox; mv-refresher digests the rows in
analytics in the same way and compares. Both sides must agree on each row's canonical text, so the same PostgreSQL
function hashes it on both sides, and texts are made of what prints alike in both schemas: ids as text, numerics with
the scale of their column, times as seconds with six decimals.

Only settled rows count: what changed in the last two minutes may still be under way. Rows of probes never count.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.engine import Row

from bookstore_common import events
from bookstore_common.db import Database, contended, not_now
from bookstore_common.outbox import OutboxRepository

TOPIC = "cdc.audit"
BUCKETS = 64
SETTLED = timedelta(minutes=2)
# An audit that takes long comes more seldom: the source needs at most one part in so many of a core, analytics as much.
REST_PER_WORK = 200
# Patient, and on one core: an audit has time.
STATEMENT_LIMITS = "SET LOCAL statement_timeout = '120s'; SET LOCAL max_parallel_workers_per_gather = 0"
# Hashes of rows are combined by XOR: order does not matter, and one changed row changes the result. Rows with equal
# hashes would cancel each other out; keys are unique, so there are none but by chance (2^-64).
_DIGEST = """
SELECT (hashtextextended(key, 0) & {mask})::int AS bucket,
       count(*) FILTER (WHERE changed_at <= :settled) AS size,
       coalesce(bit_xor(hashtextextended(record, 0)) FILTER (WHERE changed_at <= :settled), 0) AS mixed,
       {sums},
       coalesce(bool_or(born_at <= :settled AND changed_at > :seen), false) AS moved
FROM ({rows}) AS rows
GROUP BY 1 ORDER BY 1
"""
# A digest may not see a row that changed within this time before it: the transaction was still open.
_OPEN = timedelta(seconds=60)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Audited:
    """How one side reads one table.

    ``rows``: a SELECT of ``key`` (text), ``changed_at`` and ``born_at`` (timestamptz), ``record`` (the canonical text
    of the row) and the columns ``sums`` (numbers).
    """

    table: str
    rows: str
    sums: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bucket:
    """The digest of the settled rows whose keys fall into one bucket; sums as text, in the order of the table's."""

    count: int
    hash: int
    sums: tuple[str, ...]


# What a bucket without settled rows is.
EMPTY = Bucket(0, 0, ())


def digest_statement(audited: Audited) -> str:
    """SQL with the parameters ``settled`` (rows changed until then count) and ``seen`` (see :func:`digest`)."""
    sums = ", ".join(f"sum({name}) FILTER (WHERE changed_at <= :settled) AS sum_{name}" for name in audited.sums)
    return _DIGEST.format(mask=BUCKETS - 1, sums=sums, rows=audited.rows)


def digest(rows: Sequence[Row[Any]], audited: Audited) -> tuple[dict[int, Bucket], set[int]]:
    """Return the digests by bucket (empty ones left out), and the buckets of which settled rows changed after ``seen``.

    Rows of the latter may have been among the settled ones of an older digest, so it cannot be compared there.
    """
    found = {
        row.bucket: Bucket(row.size, row.mixed, tuple(str(getattr(row, f"sum_{name}")) for name in audited.sums))
        for row in rows
        if row.size
    }
    return found, {row.bucket for row in rows if row.moved}


def as_event(audited: Audited, seen_at: datetime, settled: datetime, buckets: dict[int, Bucket]) -> events.Event:
    """The event of one digest: seen at ``seen_at`` (the source's clock), of rows settled at ``settled``."""
    # One text: Debezium, which expands the payload, keeps neither empty lists nor lists of unlike things.
    lines = [" ".join(map(str, (number, at.count, at.hash, *at.sums))) for number, at in sorted(buckets.items())]
    body = {
        "table": audited.table,
        "seen_at": _rfc3339(seen_at),
        "settled_at": _rfc3339(settled),
        "sums": list(audited.sums),
        "buckets": ";".join(lines),
    }
    return events.cdc_audit(audited.table, body)


def from_event(payload: dict[str, Any]) -> tuple[datetime, datetime, dict[int, Bucket]]:
    """Return ``seen_at``, ``settled_at`` and the buckets of a valid ``cdc.audit`` payload."""
    buckets = {}
    for line in filter(None, payload["buckets"].split(";")):
        number, count, hashed, *sums = line.split(" ")
        buckets[int(number)] = Bucket(int(count), int(hashed), tuple(sums))
    return datetime.fromisoformat(payload["seen_at"]), datetime.fromisoformat(payload["settled_at"]), buckets


def changed_since(seen_at: datetime) -> datetime:
    """The parameter ``seen`` of a later digest that is compared with one of ``seen_at``."""
    return seen_at - _OPEN


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class SourceAudit:
    """Digests the tables of one source, one after the other, and publishes each through the outbox."""

    def __init__(self, database: Database, tables: Sequence[Audited], period_seconds: float) -> None:
        self._database = database
        self._tables = tables
        self._period = period_seconds

    async def run(self) -> None:
        """Audit without end: every ``period_seconds``, and more seldom if that takes long (REST_PER_WORK)."""
        # The shortest of the last rounds: a host that was busy with others says nothing about the work.
        recent: deque[float] = deque(maxlen=3)
        while True:
            work = 0.0
            for audited in self._tables:
                try:
                    work += await self.publish(audited)
                except Exception as error:
                    # Whatever one audit runs into, the next comes, and the worker's events do not wait for it.
                    if not_now(error) or contended(error):
                        _log.warning("audit_put_off", table=audited.table, error=type(error).__name__)
                    else:
                        _log.exception("audit_failed", table=audited.table)
            recent.append(work)
            pause = max(self._period, REST_PER_WORK * min(recent))
            # Spreads the audits of two sources that started at the same time.
            await asyncio.sleep(pause * random.uniform(0.95, 1.0))  # noqa: S311 # spreads load, guards nothing

    async def publish(self, audited: Audited) -> float:
        """One table in one snapshot: the digest, and the event that tells it, are of the same transaction.

        Returns the seconds that the digest took.
        """
        async with self._database.transaction() as session:
            connection = await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            await connection.execute(text(STATEMENT_LIMITS))
            seen_at: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
            settled = seen_at - SETTLED
            began = time.monotonic()
            result = await connection.execute(text(digest_statement(audited)), {"settled": settled, "seen": seen_at})
            took = time.monotonic() - began
            buckets, _moved = digest(result.all(), audited)
            await OutboxRepository(session).add(as_event(audited, seen_at, settled, buckets))
        rows = sum(bucket.count for bucket in buckets.values())
        _log.info("audited", table=audited.table, rows=rows, seconds=round(took, 3))
        return took
