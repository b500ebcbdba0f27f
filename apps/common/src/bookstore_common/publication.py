"""What Debezium captures of a service's database: helpers for migrations (SPEC 7)."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from alembic import op

_REFUSE_TRUNCATE = """
CREATE FUNCTION captured_no_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE of % is refused: change capture does not publish it, so copies of its rows would stay',
        TG_TABLE_NAME USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE.';
END
$$
"""


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


def leave_truncate_out(name: str) -> None:
    """Publish what Debezium applies: it skips TRUNCATE, and analytics would keep the rows without a word."""
    quote = op.get_bind().dialect.identifier_preparer.quote_identifier
    op.execute(f"ALTER PUBLICATION {quote(name)} SET (publish = 'insert, update, delete')")


def publish_truncate(name: str) -> None:
    """The way back."""
    quote = op.get_bind().dialect.identifier_preparer.quote_identifier
    op.execute(f"ALTER PUBLICATION {quote(name)} SET (publish = 'insert, update, delete, truncate')")


def refuse_truncate(tables: Sequence[str], roles: Iterable[str]) -> None:
    """Let nobody empty captured tables but row by row: the owner is told so, ``roles`` (quoted) have no right to it."""
    quote = op.get_bind().dialect.identifier_preparer.quote_identifier
    op.execute(_REFUSE_TRUNCATE)
    for table in tables:
        op.execute(
            f"CREATE TRIGGER {quote(f'{table}_no_truncate')} BEFORE TRUNCATE ON {quote(table)}"
            " FOR EACH STATEMENT EXECUTE FUNCTION captured_no_truncate()"
        )
    listed = ", ".join(quote(table) for table in tables)
    op.execute(f"REVOKE TRUNCATE ON {listed} FROM {', '.join(roles)}")


def allow_truncate(tables: Sequence[str]) -> None:
    """The way back."""
    quote = op.get_bind().dialect.identifier_preparer.quote_identifier
    for table in tables:
        op.execute(f"DROP TRIGGER {quote(f'{table}_no_truncate')} ON {quote(table)}")
    op.execute("DROP FUNCTION captured_no_truncate()")
