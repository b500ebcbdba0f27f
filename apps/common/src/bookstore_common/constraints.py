"""Constraints for tables that already hold rows: helpers for migrations.

Captured tables refuse what the pipeline behind them cannot carry: NaN (which PostgreSQL takes for greater than every
number), infinite times, and texts that make a record larger than a message may be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from alembic import op
from sqlalchemy import text

_log = structlog.get_logger(__name__)
# Finite, and inside of what every consumer of the captured tables can represent.
SANE_TIME = "{column} BETWEEN '1970-01-01 00:00:00+00' AND '2999-12-31 00:00:00+00'"
# An order of 50 lines has 7 kB, the audit's 64 buckets have 10 kB.
MAX_PAYLOAD_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class Tightening:
    """New constraints of one table.

    ``conditions``: constraint name -> condition. ``mends``: column -> SQL of the value that a row which breaks a
    condition gets; it must keep good values. Without any, such rows are deleted. ``key``: SQL of the text that names a
    row in the log.
    """

    table: str
    key: str
    conditions: Mapping[str, str]
    mends: Mapping[str, str] = field(default_factory=dict)


def keep(column: str, condition: str, otherwise: str) -> str:
    """For ``mends``: the column as it is while ``condition`` holds, else ``otherwise``."""
    return f"CASE WHEN ({condition}) IS NOT FALSE THEN {column} ELSE {otherwise} END"


def sane_time(column: str) -> str:
    """Condition that a time is finite and lies in the years 1970 to 2999."""
    return SANE_TIME.format(column=column)


def outbox_tightening() -> Tightening:
    """For ``outbox_events`` of either service. It is published from the log of its insertion, so it may be deleted."""
    return Tightening(
        "outbox_events",
        "id::text",
        {
            "outbox_events_payload_check": f"octet_length(payload::text) <= {MAX_PAYLOAD_BYTES}",
            "outbox_events_created_at_check": sane_time("created_at"),
        },
    )


def heartbeat_tightening() -> Tightening:
    """For ``cdc_heartbeat`` of either service."""
    condition = sane_time("ts")
    return Tightening(
        "cdc_heartbeat", "id::text", {"cdc_heartbeat_ts_check": condition}, {"ts": keep("ts", condition, "now()")}
    )


def tighten(*tightenings: Tightening) -> None:
    """Add the constraints, mend the rows that break them, and validate.

    Each statement is a transaction of its own, so that no lock outlives it: adding without validation locks the table
    for an instant, validation lets writers pass. Whoever is stopped half-way starts again from the beginning. Mended
    rows are named in the log.
    """
    with op.get_context().autocommit_block():
        for change in tightenings:
            parts = [
                f"DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID"
                for name, condition in change.conditions.items()
            ]
            op.execute(f"ALTER TABLE {change.table} {', '.join(parts)}")
        for change in tightenings:
            _mend(change)
        for change in tightenings:
            for name in change.conditions:
                op.execute(f"ALTER TABLE {change.table} VALIDATE CONSTRAINT {name}")


def _mend(change: Tightening) -> None:
    values = ", ".join(f"{column} = {value}" for column, value in change.mends.items())
    # A migration's own words.
    action = f"UPDATE {change.table} SET {values}" if values else f"DELETE FROM {change.table}"  # noqa: S608
    good = " AND ".join(f"({condition}) IS NOT FALSE" for condition in change.conditions.values())
    mended = op.get_bind().execute(text(f"{action} WHERE NOT ({good}) RETURNING {change.key}")).scalars().all()
    if mended:
        event = "rows_mended" if values else "rows_deleted"
        _log.warning(event, table=change.table, rules=sorted(change.conditions), rows=sorted(mended))


def loosen(*tightenings: Tightening, former: Mapping[str, Mapping[str, str]]) -> None:
    """The way back: ``former`` is table -> constraint name -> condition of what :func:`tighten` replaced."""
    for change in tightenings:
        before = former.get(change.table, {})
        for name in change.conditions:
            op.execute(f"ALTER TABLE {change.table} DROP CONSTRAINT {name}")
            if name in before:
                op.execute(f"ALTER TABLE {change.table} ADD CONSTRAINT {name} CHECK ({before[name]})")
