"""What Debezium captures of a service's database: helpers for migrations (SPEC 7)."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op


def create_publication(name: str, tables: Sequence[str]) -> None:
    """Publish ``tables``, all of which carry the old row in updates and deletes, and write the heartbeat's row.

    A column that must not leave the database is left out by Debezium: PostgreSQL refuses updates of a table with full
    replica identity of which only some columns are published.
    """
    connection = op.get_bind()
    identities = connection.execute(
        sa.text("SELECT relname, relreplident FROM pg_class WHERE oid = ANY (CAST(:tables AS regclass[]))"),
        {"tables": list(tables)},
    )
    partial = sorted(table for table, identity in identities if identity != "f")
    if partial:
        raise RuntimeError(f"publication {name}: {', '.join(partial)}: set REPLICA IDENTITY FULL first")
    quote = connection.dialect.identifier_preparer.quote_identifier
    op.execute(f"CREATE PUBLICATION {quote(name)} FOR TABLE {', '.join(quote(table) for table in tables)}")
    op.execute("INSERT INTO cdc_heartbeat (id) VALUES (1) ON CONFLICT DO NOTHING")


def drop_publication(name: str) -> None:
    """The way back."""
    op.execute(f"DROP PUBLICATION {op.get_bind().dialect.identifier_preparer.quote_identifier(name)}")
