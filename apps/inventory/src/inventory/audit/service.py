"""The captured table as the standing audit reads it; the other side is mv_refresher.audit.repository."""

from bookstore_common.audit import Audited

TABLES = (
    # A row does not tell since when it is there; a new one counts as changed.
    Audited(
        "inventory",
        """
        SELECT book_id::text AS key, updated_at AS changed_at, '-infinity'::timestamptz AS born_at, quantity, reserved,
               ROW(book_id::text, quantity, reserved, quantity - reserved, low_stock_threshold,
                   extract(epoch FROM updated_at))::text AS record
        FROM inventory WHERE book_id::text NOT LIKE 'ffffffff%'
        """,
        ("quantity", "reserved"),
    ),
)
