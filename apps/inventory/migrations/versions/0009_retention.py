"""Old movements become one opening line of their book; reservations that ended long ago go.

The service may still neither change nor delete a line of the audit, nor delete a reservation. It may ask these
functions to, which keep what counts: a book's lines add up to its row before and after.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# The line keeps the id and the time of the newest movement that went into it, so it stays the book's oldest. Sums are
# of the lines that this statement deleted: of two at once, each adds up its own.
_FOLD = """
CREATE FUNCTION fold_stock_movements(age interval, most integer) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
WITH old AS (
    SELECT id, book_id FROM public.stock_movements
    WHERE created_at < now() - greatest(age, interval '30 days')
      AND NOT (reason = 'opening' AND actor = 'inventory-worker')
    ORDER BY id LIMIT most
), folded AS (
    DELETE FROM public.stock_movements WHERE id = ANY (ARRAY(
        SELECT id FROM old UNION ALL
        SELECT id FROM public.stock_movements WHERE reason = 'opening' AND actor = 'inventory-worker'
           AND book_id = ANY (ARRAY(SELECT DISTINCT book_id FROM old))))
    RETURNING id, book_id, delta, reserved_delta, created_at
), opening AS (
    INSERT INTO public.stock_movements (id, book_id, delta, reserved_delta, reason, actor, created_at)
    OVERRIDING SYSTEM VALUE
    SELECT max(id), book_id, sum(delta), sum(reserved_delta), 'opening', 'inventory-worker', max(created_at)
    FROM folded GROUP BY book_id HAVING sum(delta) <> 0 OR sum(reserved_delta) <> 0
)
SELECT id FROM folded WHERE id = ANY (ARRAY(SELECT id FROM old))
$$
"""
# Whole orders. One whose cancellation is still known stays: an event may still ask.
_FORGET = """
CREATE FUNCTION forget_reservations(age interval, most integer) RETURNS SETOF uuid
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DELETE FROM public.reservations r
WHERE r.status IN ('RELEASED', 'EXPIRED') AND r.order_id = ANY (ARRAY(
    SELECT DISTINCT ended.order_id FROM public.reservations ended
    WHERE ended.status IN ('RELEASED', 'EXPIRED') AND ended.expires_at < now() - greatest(age, interval '30 days')
      AND NOT EXISTS (SELECT FROM public.cancelled_orders c WHERE c.order_id = ended.order_id)
    LIMIT most))
RETURNING r.order_id
$$
"""


def upgrade() -> None:
    app = granted_roles().app
    op.execute(_FOLD)
    op.execute(_FORGET)
    for function in ("fold_stock_movements", "forget_reservations"):
        op.execute(f"REVOKE ALL ON FUNCTION {function}(interval, integer) FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {function}(interval, integer) TO {app}")
    op.execute(
        "CREATE INDEX stock_movements_opening_idx ON stock_movements (book_id)"
        " WHERE reason = 'opening' AND actor = 'inventory-worker'"
    )
    # Few rows; holds wait meanwhile.
    op.execute(
        "CREATE INDEX reservations_ended_idx ON reservations (expires_at) WHERE status IN ('RELEASED', 'EXPIRED')"
    )


def downgrade() -> None:
    op.execute("DROP INDEX reservations_ended_idx")
    op.execute("DROP INDEX stock_movements_opening_idx")
    op.execute("DROP FUNCTION forget_reservations(interval, integer)")
    op.execute("DROP FUNCTION fold_stock_movements(interval, integer)")
