"""Audit of the summaries: a share of the orders each time, all sums now and then.

mv_audit_orders walks through the orders by their ids, so many at a time, and compares counted_orders with what the
facts say: in one statement, so one snapshot, in which every order that is not to be counted again must be as it was
counted. One that is not is queued again, which mends it. mv_audit_sums compares the summaries with counted_orders, in
one snapshot too; mv_rebuild_sums (0009) mends these. No lock of the refresher is held meanwhile.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from bookstore_common.migrations import granted_roles

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OWNERS = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET jit = off"
# While keys wait that stand for orders without naming them, a difference says nothing.
_AUDIT_ORDERS = f"""
CREATE FUNCTION mv_audit_orders(batch integer, OUT looked integer, OUT differing varchar[], OUT passed boolean)
{_OWNERS} SET enable_seqscan = off SET enable_mergejoin = off AS $$
DECLARE
    first_key varchar;
    last_key varchar;
    keys varchar[];
BEGIN
    looked := 0;
    differing := ARRAY[]::varchar[];
    passed := false;
    IF (SELECT behind FROM mv_summary_state) THEN
        RETURN;
    END IF;
    SELECT orders_after INTO first_key FROM mv_summary_audit FOR UPDATE;
    SELECT min(edge) INTO last_key FROM (
        (SELECT order_id FROM fact_orders WHERE order_id > first_key ORDER BY order_id OFFSET batch - 1 LIMIT 1)
        UNION ALL
        (SELECT order_id FROM counted_orders WHERE order_id > first_key ORDER BY order_id OFFSET batch - 1 LIMIT 1)
    ) AS edges (edge);
    IF last_key IS NULL THEN
        passed := true;
        SELECT max(edge) INTO last_key FROM (
            SELECT max(order_id) FROM fact_orders UNION ALL SELECT max(order_id) FROM counted_orders
        ) AS edges (edge);
    END IF;
    SELECT array_agg(order_id) INTO keys FROM (
        SELECT order_id FROM fact_orders WHERE order_id > first_key AND order_id <= last_key
        UNION
        SELECT order_id FROM counted_orders WHERE order_id > first_key AND order_id <= last_key
    ) AS both_sides;
    looked := coalesce(cardinality(keys), 0);
    SELECT coalesce(array_agg(key.order_id ORDER BY key.order_id), differing) INTO differing
    FROM unnest(keys) AS key (order_id)
    LEFT JOIN counted_orders was ON was.order_id = key.order_id
    LEFT JOIN mv_counted_now(keys) became ON became.order_id = key.order_id
    WHERE was IS DISTINCT FROM became
      AND key.order_id NOT IN (SELECT order_id FROM mv_changed_orders)
      AND NOT EXISTS (SELECT FROM mv_changed_orders WHERE order_id = '*')
      AND NOT EXISTS (SELECT FROM mv_changed_books);
    INSERT INTO mv_changed_orders (order_id, since) SELECT unnest(differing), statement_timestamp();
    UPDATE mv_summary_audit SET
        orders_after = CASE WHEN passed THEN '' ELSE last_key END,
        orders_differing = CASE WHEN passed THEN 0 ELSE orders_differing + cardinality(differing) END,
        passed_at = CASE WHEN passed THEN clock_timestamp() ELSE passed_at END,
        -- Sums may be right where the order was not: looked at next.
        sums_at = CASE WHEN cardinality(differing) > 0 THEN NULL ELSE sums_at END,
        passed_differing = CASE WHEN passed THEN orders_differing + cardinality(differing) ELSE passed_differing END,
        passes_in_a_row = CASE
            WHEN NOT passed THEN passes_in_a_row
            WHEN orders_differing + cardinality(differing) > 0 THEN passes_in_a_row + 1
            ELSE 0
        END;
END
$$
"""
_SUMS = {
    "sum_days": (
        "SELECT date_key, day, orders, units, revenue FROM sum_days WHERE (orders, units, revenue) <> (0, 0, 0)",
        """
        SELECT date_key, day, count(*), sum(coalesce((SELECT sum(one) FROM unnest(quantities) AS one), 0))::bigint,
               sum(total)
        FROM counted_orders WHERE status <> 'CANCELLED' GROUP BY date_key, day""",
    ),
    "sum_status": (
        "SELECT status, orders, total FROM sum_status WHERE (orders, total) <> (0, 0)",
        "SELECT status, count(*), sum(total) FROM counted_orders GROUP BY status",
    ),
    "sum_books": (
        "SELECT book_id, orders, units, revenue FROM sum_books WHERE (orders, units, revenue) <> (0, 0, 0)",
        """
        SELECT book_id, count(*), sum(quantity)::bigint, sum(amount)
        FROM counted_orders, unnest(books, quantities, amounts) AS line (book_id, quantity, amount)
        GROUP BY book_id""",
    ),
    "sum_authors": (
        "SELECT author, orders, units, revenue FROM sum_authors WHERE (orders, units, revenue) <> (0, 0, 0)",
        """
        SELECT author, count(DISTINCT order_id), sum(quantity)::bigint, sum(amount)
        FROM counted_orders, unnest(authors, quantities, amounts) AS line (author, quantity, amount)
        GROUP BY author""",
    ),
}
_COMPARED = ", ".join(
    f"""CASE WHEN EXISTS (
            WITH kept AS MATERIALIZED ({kept}), counted AS MATERIALIZED ({counted})
            (SELECT * FROM kept EXCEPT SELECT * FROM counted)
            UNION ALL
            (SELECT * FROM counted EXCEPT SELECT * FROM kept)
        ) THEN '{table}' END"""
    for table, (kept, counted) in _SUMS.items()
)
_AUDIT_SUMS = f"""
CREATE FUNCTION mv_audit_sums() RETURNS text[] {_OWNERS} AS $$
DECLARE
    found text[];
BEGIN
    SELECT array_remove(ARRAY[{_COMPARED}], NULL) INTO found;
    UPDATE mv_summary_audit SET sums_at = clock_timestamp(), sums_differing = found;
    RETURN found;
END
$$
"""
_FUNCTIONS = ("mv_audit_orders(integer)", "mv_audit_sums()")


def upgrade() -> None:
    op.create_table(
        "mv_summary_audit",
        sa.Column("one", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        # Where the walk is, and what differed on its way; when the last one ended, what differed in it, and how many
        # in a row found something. What of the sums differed when they were last looked at.
        sa.Column("orders_after", sa.String(36), server_default="", nullable=False),
        sa.Column("orders_differing", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("passed_at", sa.DateTime(timezone=True)),
        sa.Column("passed_differing", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("passes_in_a_row", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sums_at", sa.DateTime(timezone=True)),
        sa.Column("sums_differing", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("one", name="mv_summary_audit_pkey"),
        sa.CheckConstraint("one", name=op.f("mv_summary_audit_one_check")),
    )
    op.execute("INSERT INTO mv_summary_audit DEFAULT VALUES")
    op.execute(_AUDIT_ORDERS)
    op.execute(_AUDIT_SUMS)
    app, ro, cdc = granted_roles()
    op.execute(f"REVOKE ALL ON mv_summary_audit FROM {app}, {cdc}")
    op.execute(f"GRANT SELECT ON mv_summary_audit TO {app}, {ro}")
    op.execute(f"REVOKE ALL ON FUNCTION {', '.join(_FUNCTIONS)} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {', '.join(_FUNCTIONS)} TO {app}")


def downgrade() -> None:
    for function in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.drop_table("mv_summary_audit")
