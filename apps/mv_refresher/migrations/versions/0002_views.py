"""The ten materialized views V-01 to V-10 (SPEC 7.3), each with the unique index that a concurrent refresh needs.

Rows of probes count nowhere: orders of the user cdc-probe, books whose ids start with ffffffff. A dimension row that
has not arrived yet reads 'Unknown', never NULL, so that the keys hold.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_REAL_ORDER = "o.user_id <> 'cdc-probe'"
_VALID = f"o.status <> 'CANCELLED' AND {_REAL_ORDER}"
_LINES = f"""
    FROM fact_orders o
    JOIN fact_order_items i ON i.order_id = o.order_id
    LEFT JOIN dim_books b ON b.book_id = i.book_id
    WHERE {_VALID} AND i.book_id NOT LIKE 'ffffffff%'"""
# A day that the calendar lacks is still a day.
_DAY = "coalesce(d.date, (o.created_at AT TIME ZONE 'UTC')::date)"
_PER_BOOK = f"""
    SELECT i.book_id,
           coalesce(b.title, 'Unknown')::text AS title,
           coalesce(b.author, 'Unknown')::text AS author,
           sum(i.quantity)::bigint AS units_sold,
           sum(i.line_total) AS revenue
    {_LINES}
    GROUP BY i.book_id, b.title, b.author"""

# Name, key, definition.
VIEWS = (
    ("mv_product_sales_volume", "book_id", _PER_BOOK),
    (
        "mv_sales_over_time",
        "sale_date",
        # Lines are added up per order first: an order's total counts once, however many lines it has.
        f"""
        SELECT {_DAY} AS sale_date,
               count(*) AS orders,
               coalesce(sum(i.units), 0)::bigint AS units,
               sum(o.total) AS revenue
        FROM fact_orders o
        LEFT JOIN dim_date d ON d.date_key = o.order_date_key
        LEFT JOIN (
            SELECT order_id, sum(quantity) AS units FROM fact_order_items
            WHERE book_id NOT LIKE 'ffffffff%' GROUP BY order_id
        ) i ON i.order_id = o.order_id
        WHERE {_VALID}
        GROUP BY 1""",
    ),
    (
        "mv_revenue_by_author",
        "author",
        f"""
        SELECT coalesce(b.author, 'Unknown')::text AS author,
               sum(i.line_total) AS revenue,
               sum(i.quantity)::bigint AS units,
               count(DISTINCT o.order_id) AS orders
        {_LINES}
        GROUP BY 1""",
    ),
    (
        "mv_revenue_by_genre",
        "genre",
        f"""
        SELECT coalesce(b.genre, 'Unknown')::text AS genre,
               sum(i.line_total) AS revenue,
               sum(i.quantity)::bigint AS units,
               round(100 * sum(i.line_total) / nullif(sum(sum(i.line_total)) OVER (), 0), 2) AS share_pct
        {_LINES}
        GROUP BY 1""",
    ),
    (
        "mv_order_status_distribution",
        "status",
        f"""
        SELECT o.status::text AS status, count(*) AS orders, sum(o.total) AS total
        FROM fact_orders o WHERE {_REAL_ORDER} GROUP BY o.status""",
    ),
    (
        "mv_inventory_health",
        "book_id",
        """
        SELECT n.book_id,
               coalesce(b.title, 'Unknown')::text AS title,
               coalesce(b.author, 'Unknown')::text AS author,
               coalesce(b.genre, 'Unknown')::text AS genre,
               n.quantity, n.reserved, n.available, n.low_stock_threshold,
               CASE WHEN n.available <= 0 THEN 'out' WHEN n.available <= n.low_stock_threshold THEN 'low' ELSE 'in' END
                   AS stock_status
        FROM fact_inventory n
        LEFT JOIN dim_books b ON b.book_id = n.book_id
        WHERE n.book_id NOT LIKE 'ffffffff%'""",
    ),
    (
        "mv_avg_order_value",
        "order_date",
        f"""
        SELECT {_DAY} AS order_date,
               count(*) AS orders,
               sum(o.total) AS total,
               round(avg(o.total), 2) AS avg_order_value
        FROM fact_orders o
        LEFT JOIN dim_date d ON d.date_key = o.order_date_key
        WHERE {_VALID}
        GROUP BY 1""",
    ),
    (
        "mv_top_books_by_revenue",
        "book_id",
        f"""
        SELECT book_id, title, author, revenue, units_sold, rank() OVER (ORDER BY revenue DESC, title) AS rank
        FROM ({_PER_BOOK}) AS sold""",
    ),
    (
        "mv_inventory_turnover",
        "book_id",
        f"""
        SELECT n.book_id,
               coalesce(b.title, 'Unknown')::text AS title,
               coalesce(s.units_sold, 0)::bigint AS units_sold,
               n.quantity,
               round(100.0 * coalesce(s.units_sold, 0) / nullif(coalesce(s.units_sold, 0) + n.quantity, 0), 2)
                   AS turnover_pct
        FROM fact_inventory n
        LEFT JOIN dim_books b ON b.book_id = n.book_id
        LEFT JOIN (
            SELECT i.book_id, sum(i.quantity) AS units_sold
            FROM fact_orders o JOIN fact_order_items i ON i.order_id = o.order_id
            WHERE {_VALID} GROUP BY i.book_id
        ) s ON s.book_id = n.book_id
        WHERE n.book_id NOT LIKE 'ffffffff%'""",
    ),
    (
        "mv_book_price_distribution",
        "price_range",
        """
        SELECT r.price_range, r.sort_key, count(*) AS books
        FROM dim_books b
        JOIN (VALUES ('under 10', 1, 0.00, 10.00), ('10-19.99', 2, 10.00, 20.00), ('20-29.99', 3, 20.00, 30.00),
                     ('30-49.99', 4, 30.00, 50.00), ('50 and over', 5, 50.00, 'Infinity'::numeric))
            AS r (price_range, sort_key, low, high) ON b.price >= r.low AND b.price < r.high
        WHERE b.active AND b.book_id NOT LIKE 'ffffffff%'
        GROUP BY r.price_range, r.sort_key""",
    ),
)


def upgrade() -> None:
    app, ro, cdc = granted_roles()
    for name, key, definition in VIEWS:
        op.execute(f"CREATE MATERIALIZED VIEW {name} AS {definition}")
        op.execute(f"CREATE UNIQUE INDEX {name}_{key}_idx ON {name} ({key})")
        op.execute(f"GRANT SELECT ON {name} TO {app}, {ro}")
        op.execute(f"REVOKE ALL ON {name} FROM {cdc}")


def downgrade() -> None:
    for name, _key, _definition in VIEWS[::-1]:
        op.execute(f"DROP MATERIALIZED VIEW {name}")
