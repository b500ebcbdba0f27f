"""What keeps the views fresh: which of them are dirty, and a refresh that says up to when it is complete (SPEC 7.3).

Flags. A statement trigger appends the changed table's name to mv_changes; mv_collect, called by the one mv-refresher,
takes the names away and marks the views that depend on them. So writers only ever insert: they wait for nobody and
cannot deadlock, and a name becomes visible together with the change that it is about. A transaction that commits after
a refresh's snapshot still has its name in mv_changes afterwards, because what is taken was visible before that
snapshot. mv_changes is unlogged: a crash empties it, and ends the refresher's connection, which refreshes everything
after each new connection. Names are never looked for before they are appended: one that is there may be taken before
we commit.

Freshness. last_refresh_at >= a row's synced_at means: the view has the row. The refresh's time alone would not say so,
because a row is stamped before its transaction ends. mv_refresh therefore reads the clock, then the oldest time of all
transactions that are writing (the locks of 0001), and only then takes its snapshot; the earlier of the two times is
last_refresh_at. A row stamped until then was stamped by a transaction that had taken its lock before we read the locks.
It is no longer held, or its time would have been the limit; locks are released after rows become visible; so our
snapshot, taken later, has the row. (It holds for deletions, too: who saw a row gone at a time until last_refresh_at
sees it gone in the view.) A transaction that writes and stays open holds the time back, not the refresh.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SOURCES = ("fact_orders", "fact_order_items", "fact_inventory", "dim_books", "dim_date")

# From the definitions themselves, so exactly the tables that each view reads.
_DEPENDENCIES = """
INSERT INTO mv_dependencies (mv_name, source)
SELECT DISTINCT view.relname, read.relname
FROM pg_class view
JOIN pg_rewrite ON ev_class = view.oid
JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid AND refclassid = 'pg_class'::regclass
JOIN pg_class read ON read.oid = refobjid AND read.relkind = 'r'
WHERE view.relkind = 'm' AND view.relnamespace = 'public'::regnamespace
"""
# Rights of the owner: writers may be given as few as they like.
_CHANGED = """
CREATE FUNCTION analytics_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO mv_changes (source) VALUES (TG_TABLE_NAME);
    RETURN NULL;
END
$$
"""
# The key's upper half: the mark, and the upper bits of the time.
_COMPLETE_UNTIL = """
CREATE FUNCTION analytics_complete_until() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
DECLARE
    now_there timestamptz := clock_timestamp();
    writing_since bigint;
BEGIN
    SELECT min(((classid::bigint << 32) | objid::bigint) & ((1::bigint << 52) - 1)) INTO writing_since
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 20 = 1237
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
    RETURN least(now_there, 'epoch'::timestamptz + (writing_since - 1) * interval '1 microsecond');
END
$$
"""
# Collecting and refreshing exclude each other, whoever calls: a flag must not be cleared by a refresh that began before
# it was set.
_COLLECT = """
CREATE FUNCTION mv_collect() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('mv_refresh_state'));
    WITH taken AS (DELETE FROM mv_changes RETURNING source)
    UPDATE mv_refresh_state state SET dirty = true
    FROM mv_dependencies reads
    WHERE reads.mv_name = state.mv_name AND reads.source IN (SELECT source FROM taken) AND NOT state.dirty;
    RETURN QUERY SELECT mv_name FROM mv_refresh_state WHERE dirty ORDER BY last_refresh_at NULLS FIRST, mv_name;
END
$$
"""
# One transaction: nobody sees the new time before the new rows. Each statement in here has a snapshot of its own, as
# PostgreSQL documents for volatile functions at READ COMMITTED; at other levels the snapshot would be older than the
# time. Run with the owner's rights instead of MAINTAIN: flag, time and rows then change only together.
_REFRESH = """
CREATE FUNCTION mv_refresh(view text) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    began timestamptz;
    complete_until timestamptz;
    took integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'mv_refresh: transaction_isolation is %; it must be read committed',
            current_setting('transaction_isolation') USING ERRCODE = 'invalid_transaction_state';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('mv_refresh_state'));
    IF NOT EXISTS (SELECT FROM mv_refresh_state WHERE mv_name = view) THEN
        RAISE EXCEPTION 'mv_refresh: % is none of the views in mv_refresh_state', view
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    began := clock_timestamp();
    complete_until := analytics_complete_until();
    EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY %I', view);
    took := round(extract(epoch FROM clock_timestamp() - began) * 1000);
    UPDATE mv_refresh_state
    SET dirty = false, last_refresh_at = greatest(last_refresh_at, complete_until), duration_ms = took
    WHERE mv_name = view;
    RETURN took;
END
$$
"""
FUNCTIONS = ("mv_refresh(text)", "mv_collect()", "analytics_complete_until()", "analytics_changed()")


def upgrade() -> None:
    op.create_table(
        "mv_refresh_state",
        sa.Column("mv_name", sa.Text(), nullable=False),
        sa.Column("dirty", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("last_refresh_at", sa.DateTime(timezone=True)),
        sa.Column("duration_ms", sa.Integer()),
        sa.PrimaryKeyConstraint("mv_name", name="mv_refresh_state_pkey"),
    )
    op.create_table(
        "mv_dependencies",
        sa.Column("mv_name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mv_name", "source", name="mv_dependencies_pkey"),
    )
    op.create_table("mv_changes", sa.Column("source", sa.Text(), nullable=False), prefixes=["UNLOGGED"])
    # Rows live for a fraction of a second: keep the table a few pages long.
    op.execute(
        "ALTER TABLE mv_changes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,"
        " autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000)"
    )
    op.execute("ALTER TABLE mv_refresh_state SET (fillfactor = 50)")
    op.execute(_DEPENDENCIES)
    op.execute("INSERT INTO mv_refresh_state (mv_name) SELECT DISTINCT mv_name FROM mv_dependencies")
    for function in (_CHANGED, _COMPLETE_UNTIL, _COLLECT, _REFRESH):
        op.execute(function)
    for table in SOURCES:
        op.execute(
            f"CREATE TRIGGER {table}_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION analytics_changed()"
        )
    _grant()


def _grant() -> None:
    """Who writes facts can neither set nor clear a flag but by writing."""
    app, ro, cdc = granted_roles()
    op.execute(f"REVOKE ALL ON mv_changes, mv_refresh_state, mv_dependencies FROM {app}, {cdc}")
    op.execute(f"GRANT SELECT ON mv_changes, mv_refresh_state, mv_dependencies TO {app}, {ro}")
    op.execute(f"REVOKE ALL ON FUNCTION {', '.join(FUNCTIONS)} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION mv_refresh(text), mv_collect(), analytics_complete_until() TO {app}")


def downgrade() -> None:
    for table in SOURCES:
        op.execute(f"DROP TRIGGER {table}_changed ON {table}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    for table in ("mv_changes", "mv_dependencies", "mv_refresh_state"):
        op.drop_table(table)
