"""Table cancelled_orders: a cancelled order stays cancelled, whichever of its events comes first.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cancelled_orders",
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="cancelled_orders_pkey"),
    )
    app, ro, cdc = granted_roles()
    op.execute(f"REVOKE UPDATE ON cancelled_orders FROM {app}")
    op.execute(f"GRANT SELECT, INSERT, DELETE ON cancelled_orders TO {app}")
    op.execute(f"GRANT SELECT ON cancelled_orders TO {ro}")
    op.execute(f"REVOKE ALL ON cancelled_orders FROM {cdc}")


def downgrade() -> None:
    op.drop_table("cancelled_orders")
