"""The audited tables as they are in analytics, and the last result of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from bookstore_common.audit import STATEMENT_LIMITS, Audited, Bucket, digest, digest_statement
from bookstore_common.db import Database


@dataclass(frozen=True, slots=True)
class Target:
    """A table in analytics: how it is read, and which topics Flink reads on its way there, by consumer group."""

    audited: Audited
    topics: Mapping[str, str]


# The other sides are ecom.audit.service and inventory.audit.service: each record must print alike.
TARGETS = {
    "books": Target(
        Audited(
            "books",
            """
            SELECT book_id AS key, updated_at AS changed_at, created_at AS born_at, price,
                   ROW(book_id, title, author, isbn, genre, price, published_year,
                       active, extract(epoch FROM created_at), extract(epoch FROM updated_at))::text AS record
            FROM dim_books WHERE book_id NOT LIKE 'ffffffff%'
            """,
            ("price",),
        ),
        {"flink-cdc-dim-books": "cdc.ecom.public.books"},
    ),
    "orders": Target(
        Audited(
            "orders",
            """
            SELECT order_id AS key, updated_at AS changed_at, created_at AS born_at, total,
                   ROW(order_id, user_id, status, total, currency, order_date_key,
                       extract(epoch FROM created_at), extract(epoch FROM updated_at))::text AS record
            FROM fact_orders WHERE user_id <> 'cdc-probe'
            """,
            ("total",),
        ),
        {"flink-cdc-fact-orders": "cdc.ecom.public.orders"},
    ),
    "order_items": Target(
        Audited(
            "order_items",
            """
            -- A line without an order is as old as its copy here: one that stays so is one too many.
            SELECT i.order_item_id AS key, coalesce(o.created_at, i.synced_at) AS changed_at,
                   coalesce(o.created_at, i.synced_at) AS born_at, i.quantity, i.line_total,
                   ROW(i.order_item_id, i.order_id, i.book_id, i.quantity, i.price_at_purchase,
                       i.line_total)::text AS record
            FROM fact_order_items i LEFT JOIN fact_orders o ON o.order_id = i.order_id
            WHERE o.user_id IS DISTINCT FROM 'cdc-probe' AND i.book_id NOT LIKE 'ffffffff%'
            """,
            ("quantity", "line_total"),
        ),
        {
            "flink-cdc-fact-order-items": "cdc.ecom.public.order_items",
            "flink-cdc-fact-orders": "cdc.ecom.public.orders",
        },
    ),
    "inventory": Target(
        Audited(
            "inventory",
            """
            SELECT book_id AS key, updated_at AS changed_at, '-infinity'::timestamptz AS born_at, quantity, reserved,
                   ROW(book_id, quantity, reserved, available, low_stock_threshold,
                       extract(epoch FROM updated_at))::text AS record
            FROM fact_inventory WHERE book_id NOT LIKE 'ffffffff%'
            """,
            ("quantity", "reserved"),
        ),
        {"flink-cdc-fact-inventory": "cdc.inventory.public.inventory"},
    ),
}
_SAVE = text(
    """
    INSERT INTO cdc_audit (table_name, seen_at, audited_at, result, row_count, divergent_buckets, unsettled_buckets,
                           persistent_buckets)
    VALUES (:table_name, :seen_at, clock_timestamp(), :result, :row_count, :divergent, :unsettled, :persistent)
    ON CONFLICT (table_name) DO UPDATE SET
        seen_at = EXCLUDED.seen_at, audited_at = EXCLUDED.audited_at, result = EXCLUDED.result,
        row_count = EXCLUDED.row_count, divergent_buckets = EXCLUDED.divergent_buckets,
        unsettled_buckets = EXCLUDED.unsettled_buckets, persistent_buckets = EXCLUDED.persistent_buckets
    """
)
_LAST = text(
    "SELECT table_name, extract(epoch FROM audited_at)::float8 AS audited_at, divergent_buckets, unsettled_buckets,"
    " persistent_buckets FROM cdc_audit"
)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What one audit of a table found, by buckets of keys.

    ``divergent``: they differ from the source. ``unsettled``: they could not be compared, their rows keep changing.
    ``persistent``: divergent, and so in the audit before.
    """

    divergent: frozenset[int]
    unsettled: frozenset[int]
    persistent: frozenset[int]

    @property
    def result(self) -> str:
        """The worst of it."""
        return "divergent" if self.divergent else "unsettled" if self.unsettled else "equal"

    def followed_by(self, divergent: set[int], unsettled: set[int]) -> "Conclusion":
        """The next audit's: a bucket that was divergent stays so until it was seen equal."""
        now = frozenset(divergent | (unsettled & self.divergent))
        return Conclusion(now, frozenset(unsettled) - now, now & self.divergent)


NOTHING = Conclusion(frozenset(), frozenset(), frozenset())


class AuditRepository:
    """Digests and results. Raises the driver's errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def digest(self, target: Target, settled: datetime, seen: datetime) -> tuple[dict[int, Bucket], set[int]]:
        """See :func:`bookstore_common.audit.digest`; one statement, so one snapshot."""
        async with self._database.transaction() as session:
            await session.execute(text(STATEMENT_LIMITS))
            result = await session.execute(text(digest_statement(target.audited)), {"settled": settled, "seen": seen})
            return digest(result.all(), target.audited)

    async def save(self, table: str, seen_at: datetime, row_count: int, found: Conclusion) -> None:
        """Keep the result of the latest audit of ``table``."""
        async with self._database.transaction() as session:
            await session.execute(
                _SAVE,
                {
                    "table_name": table,
                    "seen_at": seen_at,
                    "result": found.result,
                    "row_count": row_count,
                    "divergent": sorted(found.divergent),
                    "unsettled": sorted(found.unsettled),
                    "persistent": sorted(found.persistent),
                },
            )

    async def seen(self) -> dict[str, datetime]:
        """Per audited table: when its source looked for the latest audit that was completed."""
        async with self._database.reading() as session:
            rows: Any = await session.execute(text("SELECT table_name, seen_at FROM cdc_audit"))
            return {row.table_name: row.seen_at for row in rows}

    async def last(self) -> dict[str, tuple[float, Conclusion]]:
        """Per audited table: when (Unix time), and what was found."""
        async with self._database.reading() as session:
            rows: Any = await session.execute(_LAST)
            return {
                row.table_name: (
                    row.audited_at,
                    Conclusion(*map(frozenset, (row.divergent_buckets, row.unsettled_buckets, row.persistent_buckets))),
                )
                for row in rows
            }
