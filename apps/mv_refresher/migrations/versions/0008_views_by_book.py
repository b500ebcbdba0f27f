"""Views by book (V-01, V-06, V-08, V-09) tell books apart by a label; texts are sorted as people sort them.

Charts group by what they show: with the title alone, two books of one title were one bar with the sum of both.
``label`` is ``title (author)``, and of books that agree in both it has the ISBN, too, or the end of the id of a book
without one. Every view has the same label for a book: it is made from all books, not from those that a view shows.

Titles, authors and genres carry the ICU collation of the root locale, so that each ORDER BY of a chart sorts by it:
art, École, Technology, Z instead of Technology, Z, art, École. Ranks of equal revenue follow the title by it, then
author and id, so each rank is one book's.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_VALID = "o.status <> 'CANCELLED' AND o.user_id <> 'cdc-probe'"
_REAL_LINES = f"{_VALID} AND i.book_id NOT LIKE 'ffffffff%'"
_LINES = """
    FROM fact_orders o
    JOIN fact_order_items i ON i.order_id = o.order_id
    LEFT JOIN dim_books b ON b.book_id = i.book_id"""
_STATUS = """CASE WHEN n.available <= 0 THEN 'out' WHEN n.available <= n.low_stock_threshold THEN 'low' ELSE 'in' END
               AS stock_status"""
# Of books whose plain label is another's, too. Grouped, not counted in windows: that would sort all books each time.
_TWINS = """(
        SELECT title || ' (' || author || ')' AS plain FROM dim_books WHERE book_id NOT LIKE 'ffffffff%'
        GROUP BY 1 HAVING count(*) > 1
    ) twins ON twins.plain = b.title || ' (' || b.author || ')'"""
_SOLD_BY_BOOK = f"""
        SELECT i.book_id, sum(i.quantity)::bigint AS units_sold, sum(i.line_total) AS revenue
        FROM fact_orders o JOIN fact_order_items i ON i.order_id = o.order_id
        WHERE {_REAL_LINES}
        GROUP BY i.book_id"""


def _text(expression: str, name: str, absent: str = "'Unknown'") -> str:
    return f'coalesce({expression}, {absent})::text COLLATE "und-x-icu" AS {name}'


def _label(book_id: str) -> str:
    """Needs ``b`` and ``twins``; ``book_id``: of a book that may not have arrived."""
    more = "coalesce(b.isbn, right(b.book_id, 12))"
    label = f"b.title || ' (' || b.author || CASE WHEN twins.plain IS NULL THEN '' ELSE ', ' || {more} END || ')'"
    return _text(label, "label", f"'Unknown (' || {book_id} || ')'")


_PER_BOOK = f"""
    SELECT s.book_id, {_label("s.book_id")}, {_text("b.title", "title")}, {_text("b.author", "author")},
           s.units_sold, s.revenue
    FROM ({_SOLD_BY_BOOK}) s
    LEFT JOIN dim_books b ON b.book_id = s.book_id
    LEFT JOIN {_TWINS}"""
# Name, key, definition.
VIEWS = (
    ("mv_product_sales_volume", "book_id", _PER_BOOK),
    (
        "mv_revenue_by_author",
        "author",
        f"""
        SELECT {_text("b.author", "author")},
               sum(i.line_total) AS revenue,
               sum(i.quantity)::bigint AS units,
               count(DISTINCT o.order_id) AS orders
        {_LINES} WHERE {_REAL_LINES}
        GROUP BY 1""",
    ),
    (
        "mv_revenue_by_genre",
        "genre",
        f"""
        SELECT {_text("b.genre", "genre")},
               sum(i.line_total) AS revenue,
               sum(i.quantity)::bigint AS units,
               round(100 * sum(i.line_total) / nullif(sum(sum(i.line_total)) OVER (), 0), 2) AS share_pct
        {_LINES} WHERE {_REAL_LINES}
        GROUP BY 1""",
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
        WHERE n.book_id NOT LIKE 'ffffffff%'""",
    ),
    (
        "mv_top_books_by_revenue",
        "book_id",
        f"""
        SELECT book_id, label, title, author, revenue, units_sold,
               rank() OVER (ORDER BY revenue DESC, title, author, book_id) AS rank
        FROM ({_PER_BOOK}) AS sold""",
    ),
    (
        "mv_inventory_turnover",
        "book_id",
        f"""
        SELECT n.book_id, {_label("n.book_id")}, {_text("b.title", "title")},
               coalesce(s.units_sold, 0)::bigint AS units_sold,
               n.quantity,
               round(100.0 * coalesce(s.units_sold, 0) / nullif(coalesce(s.units_sold, 0) + n.quantity, 0), 2)
                   AS turnover_pct
        FROM fact_inventory n
        LEFT JOIN dim_books b ON b.book_id = n.book_id
        LEFT JOIN {_TWINS}
        LEFT JOIN ({_SOLD_BY_BOOK}) s ON s.book_id = n.book_id
        WHERE n.book_id NOT LIKE 'ffffffff%'""",
    ),
)
_LINES_BEFORE = f"{_LINES}\n    WHERE {_REAL_LINES}"
_PER_BOOK_BEFORE = f"""
    SELECT i.book_id,
           coalesce(b.title, 'Unknown')::text AS title,
           coalesce(b.author, 'Unknown')::text AS author,
           sum(i.quantity)::bigint AS units_sold,
           sum(i.line_total) AS revenue
    {_LINES_BEFORE}
    GROUP BY i.book_id, b.title, b.author"""
# As 0002 and 0006 have them.
VIEWS_BEFORE = (
    ("mv_product_sales_volume", "book_id", _PER_BOOK_BEFORE),
    (
        "mv_revenue_by_author",
        "author",
        f"""
        SELECT coalesce(b.author, 'Unknown')::text AS author, sum(i.line_total) AS revenue,
               sum(i.quantity)::bigint AS units, count(DISTINCT o.order_id) AS orders
        {_LINES_BEFORE}
        GROUP BY 1""",
    ),
    (
        "mv_revenue_by_genre",
        "genre",
        f"""
        SELECT coalesce(b.genre, 'Unknown')::text AS genre, sum(i.line_total) AS revenue,
               sum(i.quantity)::bigint AS units,
               round(100 * sum(i.line_total) / nullif(sum(sum(i.line_total)) OVER (), 0), 2) AS share_pct
        {_LINES_BEFORE}
        GROUP BY 1""",
    ),
    (
        "mv_inventory_health",
        "book_id",
        f"""
        SELECT n.book_id, b.title::text AS title, b.author::text AS author,
               coalesce(b.genre, 'Unknown')::text AS genre,
               n.quantity, n.reserved, n.available, n.low_stock_threshold, {_STATUS}
        FROM fact_inventory n
        JOIN dim_books b ON b.book_id = n.book_id
        WHERE n.book_id NOT LIKE 'ffffffff%'""",
    ),
    (
        "mv_top_books_by_revenue",
        "book_id",
        f"""
        SELECT book_id, title, author, revenue, units_sold, rank() OVER (ORDER BY revenue DESC, title) AS rank
        FROM ({_PER_BOOK_BEFORE}) AS sold""",
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
)


def _replace(views: tuple[tuple[str, str, str], ...]) -> None:
    """The tables that each view reads stay the same, so do ``mv_dependencies`` and the triggers."""
    app, ro, cdc = granted_roles()
    for name, key, definition in views:
        op.execute(f"DROP MATERIALIZED VIEW {name}")
        op.execute(f"CREATE MATERIALIZED VIEW {name} AS {definition}")
        op.execute(f"CREATE UNIQUE INDEX {name}_{key}_idx ON {name} ({key})")
        op.execute(f"GRANT SELECT ON {name} TO {app}, {ro}")
        op.execute(f"REVOKE ALL ON {name} FROM {cdc}")
        # What was refreshed was the other one.
        op.execute(f"UPDATE mv_refresh_state SET dirty = true WHERE mv_name = '{name}'")


def upgrade() -> None:
    _replace(VIEWS)


def downgrade() -> None:
    _replace(VIEWS_BEFORE)
