"""What the audit of summaries asks of the database. Raises the driver's errors."""

from dataclasses import dataclass

from sqlalchemy import text

from bookstore_common.audit import STATEMENT_LIMITS
from bookstore_common.db import Database

_ORDERS = text("SELECT looked, differing, passed FROM mv_audit_orders(:batch)")
_SUMS = text("SELECT mv_audit_sums()")
_SUMS_DUE = text(
    "SELECT sums_at IS NULL OR sums_at < clock_timestamp() - make_interval(secs => :seconds) FROM mv_summary_audit"
)
_REBUILD = text("SELECT mv_rebuild_sums()")


@dataclass(frozen=True, slots=True)
class Look:
    """A part of the orders: how many, which differed, and whether it was the last part."""

    looked: int
    differing: list[str]
    passed: bool


class SummaryRepository:
    """Each method is a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def orders(self, batch: int) -> Look:
        """Look at the next ``batch`` orders; those that differ are queued to be counted again."""
        async with self._database.transaction() as session:
            row = (await session.execute(_ORDERS, {"batch": batch})).one()
            return Look(row.looked, list(row.differing), row.passed)

    async def sums_due(self, seconds: float) -> bool:
        """Whether the sums were not looked at for ``seconds``."""
        async with self._database.transaction() as session:
            return bool((await session.execute(_SUMS_DUE, {"seconds": seconds})).scalar_one())

    async def sums(self) -> list[str]:
        """Names of the summaries that differ from the orders that were counted."""
        async with self._database.transaction() as session:
            await session.execute(text(STATEMENT_LIMITS))
            return list((await session.execute(_SUMS)).scalar_one())

    async def rebuild(self) -> None:
        """Make the sums anew from the orders that were counted."""
        async with self._database.transaction() as session:
            await session.execute(text(STATEMENT_LIMITS))
            await session.execute(_REBUILD)
