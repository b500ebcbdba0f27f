"""The table quarantined_records: what is resolved, how much waits, what is old."""

from dataclasses import dataclass

from sqlalchemy import text

from bookstore_common.db import Database

# An audit that looked this much later than an entry was made had a settled row to compare (SETTLED of
# bookstore_common.audit is two minutes).
AUDITED_AFTER = "interval '5 minutes'"
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Copy:
    """Where a captured table's changes come from, and its copy in analytics."""

    topic: str
    name: str
    key: str


TABLES = {
    "books": Copy("cdc.ecom.public.books", "dim_books", "book_id"),
    "orders": Copy("cdc.ecom.public.orders", "fact_orders", "order_id"),
    "order_items": Copy("cdc.ecom.public.order_items", "fact_order_items", "order_item_id"),
    "inventory": Copy("cdc.inventory.public.inventory", "fact_inventory", "book_id"),
}
# Resolution to the condition under which it holds for an entry q of a table.
_RULES = {
    # A later record of this row was applied.
    "applied": "EXISTS (SELECT FROM {name} row WHERE row.{key} = q.row_key AND row.synced_at > q.seen_at)",
    # A later record of this row could not be applied either: that one's entry stands for the row.
    "superseded": (
        "EXISTS (SELECT FROM quarantined_records later WHERE later.topic = q.topic AND later.row_key = q.row_key"
        " AND later.kafka_partition = q.kafka_partition AND later.kafka_offset > q.kafka_offset)"
    ),
    # All settled rows of the table were found as their source has them, some time after the record was read.
    "audited": (
        "EXISTS (SELECT FROM cdc_audit WHERE table_name = :table AND result = 'equal'"
        f" AND seen_at > q.seen_at + {AUDITED_AFTER})"
    ),
}


class QuarantineRepository:
    """Raises the driver's errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def resolve(self, table: str) -> dict[str, int]:
        """Mark what is resolved; numbers by resolution."""
        copy, found = TABLES[table], {}
        async with self._database.transaction() as session:
            for resolution, condition in _RULES.items():
                result = await session.execute(
                    text(
                        "WITH resolved AS (UPDATE quarantined_records q"  # noqa: S608 # of our own constants
                        " SET resolved_at = clock_timestamp(), resolution = :resolution"
                        " WHERE topic = :topic AND resolved_at IS NULL"
                        f" AND {condition.format(name=copy.name, key=copy.key)} RETURNING 1)"
                        " SELECT count(*) FROM resolved"
                    ),
                    {"topic": copy.topic, "resolution": resolution}
                    | ({"table": table} if ":table" in condition else {}),
                )
                if number := int(result.scalar_one()):
                    found[resolution] = number
        return found

    async def waiting(self) -> dict[str, int]:
        """Unresolved entries by table; those of a topic that is none of ours count nowhere, and are none of Flink's."""
        async with self._database.reading() as session:
            result = await session.execute(
                text(
                    "SELECT topic, count(*) AS number FROM quarantined_records WHERE resolved_at IS NULL GROUP BY topic"
                )
            )
            by_topic: dict[str, int] = {row.topic: row.number for row in result}
        return {table: by_topic.get(copy.topic, 0) for table, copy in TABLES.items()}

    async def forget(self, days: float) -> int:
        """Remove a batch of entries that were resolved that long ago; how many."""
        async with self._database.transaction() as session:
            result = await session.execute(
                text(
                    "WITH gone AS (DELETE FROM quarantined_records WHERE (topic, kafka_partition, kafka_offset) IN ("
                    " SELECT topic, kafka_partition, kafka_offset FROM quarantined_records"
                    " WHERE resolved_at < clock_timestamp() - make_interval(secs => :seconds)"
                    " ORDER BY resolved_at LIMIT :batch) RETURNING 1) SELECT count(*) FROM gone"
                ),
                {"seconds": days * 86_400, "batch": _BATCH},
            )
            return int(result.scalar_one())
