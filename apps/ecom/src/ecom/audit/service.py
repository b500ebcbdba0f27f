"""The captured tables as the standing audit reads them; the other side is mv_refresher.audit.repository."""

from bookstore_common.audit import Audited

TABLES = (
    Audited(
        "books",
        """
        SELECT id::text AS key, updated_at AS changed_at, created_at AS born_at, price,
               ROW(id::text, title, author, isbn, coalesce(nullif(trim(genre), ''), 'Unknown'), price, published_year,
                   active, extract(epoch FROM created_at), extract(epoch FROM updated_at))::text AS record
        FROM books WHERE id::text NOT LIKE 'ffffffff%'
        """,
        ("price",),
    ),
    Audited(
        "orders",
        """
        SELECT id::text AS key, updated_at AS changed_at, created_at AS born_at, total,
               ROW(id::text, user_id, status, total, currency, to_char(created_at AT TIME ZONE 'UTC', 'YYYYMMDD')::int,
                   extract(epoch FROM created_at), extract(epoch FROM updated_at))::text AS record
        FROM orders WHERE user_id <> 'cdc-probe'
        """,
        ("total",),
    ),
    # Lines never change; they are as old as their order.
    Audited(
        "order_items",
        """
        SELECT i.id::text AS key, o.created_at AS changed_at, o.created_at AS born_at,
               i.quantity, i.quantity * i.price_at_purchase AS line_total,
               ROW(i.id::text, i.order_id::text, i.book_id::text, i.quantity, i.price_at_purchase,
                   i.quantity * i.price_at_purchase)::text AS record
        FROM order_items i JOIN orders o ON o.id = i.order_id
        WHERE o.user_id <> 'cdc-probe' AND i.book_id::text NOT LIKE 'ffffffff%'
        """,
        ("quantity", "line_total"),
    ),
)
