"""Summaries: sums of orders by day, status, book and author, kept from what changed (SPEC 7.3).

Writers append keys. Statement triggers append the ids of changed orders to mv_changed_orders, and of books whose
author changed to mv_changed_books: they insert and nothing else, so they wait for nobody. Both tables are logged: a key
is there if, and only if, the change that it is about is, also after a crash.

mv_apply takes keys, the oldest first, as many as it is told. For each order it compares counted_orders, which is what
was counted, with what the facts say now, adds the differences to the summaries, and keeps what it counted; keys, sums
and counted_orders change in one transaction. So it does not matter how often an order is told, in which order rows
arrive, or where a run was killed: an order that is as it was counted changes nothing. Lines whose order is not there
are counted with it. Orders of probes, and lines of their books, are counted nowhere.

Freshness. mv_summary_state.complete_until T means: each row of fact_orders, fact_order_items and dim_books stamped
until T is in the summaries. mv_apply computes a time with analytics_complete_until (0003) and then takes its snapshots,
so these have each row stamped until then, and its key, which the same transaction appended. If it did not find as many
keys as it may take, it took all of these. Otherwise some are left, and the time is held back to just before the oldest
of them: ``since`` is when the statement that changed the rows began, before it stamped any. Facts are read after their
keys, in a later snapshot, so what is counted is never older than a key that is taken. Keys that are made of others (the
orders of a book, all orders when a table was emptied) have the ``since`` of what made them.

Revision ID: 0009
Revises: 0008
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from bookstore_common.migrations import granted_roles

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = (
    "sum_days", "sum_status", "sum_books", "sum_authors", "counted_orders", "mv_changed_orders", "mv_changed_books",
    "mv_summary_state",
)  # fmt: skip

# One row for each order; of a cancelled one no lines. The arrays are parallel, one entry for each book.
_COUNTED = """
    SELECT o.order_id, o.order_date_key AS date_key, (o.created_at AT TIME ZONE 'UTC')::date AS day, o.status, o.total,
           coalesce(l.books, '{{}}') AS books, coalesce(l.authors, '{{}}') AS authors,
           coalesce(l.quantities, '{{}}') AS quantities, coalesce(l.amounts, '{{}}') AS amounts
    FROM fact_orders o
    LEFT JOIN (
        SELECT order_id, array_agg(book_id ORDER BY book_id COLLATE "C") AS books,
               array_agg(author ORDER BY book_id COLLATE "C") AS authors,
               array_agg(quantity ORDER BY book_id COLLATE "C") AS quantities,
               array_agg(amount ORDER BY book_id COLLATE "C") AS amounts
        FROM (
            SELECT i.order_id, i.book_id, coalesce(b.author, 'Unknown')::text AS author,
                   sum(i.quantity)::bigint AS quantity, sum(i.line_total) AS amount
            FROM fact_order_items i LEFT JOIN dim_books b ON b.book_id = i.book_id
            WHERE i.book_id NOT LIKE 'ffffffff%' AND {lines}
            GROUP BY i.order_id, i.book_id, b.author
        ) AS by_book
        GROUP BY order_id
    ) l ON l.order_id = o.order_id AND o.status <> 'CANCELLED'
    WHERE o.user_id <> 'cdc-probe' AND {orders}"""
# Summary: its key, its figures, and its rows from signed rows of counted_orders (1: counts now, -1: was counted).
_SUMS = {
    "sum_days": (
        "date_key, day",
        "orders, units, revenue",
        """
        SELECT date_key, day, sum(sign)::bigint AS orders,
               sum(sign * coalesce((SELECT sum(one) FROM unnest(quantities) AS one), 0))::bigint AS units,
               sum(sign * total) AS revenue
        FROM signed WHERE status <> 'CANCELLED' GROUP BY date_key, day""",
    ),
    "sum_status": (
        "status",
        "orders, total",
        "SELECT status, sum(sign)::bigint AS orders, sum(sign * total) AS total FROM signed GROUP BY status",
    ),
    "sum_books": (
        "book_id",
        "orders, units, revenue",
        """
        SELECT book_id, sum(sign)::bigint AS orders, sum(sign * quantity)::bigint AS units,
               sum(sign * amount) AS revenue
        FROM signed, unnest(books, quantities, amounts) AS line (book_id, quantity, amount)
        GROUP BY book_id""",
    ),
    "sum_authors": (
        "author",
        "orders, units, revenue",
        # An order counts once for each of its authors.
        """
        SELECT author, sum(sign)::bigint AS orders, sum(units)::bigint AS units, sum(revenue) AS revenue
        FROM (
            SELECT sign, order_id, author, sum(sign * quantity) AS units, sum(sign * amount) AS revenue
            FROM signed, unnest(authors, quantities, amounts) AS line (author, quantity, amount)
            GROUP BY sign, order_id, author
        ) AS by_order
        GROUP BY author""",
    ),
}
# Rights of the owner, as in 0003: writers may be given as few as they like.
_OWNERS = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp"
# Access by keys: its cost must not hang on statistics, which a table that grew fast does not have.
_BY_KEY = "SET enable_seqscan = off SET enable_mergejoin = off SET jit = off"

_ORDERS_CHANGED = f"""
CREATE FUNCTION analytics_orders_changed() RETURNS trigger {_OWNERS} AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO mv_changed_orders (order_id, since) VALUES ('*', statement_timestamp());
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO mv_changed_orders (order_id, since) SELECT DISTINCT order_id, statement_timestamp() FROM before;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO mv_changed_orders (order_id, since) SELECT DISTINCT order_id, statement_timestamp() FROM after;
    ELSE
        INSERT INTO mv_changed_orders (order_id, since)
        SELECT order_id, statement_timestamp()
        FROM (SELECT order_id FROM before UNION SELECT order_id FROM after) AS changed;
    END IF;
    RETURN NULL;
END
$$
"""
# Only whom a book is by is counted; all else of a book the views read where it is.
_BOOKS_CHANGED = f"""
CREATE FUNCTION analytics_books_changed() RETURNS trigger {_OWNERS} AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO mv_changed_orders (order_id, since) VALUES ('*', statement_timestamp());
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO mv_changed_books (book_id, since) SELECT book_id, statement_timestamp() FROM before;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO mv_changed_books (book_id, since) SELECT book_id, statement_timestamp() FROM after;
    ELSE
        INSERT INTO mv_changed_books (book_id, since)
        SELECT DISTINCT book_id, statement_timestamp() FROM (
            (SELECT book_id, author FROM before EXCEPT SELECT book_id, author FROM after)
            UNION ALL
            (SELECT book_id, author FROM after EXCEPT SELECT book_id, author FROM before)
        ) AS changed;
    END IF;
    RETURN NULL;
END
$$
"""
_COUNTED_NOW = f"""
CREATE FUNCTION mv_counted_now(keys varchar[]) RETURNS SETOF counted_orders
LANGUAGE sql STABLE SET search_path = public, pg_temp {_BY_KEY} AS $$
    {_COUNTED.format(lines="i.order_id = ANY (keys)", orders="o.order_id = ANY (keys)")}
$$
"""


def _add(table: str) -> str:
    """Two parts of the statement in mv_apply: the differences of a summary, and their addition to it."""
    key, figures, rows = _SUMS[table]
    names = figures.split(", ")
    changed = " OR ".join(f"{name} <> 0" for name in names)
    added = ", ".join(f"{name} = kept.{name} + EXCLUDED.{name}" for name in names)
    return f"""
        {table}_changes AS (SELECT * FROM ({rows}) AS rows WHERE {changed}),
        {table}_added AS (
            INSERT INTO {table} AS kept ({key}, {figures}) SELECT {key}, {figures} FROM {table}_changes
            ON CONFLICT ({key}) DO UPDATE SET {added}
            RETURNING 1
        )"""


_COLUMNS = ("date_key", "day", "status", "total", "books", "authors", "quantities", "amounts")
# The oldest keys, by their places: no other process deletes any.
_OLDEST = "ctid = ANY (ARRAY(SELECT ctid FROM mv_changed_orders ORDER BY since LIMIT batch))"
_APPLY = f"""
CREATE FUNCTION mv_apply(batch integer) RETURNS integer {_OWNERS} {_BY_KEY} AS $$
DECLARE
    books_batch integer := greatest(batch / 5, 1);
    book record;
    books_taken integer := 0;
    orders_told integer;
    all_told integer := 0;
    whole_until timestamptz;
    order_keys varchar[];
    taken integer;
    everything_since timestamptz;
    changed text[];
    full_batch boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'mv_apply: transaction_isolation is %; it must be read committed',
            current_setting('transaction_isolation') USING ERRCODE = 'invalid_transaction_state';
    END IF;
    IF batch IS NULL OR batch < 1 THEN
        RAISE EXCEPTION 'mv_apply: batch is %; it must be 1 or more, for example 5000', batch
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('mv_refresh_state'));
    whole_until := analytics_complete_until();
    -- One after the other: no more orders at once than a batch and those of one book.
    FOR book IN SELECT ctid, book_id, since FROM mv_changed_books ORDER BY since LIMIT books_batch LOOP
        INSERT INTO mv_changed_orders (order_id, since)
        SELECT DISTINCT order_id, book.since FROM fact_order_items WHERE book_id = book.book_id;
        GET DIAGNOSTICS orders_told = ROW_COUNT;
        DELETE FROM mv_changed_books WHERE ctid = book.ctid;
        books_taken := books_taken + 1;
        all_told := all_told + orders_told;
        EXIT WHEN all_told >= batch;
    END LOOP;
    WITH gone AS (
        DELETE FROM mv_changed_orders WHERE {_OLDEST}
        RETURNING order_id, since
    )
    SELECT count(*), array_agg(DISTINCT order_id), min(since) FILTER (WHERE order_id = '*')
    INTO taken, order_keys, everything_since FROM gone;
    IF everything_since IS NOT NULL THEN
        -- A table was emptied: all are told again.
        INSERT INTO mv_changed_orders (order_id, since)
        SELECT order_id, everything_since
        FROM (SELECT order_id FROM counted_orders UNION SELECT order_id FROM fact_orders) AS every;
    END IF;
    full_batch := taken >= batch OR all_told >= batch OR books_taken >= books_batch OR everything_since IS NOT NULL;
    IF taken > 0 THEN
        WITH paired AS MATERIALIZED (
            SELECT was, became
            FROM unnest(order_keys) AS key (order_id)
            LEFT JOIN counted_orders was ON was.order_id = key.order_id
            LEFT JOIN mv_counted_now(order_keys) became ON became.order_id = key.order_id
            WHERE was IS DISTINCT FROM became
        ), signed AS MATERIALIZED (
            SELECT -1 AS sign, (was).* FROM paired WHERE (was).order_id IS NOT NULL
            UNION ALL
            SELECT 1, (became).* FROM paired WHERE (became).order_id IS NOT NULL
        ), {",".join(_add(table) for table in _SUMS)},
        kept AS (
            INSERT INTO counted_orders SELECT (became).* FROM paired WHERE (became).order_id IS NOT NULL
            ON CONFLICT (order_id) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS)}
        ), removed AS (
            DELETE FROM counted_orders WHERE order_id = ANY (
                ARRAY(SELECT (was).order_id FROM paired WHERE (became).order_id IS NULL))
        )
        SELECT array_remove(ARRAY[
            {", ".join(f"CASE WHEN EXISTS (SELECT FROM {table}_added) THEN '{table}' END" for table in _SUMS)}
        ], NULL) INTO changed;
        UPDATE mv_refresh_state state SET dirty = true
        FROM mv_dependencies reads
        WHERE reads.mv_name = state.mv_name AND reads.source = ANY (changed) AND NOT state.dirty;
    END IF;
    IF full_batch THEN
        -- Some may be left, and what they are about was stamped after they began.
        whole_until := least(whole_until, (
            SELECT min(since) - interval '1 microsecond' FROM (
                SELECT min(since) AS since FROM mv_changed_orders UNION ALL SELECT min(since) FROM mv_changed_books
            ) AS rest
        ));
    END IF;
    UPDATE mv_summary_state
    SET complete_until = greatest(complete_until, whole_until), behind = full_batch,
        taken_at = CASE WHEN taken + books_taken > 0 THEN clock_timestamp() ELSE taken_at END
    WHERE taken + books_taken > 0 OR behind;
    RETURN CASE WHEN full_batch THEN greatest(taken, batch) ELSE taken END;
END
$$
"""


def _fill(table: str) -> str:
    key, figures, rows = _SUMS[table]
    signed = "signed AS NOT MATERIALIZED (SELECT 1 AS sign, counted_orders.* FROM counted_orders)"
    return f"""
    DELETE FROM {table};
    WITH {signed} INSERT INTO {table} ({key}, {figures}) SELECT {key}, {figures} FROM ({rows}) AS rows;"""


_REBUILD = f"""
CREATE FUNCTION mv_rebuild_sums() RETURNS void {_OWNERS} SET jit = off AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('mv_refresh_state'));
    {"".join(_fill(table) for table in _SUMS)}
    UPDATE mv_refresh_state state SET dirty = true
    FROM mv_dependencies reads WHERE reads.mv_name = state.mv_name AND starts_with(reads.source, 'sum_');
END
$$
"""
FUNCTIONS = (
    "mv_rebuild_sums()", "mv_apply(integer)", "mv_counted_now(varchar[])", "analytics_books_changed()",
    "analytics_orders_changed()",
)  # fmt: skip
# First of all locks, as in mv_collect and mv_refresh: these hold views and wait for tables, and would deadlock with us.
_NO_REFRESH = "SELECT pg_advisory_xact_lock(hashtext('mv_refresh_state'))"
EVENTS = {
    "insert": "INSERT ON {table} REFERENCING NEW TABLE AS after",
    "update": "UPDATE ON {table} REFERENCING OLD TABLE AS before NEW TABLE AS after",
    "delete": "DELETE ON {table} REFERENCING OLD TABLE AS before",
    "truncate": "TRUNCATE ON {table}",
}
TRIGGERS = {
    "fact_orders": "analytics_orders_changed",
    "fact_order_items": "analytics_orders_changed",
    "dim_books": "analytics_books_changed",
}


def _create_tables() -> None:
    op.create_table(
        "counted_orders",
        sa.Column("order_id", sa.String(36), nullable=False),
        sa.Column("date_key", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("total", sa.Numeric(12, 2), nullable=False),
        sa.Column("books", postgresql.ARRAY(sa.String(36)), nullable=False),
        sa.Column("authors", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("quantities", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("amounts", postgresql.ARRAY(sa.Numeric()), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="counted_orders_pkey"),
    )
    keys: dict[str, list[sa.Column[Any]]] = {
        "sum_days": [sa.Column("date_key", sa.Integer()), sa.Column("day", sa.Date())],
        "sum_status": [sa.Column("status", sa.String(50))],
        "sum_books": [sa.Column("book_id", sa.String(36))],
        "sum_authors": [sa.Column("author", sa.Text())],
    }
    for table, columns in keys.items():
        names = _SUMS[table][1].split(", ")
        kinds = [sa.BigInteger() if name in ("orders", "units") else sa.Numeric() for name in names]
        figures = [sa.Column(name, kind, nullable=False) for name, kind in zip(names, kinds, strict=True)]
        primary = sa.PrimaryKeyConstraint(*(column.name for column in columns), name=f"{table}_pkey")
        op.create_table(table, *columns, *figures, primary)
    for table, key in (("mv_changed_orders", "order_id"), ("mv_changed_books", "book_id")):
        since = sa.Column("since", sa.DateTime(timezone=True), nullable=False)
        op.create_table(table, sa.Column(key, sa.String(36), nullable=False), since)
        op.create_index(f"{table}_since_idx", table, ["since"])
        # Rows live for a fraction of a second: keep the table a few pages long.
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,"
            " autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000)"
        )
    op.create_table(
        "mv_summary_state",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("complete_until", sa.DateTime(timezone=True), server_default="-infinity", nullable=False),
        # Whether the last batch was a full one, so that more may be left; when keys or names were last taken.
        sa.Column("behind", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default="-infinity", nullable=False),
        sa.PrimaryKeyConstraint("one", name="mv_summary_state_pkey"),
        sa.CheckConstraint("one", name=op.f("mv_summary_state_one_check")),
    )
    # All that was stamped until then is counted below; no view is ever told to be fresh until -infinity.
    op.execute("INSERT INTO mv_summary_state (complete_until) VALUES (analytics_complete_until())")
    # Rows that change again and again: room for their next versions on the same page.
    for table in ("sum_days", "sum_status", "sum_books", "sum_authors", "mv_summary_state"):
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


def upgrade() -> None:
    op.execute(_NO_REFRESH)
    # Writers wait from here on, and what they committed is seen below.
    op.execute("LOCK TABLE fact_orders, fact_order_items, dim_books IN SHARE ROW EXCLUSIVE MODE")
    _create_tables()
    op.create_index("fact_order_items_order_id_idx", "fact_order_items", ["order_id"])
    op.create_index("fact_order_items_book_id_idx", "fact_order_items", ["book_id"])
    for function in (_ORDERS_CHANGED, _BOOKS_CHANGED, _COUNTED_NOW, _APPLY, _REBUILD):
        op.execute(function)
    for table, function in TRIGGERS.items():
        for name, event in EVENTS.items():
            op.execute(
                f"CREATE TRIGGER {table}_told_{name} AFTER {event.format(table=table)}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )
    op.execute(f"INSERT INTO counted_orders {_COUNTED.format(lines='true', orders='true')}")
    op.execute("SELECT mv_rebuild_sums()")
    for table in ("counted_orders", "sum_days", "sum_status", "sum_books", "sum_authors", "fact_order_items"):
        op.execute(f"ANALYZE {table}")
    _grant()


def _grant() -> None:
    """Who writes facts changes what is counted by writing them, and in no other way."""
    app, ro, cdc = granted_roles()
    tables = ", ".join(TABLES)
    op.execute(f"REVOKE ALL ON {tables} FROM {app}, {cdc}")
    op.execute(f"GRANT SELECT ON {tables} TO {app}, {ro}")
    op.execute(f"REVOKE ALL ON FUNCTION {', '.join(FUNCTIONS)} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION mv_apply(integer), mv_rebuild_sums() TO {app}")


def downgrade() -> None:
    op.execute(_NO_REFRESH)
    for table in TRIGGERS:
        for name in EVENTS:
            op.execute(f"DROP TRIGGER {table}_told_{name} ON {table}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.drop_index("fact_order_items_book_id_idx")
    op.drop_index("fact_order_items_order_id_idx")
    for table in TABLES:
        op.drop_table(table)
