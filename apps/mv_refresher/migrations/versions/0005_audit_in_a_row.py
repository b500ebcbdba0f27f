"""Table cdc_audit: buckets that diverged in two audits running, and results that are neither equal nor divergent.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_RESULTS = "cdc_audit_result_check"


def upgrade() -> None:
    op.add_column(
        "cdc_audit",
        sa.Column("persistent_buckets", postgresql.ARRAY(sa.Integer()), server_default="{}", nullable=False),
    )
    op.drop_constraint(op.f(_RESULTS), "cdc_audit")
    op.create_check_constraint(op.f(_RESULTS), "cdc_audit", "result IN ('equal', 'unsettled', 'divergent')")


def downgrade() -> None:
    op.execute("UPDATE cdc_audit SET result = 'equal' WHERE result = 'unsettled'")
    op.drop_constraint(op.f(_RESULTS), "cdc_audit")
    op.create_check_constraint(op.f(_RESULTS), "cdc_audit", "result IN ('equal', 'divergent')")
    op.drop_column("cdc_audit", "persistent_buckets")
