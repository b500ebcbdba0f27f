"""The views by order read the summaries of 0009; what they say is what 0002 and 0008 define.

V-06 and V-10 stay: they read stock and books, no orders. Rows of views by book come sorted by the bytes of their key:
a concurrent refresh sorts the whole rows so, and rows that are in order already cost it one look each.

mv_changes has the names of fact_inventory, dim_books and dim_date alone, and is logged: so a crash loses no flag. A
view is dirty when a summary that it reads was changed, or a table that it reads itself.

last_refresh_at >= synced_at means that the view has the row, as before. A refresh reads the clock, then the oldest
writer, then takes its snapshot. The tables that a view reads itself are complete in it until the earlier of both times
(0003), the summaries until mv_summary_state.complete_until, or until the same time if a later snapshot has no key left;
the view until the earliest of these. A view that is not dirty after all was taken shows what its sources had: what
changed since its refresh would have marked it. So mv_collect moves its time on without a refresh, when something was
taken that did not concern it.

Revision ID: 0010
Revises: 0009
"""

from typing import Any

from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SUMMED = ("fact_orders", "fact_order_items")
_TWINS = """(
        SELECT title || ' (' || author || ')' AS plain FROM dim_books WHERE book_id NOT LIKE 'ffffffff%'
        GROUP BY 1 HAVING count(*) > 1
    ) twins ON twins.plain = b.title || ' (' || b.author || ')'"""
_STATUS = """CASE WHEN n.available <= 0 THEN 'out' WHEN n.available <= n.low_stock_threshold THEN 'low' ELSE 'in' END
               AS stock_status"""


def _text(expression: str, name: str, absent: str = "'Unknown'") -> str:
    return f'coalesce({expression}, {absent})::text COLLATE "und-x-icu" AS {name}'


def _label(book_id: str) -> str:
    """Needs ``b`` and ``twins``; ``book_id``: of a book that may not have arrived."""
    more = "coalesce(b.isbn, right(b.book_id, 12))"
    label = f"b.title || ' (' || b.author || CASE WHEN twins.plain IS NULL THEN '' ELSE ', ' || {more} END || ')'"
    return _text(label, "label", f"'Unknown (' || {book_id} || ')'")


_PER_BOOK = f"""
        SELECT s.book_id, {_label("s.book_id")}, {_text("b.title", "title")}, {_text("b.author", "author")},
               s.units AS units_sold, s.revenue
        FROM sum_books s
        LEFT JOIN dim_books b ON b.book_id = s.book_id
        LEFT JOIN {_TWINS}
        WHERE s.orders > 0"""
# Sums of nothing stay as rows with 0 orders. Name, key, definition.
VIEWS = (
    ("mv_product_sales_volume", "book_id", f'{_PER_BOOK} ORDER BY s.book_id COLLATE "C"'),
    (
        "mv_sales_over_time",
        "sale_date",
        # A day that the calendar lacks is still a day.
        """
        SELECT coalesce(d.date, s.day) AS sale_date, sum(s.orders)::bigint AS orders, sum(s.units)::bigint AS units,
               sum(s.revenue) AS revenue
        FROM sum_days s LEFT JOIN dim_date d ON d.date_key = s.date_key
        WHERE s.orders > 0
        GROUP BY 1""",
    ),
    (
        "mv_revenue_by_author",
        "author",
        """
        SELECT author::text COLLATE "und-x-icu" AS author, revenue, units, orders FROM sum_authors WHERE orders > 0""",
    ),
    (
        "mv_revenue_by_genre",
        "genre",
        f"""
        SELECT {_text("b.genre", "genre")},
               sum(s.revenue) AS revenue,
               sum(s.units)::bigint AS units,
               round(100 * sum(s.revenue) / nullif(sum(sum(s.revenue)) OVER (), 0), 2) AS share_pct
        FROM sum_books s LEFT JOIN dim_books b ON b.book_id = s.book_id
        WHERE s.orders > 0
        GROUP BY 1""",
    ),
    (
        "mv_order_status_distribution",
        "status",
        "SELECT status::text AS status, orders, total FROM sum_status WHERE orders > 0",
    ),
    (
        "mv_inventory_health",
        "book_id",
        f"""
        SELECT n.book_id, {_label("n.book_id")}, {_text("b.title", "title")}, {_text("b.author", "author")},
               {_text("b.genre", "genre")},
               n.quantity, n.reserved, n.available, n.low_stock_threshold, {_STATUS}
        FROM fact_inventory n
        JOIN dim_books b ON b.book_id = n.book_id
        LEFT JOIN {_TWINS}
        WHERE n.book_id NOT LIKE 'ffffffff%'
        ORDER BY n.book_id COLLATE "C\"""",
    ),
    (
        "mv_avg_order_value",
        "order_date",
        """
        SELECT coalesce(d.date, s.day) AS order_date, sum(s.orders)::bigint AS orders, sum(s.revenue) AS total,
               round(sum(s.revenue) / sum(s.orders), 2) AS avg_order_value
        FROM sum_days s LEFT JOIN dim_date d ON d.date_key = s.date_key
        WHERE s.orders > 0
        GROUP BY 1""",
    ),
    (
        "mv_top_books_by_revenue",
        "book_id",
        f"""
        SELECT book_id, label, title, author, revenue, units_sold,
               rank() OVER (ORDER BY revenue DESC, title, author, book_id) AS rank
        FROM ({_PER_BOOK}) AS sold
        ORDER BY book_id COLLATE "C\"""",
    ),
    (
        "mv_inventory_turnover",
        "book_id",
        f"""
        SELECT n.book_id, {_label("n.book_id")}, {_text("b.title", "title")},
               coalesce(s.units, 0) AS units_sold,
               n.quantity,
               round(100.0 * coalesce(s.units, 0) / nullif(coalesce(s.units, 0) + n.quantity, 0), 2) AS turnover_pct
        FROM fact_inventory n
        LEFT JOIN dim_books b ON b.book_id = n.book_id
        LEFT JOIN {_TWINS}
        LEFT JOIN sum_books s ON s.book_id = n.book_id AND s.orders > 0
        WHERE n.book_id NOT LIKE 'ffffffff%'
        ORDER BY n.book_id COLLATE "C\"""",
    ),
)
# What each view reads itself, from its definition, and by way of the summaries.
_DEPENDENCIES = """
INSERT INTO mv_dependencies (mv_name, source)
WITH reads AS (
    SELECT DISTINCT view.relname AS mv_name, read.relname AS source
    FROM pg_class view
    JOIN pg_rewrite ON ev_class = view.oid
    JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
        AND refclassid = 'pg_class'::regclass
    JOIN pg_class read ON read.oid = refobjid AND read.relkind = 'r'
    WHERE view.relkind = 'm' AND view.relnamespace = 'public'::regnamespace
)
SELECT mv_name, source FROM reads
UNION
SELECT mv_name, 'fact_orders' FROM reads WHERE starts_with(source, 'sum_')
UNION
SELECT mv_name, 'fact_order_items' FROM reads
WHERE source IN ('sum_books', 'sum_authors') OR mv_name = 'mv_sales_over_time'
UNION
SELECT mv_name, 'dim_books' FROM reads WHERE source = 'sum_authors'
"""
_OWNERS = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp"
# Each statement of these has a snapshot of its own; the order of the statements is what the proof above is about.
_COLLECT = f"""
CREATE OR REPLACE FUNCTION mv_collect() RETURNS SETOF text {_OWNERS} AS $$
DECLARE
    whole_until timestamptz;
    names text[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('mv_refresh_state'));
    whole_until := analytics_complete_until();
    PERFORM mv_apply(5000);
    WITH taken AS (DELETE FROM mv_changes RETURNING source) SELECT array_agg(DISTINCT source) INTO names FROM taken;
    IF names IS NOT NULL THEN
        UPDATE mv_refresh_state state SET dirty = true
        FROM mv_dependencies reads
        WHERE reads.mv_name = state.mv_name AND reads.source = ANY (names) AND NOT state.dirty;
        UPDATE mv_summary_state SET taken_at = clock_timestamp(),
            complete_until = CASE WHEN behind THEN complete_until ELSE greatest(complete_until, whole_until) END;
    END IF;
    UPDATE mv_refresh_state state SET last_refresh_at = claim.until
    FROM mv_summary_state summaries, LATERAL (
        SELECT least(whole_until, CASE WHEN summaries.behind THEN summaries.complete_until END) AS until
    ) AS claim
    WHERE NOT state.dirty AND state.last_refresh_at < summaries.taken_at AND state.last_refresh_at < claim.until;
    -- All of them are refreshed before the next call; what takes long lets no other wait.
    RETURN QUERY SELECT mv_name FROM mv_refresh_state WHERE dirty ORDER BY duration_ms NULLS FIRST, mv_name;
END
$$
"""
# A concurrent refresh analyzes the new rows, only to know how many they are, and sorts them twice: in memory.
_REFRESH = f"""
CREATE OR REPLACE FUNCTION mv_refresh(view text) RETURNS integer {_OWNERS}
SET jit = off SET default_statistics_target = 1 SET work_mem = '16MB' AS $$
DECLARE
    began timestamptz;
    whole_until timestamptz;
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
    whole_until := analytics_complete_until();
    IF EXISTS (SELECT FROM mv_dependencies reads WHERE reads.mv_name = view AND starts_with(source, 'sum_'))
        AND (EXISTS (SELECT FROM mv_changed_orders) OR EXISTS (SELECT FROM mv_changed_books))
    THEN
        whole_until := least(whole_until, (SELECT complete_until FROM mv_summary_state));
    END IF;
    EXECUTE format('REFRESH MATERIALIZED VIEW CONCURRENTLY %I', view);
    took := round(extract(epoch FROM clock_timestamp() - began) * 1000);
    UPDATE mv_refresh_state
    SET dirty = false, last_refresh_at = greatest(last_refresh_at, whole_until), duration_ms = took
    WHERE mv_name = view;
    RETURN took;
END
$$
"""
# The tables whose changes wait to be taken: for who asks whether a view shows them.
_WAITING = """
CREATE FUNCTION mv_waiting() RETURNS SETOF text LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT source FROM mv_changes
    UNION
    SELECT unnest(ARRAY['fact_orders', 'fact_order_items', 'dim_books']) WHERE EXISTS (SELECT FROM mv_changed_orders)
    UNION
    SELECT 'dim_books' WHERE EXISTS (SELECT FROM mv_changed_books)
$$
"""


def _replace(views: tuple[tuple[str, str, str], ...]) -> None:
    app, ro, cdc = granted_roles()
    for name, key, definition in views:
        op.execute(f"DROP MATERIALIZED VIEW {name}")
        op.execute(f"CREATE MATERIALIZED VIEW {name} AS {definition}")
        op.execute(f"CREATE UNIQUE INDEX {name}_{key}_idx ON {name} ({key})")
        op.execute(f"GRANT SELECT ON {name} TO {app}, {ro}")
        op.execute(f"REVOKE ALL ON {name} FROM {cdc}")
        # What was refreshed was the other one.
        op.execute(f"UPDATE mv_refresh_state SET dirty = true WHERE mv_name = '{name}'")


# As in 0009: a refresh holds its view and waits for tables that are locked here.
_NO_REFRESH = "SELECT pg_advisory_xact_lock(hashtext('mv_refresh_state'))"


def upgrade() -> None:
    op.execute(_NO_REFRESH)
    # As in 0009: writers wait, so that no change falls between the old triggers and the new ones.
    op.execute("LOCK TABLE fact_orders, fact_order_items, dim_books IN SHARE ROW EXCLUSIVE MODE")
    for table in SUMMED:
        op.execute(f"DROP TRIGGER {table}_changed ON {table}")
    op.execute("ALTER TABLE mv_changes SET LOGGED")
    _replace(VIEWS)
    op.execute("DELETE FROM mv_dependencies")
    op.execute(_DEPENDENCIES)
    for function in (_COLLECT, _REFRESH, _WAITING):
        op.execute(function)
    app, ro, _cdc = granted_roles()
    op.execute("REVOKE ALL ON FUNCTION mv_waiting() FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION mv_waiting() TO {app}, {ro}")


def _revision(number: str) -> Any:
    """An earlier revision's module: what it defined stands there."""
    script = op.get_context().opts["script"]
    return script.get_revision(number).module


def downgrade() -> None:
    op.execute(_NO_REFRESH)
    base, refreshing, by_book = _revision("0002"), _revision("0003"), _revision("0008")
    op.execute("DROP FUNCTION mv_waiting()")
    for function in (refreshing._COLLECT, refreshing._REFRESH):
        op.execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    names = {name for name, _key, _definition in by_book.VIEWS}
    before = [view for view in base.VIEWS if view[0] not in names]
    _replace((*by_book.VIEWS, *before))
    op.execute("DELETE FROM mv_dependencies")
    op.execute(refreshing._DEPENDENCIES)
    op.execute("ALTER TABLE mv_changes SET UNLOGGED")
    for table in SUMMED:
        op.execute(
            f"CREATE TRIGGER {table}_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION analytics_changed()"
        )
    # Flags of what waits as keys would be lost with them.
    op.execute("UPDATE mv_refresh_state SET dirty = true")
