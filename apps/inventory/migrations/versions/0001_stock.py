"""Tables inventory, reservations and stock_movements with change tracking and grants.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A change made outside of the service counts as a change, too. The time is the clock's, not the transaction's: who
# waited for the row's lock began earlier and must not turn the row's time back.
_TOUCH = """
CREATE FUNCTION inventory_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "inventory",
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("low_stock_threshold", sa.Integer(), server_default=sa.text("5"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("book_id", name="inventory_pkey"),
        sa.CheckConstraint("quantity >= 0", name=op.f("inventory_quantity_check")),
        sa.CheckConstraint("reserved BETWEEN 0 AND quantity", name=op.f("inventory_reserved_check")),
        sa.CheckConstraint("low_stock_threshold >= 0", name=op.f("inventory_low_stock_threshold_check")),
    )
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(9), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "book_id", name="reservations_pkey"),
        sa.ForeignKeyConstraint(["book_id"], ["inventory.book_id"], name="reservations_book_id_fkey"),
        sa.CheckConstraint("quantity > 0", name=op.f("reservations_quantity_check")),
        sa.CheckConstraint(
            "status IN ('HELD', 'COMMITTED', 'RELEASED', 'EXPIRED')", name=op.f("reservations_status_check")
        ),
    )
    op.create_index(
        "reservations_expires_at_idx", "reservations", ["expires_at"], postgresql_where=sa.text("status = 'HELD'")
    )
    op.create_table(
        "stock_movements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("book_id", sa.Uuid(), nullable=False),
        sa.Column("delta", sa.Integer(), nullable=False),
        sa.Column("reserved_delta", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("order_id", sa.Uuid()),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="stock_movements_pkey"),
        sa.ForeignKeyConstraint(["book_id"], ["inventory.book_id"], name="stock_movements_book_id_fkey"),
        sa.CheckConstraint("delta <> 0 OR reserved_delta <> 0", name=op.f("stock_movements_delta_check")),
    )
    op.create_index("stock_movements_book_id_idx", "stock_movements", ["book_id", sa.text("id DESC")])
    op.execute(_TOUCH)
    op.execute(
        "CREATE TRIGGER inventory_touch BEFORE UPDATE ON inventory FOR EACH ROW"
        " WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION inventory_touch()"
    )
    # SPEC 7: updates and deletes carry the old row.
    op.execute("ALTER TABLE inventory REPLICA IDENTITY FULL")
    _grant()


def _grant() -> None:
    """Explicit, so that it does not matter whether the roles' default privileges were set before or after."""
    roles = granted_roles()
    app, _ro, _cdc = roles
    readers = ", ".join(roles)
    op.execute(f"GRANT SELECT ON inventory, reservations, stock_movements, alembic_version TO {readers}")
    # Nothing is ever deleted, and the audit is not even changed; default privileges would allow both.
    op.execute(f"REVOKE DELETE ON inventory, reservations FROM {app}")
    op.execute(f"REVOKE UPDATE, DELETE ON stock_movements FROM {app}")
    op.execute(f"GRANT INSERT, UPDATE ON inventory, reservations TO {app}")
    op.execute(f"GRANT INSERT ON stock_movements TO {app}")


def downgrade() -> None:
    for table in ("stock_movements", "reservations", "inventory"):
        op.drop_table(table)
    op.execute("DROP FUNCTION inventory_touch()")
