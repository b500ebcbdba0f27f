"""Tables cart_items, orders and order_items with grants.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from bookstore_common.migrations import granted_roles

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cart_items",
        sa.Column("id", sa.Uuid(), server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        # The clock's time, not the transaction's: the lines of one merge keep their order.
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="cart_items_pkey"),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name="cart_items_book_id_fkey"),
        sa.UniqueConstraint("user_id", "book_id", name="cart_items_user_id_book_id_key"),
        sa.CheckConstraint("quantity BETWEEN 1 AND 99", name=op.f("cart_items_quantity_check")),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("status", sa.String(9), nullable=False),
        sa.Column("total", sa.Numeric(12, 2), nullable=False),
        sa.Column("currency", sa.String(3), server_default=sa.text("'USD'"), nullable=False),
        sa.Column("shipping", postgresql.JSONB(), nullable=False),
        sa.Column("cancel_reason", sa.String(255)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="orders_pkey"),
        sa.CheckConstraint(
            "status IN ('CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED')", name=op.f("orders_status_check")
        ),
        sa.CheckConstraint("total >= 0", name=op.f("orders_total_check")),
        sa.CheckConstraint("currency = 'USD'", name=op.f("orders_currency_check")),
    )
    op.create_index("orders_user_id_idx", "orders", ["user_id", sa.text("created_at DESC"), "id"])
    op.create_index("orders_created_at_idx", "orders", [sa.text("created_at DESC"), "id"])
    op.create_table(
        "order_items",
        sa.Column("id", sa.Uuid(), server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("title_at_purchase", sa.String(255), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price_at_purchase", sa.Numeric(10, 2), nullable=False),
        sa.PrimaryKeyConstraint("id", name="order_items_pkey"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="order_items_order_id_fkey"),
        sa.ForeignKeyConstraint(["book_id"], ["books.id"], name="order_items_book_id_fkey"),
        sa.UniqueConstraint("order_id", "book_id", name="order_items_order_id_book_id_key"),
        sa.CheckConstraint("quantity > 0", name=op.f("order_items_quantity_check")),
        sa.CheckConstraint("price_at_purchase > 0", name=op.f("order_items_price_at_purchase_check")),
    )
    # SPEC 7: updates and deletes of captured tables carry the old row.
    for table in ("orders", "order_items"):
        op.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    _grant()


def _grant() -> None:
    """Explicit, as in 0001. Change capture has no business with carts."""
    app, ro, cdc = granted_roles()
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON cart_items, orders, order_items TO {app}")
    op.execute(f"GRANT SELECT ON cart_items, orders, order_items TO {ro}")
    op.execute(f"GRANT SELECT ON orders, order_items TO {cdc}")
    op.execute(f"REVOKE ALL ON cart_items FROM {cdc}")  # the default privileges gave it SELECT


def downgrade() -> None:
    for table in ("order_items", "orders", "cart_items"):
        op.drop_table(table)
