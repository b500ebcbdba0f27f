"""Tables outbox_events, processed_events and cdc_heartbeat with grants.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from bookstore_common.migrations import granted_roles
from bookstore_common.outbox import create_outbox_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_outbox_table()
    op.create_table(
        "processed_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="processed_events_pkey"),
    )
    op.create_table(
        "cdc_heartbeat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="cdc_heartbeat_pkey"),
    )
    # SPEC 7: captured tables.
    op.execute("ALTER TABLE cdc_heartbeat REPLICA IDENTITY FULL")
    _grant()


def _grant() -> None:
    """Explicit, so that it does not matter whether the roles' default privileges were set before or after."""
    roles = granted_roles()
    quote = postgresql.dialect().identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]
    app, cdc = quote(roles.app), quote(roles.cdc)
    readers = ", ".join((app, quote(roles.ro), cdc))
    op.execute(f"GRANT SELECT ON outbox_events, processed_events, cdc_heartbeat TO {readers}")
    # Written once, deleted when old.
    op.execute(f"REVOKE UPDATE ON outbox_events, processed_events FROM {app}")
    op.execute(f"GRANT INSERT, DELETE ON outbox_events, processed_events TO {app}")
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON cdc_heartbeat FROM {app}")
    op.execute(f"GRANT INSERT, UPDATE ON cdc_heartbeat TO {cdc}")


def downgrade() -> None:
    for table in ("cdc_heartbeat", "processed_events", "outbox_events"):
        op.drop_table(table)
