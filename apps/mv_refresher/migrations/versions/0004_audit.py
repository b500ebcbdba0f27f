"""Table cdc_audit: the last result of the standing audit for each captured table.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from bookstore_common.migrations import granted_roles

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cdc_audit",
        sa.Column("table_name", sa.Text(), nullable=False),
        # The source's clock when it digested its rows, and ours when the comparison was done.
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("audited_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("divergent_buckets", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("unsettled_buckets", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.PrimaryKeyConstraint("table_name", name="cdc_audit_pkey"),
        sa.CheckConstraint("result IN ('equal', 'divergent')", name=op.f("cdc_audit_result_check")),
    )
    app, ro, cdc = granted_roles()
    op.execute(f"REVOKE ALL ON cdc_audit FROM {app}, {cdc}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON cdc_audit TO {app}")
    op.execute(f"GRANT SELECT ON cdc_audit TO {ro}")


def downgrade() -> None:
    op.drop_table("cdc_audit")
