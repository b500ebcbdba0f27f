"""Events of the audit as they may really be: any bytes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bookstore_common.audit import TOPIC, Bucket, changed_since, from_event
from bookstore_common.records import UnreadableError, event
from mv_refresher.audit.repository import TARGETS, Target

# The clocks of source and analytics may differ by this.
_SKEW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Digest:
    """What a source told of one table: seen at, of rows settled at, the buckets; ``sums`` names their columns."""

    target: Target
    seen_at: datetime
    settled_at: datetime
    # Rows that changed after this may have been invisible to the source.
    changed_since: datetime
    buckets: dict[int, Bucket]
    sums: list[str]


def read(value: bytes | None) -> Digest:
    """Parse a record's value; raises UnreadableError for whatever cannot be compared."""
    payload = event(value, TOPIC)
    target = TARGETS.get(payload["table"])
    if target is None:
        raise UnreadableError("table: not an audited one")
    if payload["sums"] != list(target.audited.sums):
        raise UnreadableError(f"sums of {payload['table']}: other columns than {', '.join(target.audited.sums)}")
    try:
        seen_at, settled_at, buckets = from_event(payload)
        since = changed_since(seen_at)
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"seen_at, settled_at or buckets: {type(error).__name__}") from None
    if not settled_at <= seen_at <= datetime.now(UTC) + _SKEW:
        raise UnreadableError("seen_at: before settled_at, or a time to come")
    if any(len(bucket.sums) != len(payload["sums"]) for bucket in buckets.values()):
        raise UnreadableError("buckets: not as many sums as columns")
    return Digest(target, seen_at, settled_at, since, buckets, payload["sums"])
