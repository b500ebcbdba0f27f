"""View mv_inventory_health (V-06) as SPEC 7.3 defines it: the stock of books that are there, ``n join b``.

Stock of a book that has not arrived is shown when it has; before, it was a row 'Unknown'.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAME = "mv_inventory_health"
_STATUS = """
       CASE WHEN n.available <= 0 THEN 'out' WHEN n.available <= n.low_stock_threshold THEN 'low' ELSE 'in' END
           AS stock_status
FROM fact_inventory n"""
_PRESENT = f"""
SELECT n.book_id, b.title::text AS title, b.author::text AS author, coalesce(b.genre, 'Unknown')::text AS genre,
       n.quantity, n.reserved, n.available, n.low_stock_threshold,{_STATUS}
JOIN dim_books b ON b.book_id = n.book_id
WHERE n.book_id NOT LIKE 'ffffffff%'"""
_BEFORE = f"""
SELECT n.book_id, coalesce(b.title, 'Unknown')::text AS title, coalesce(b.author, 'Unknown')::text AS author,
       coalesce(b.genre, 'Unknown')::text AS genre,
       n.quantity, n.reserved, n.available, n.low_stock_threshold,{_STATUS}
LEFT JOIN dim_books b ON b.book_id = n.book_id
WHERE n.book_id NOT LIKE 'ffffffff%'"""


def _replace(definition: str) -> None:
    app, ro, cdc = granted_roles()
    op.execute(f"DROP MATERIALIZED VIEW {_NAME}")
    op.execute(f"CREATE MATERIALIZED VIEW {_NAME} AS {definition}")
    op.execute(f"CREATE UNIQUE INDEX {_NAME}_book_id_idx ON {_NAME} (book_id)")
    op.execute(f"GRANT SELECT ON {_NAME} TO {app}, {ro}")
    op.execute(f"REVOKE ALL ON {_NAME} FROM {cdc}")
    # What was refreshed was the other one.
    op.execute(f"UPDATE mv_refresh_state SET dirty = true WHERE mv_name = '{_NAME}'")


def upgrade() -> None:
    _replace(_PRESENT)


def downgrade() -> None:
    _replace(_BEFORE)
