"""Tables idempotency_keys, outbox_events, processed_events and cdc_heartbeat with grants.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from bookstore_common.idempotency import create_idempotency_table
from bookstore_common.migrations import granted_roles
from bookstore_common.outbox import create_outbox_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_idempotency_table()
    create_outbox_table()
    op.create_table(
        "processed_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="processed_events_pkey"),
    )
    op.create_table(
        "cdc_heartbeat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ts", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="cdc_heartbeat_pkey"),
    )
    # SPEC 7: updates and deletes of captured tables carry the old row; outbox_events has it from its helper.
    op.execute("ALTER TABLE cdc_heartbeat REPLICA IDENTITY FULL")
    _grant()


def _grant() -> None:
    """Explicit, as in 0001. Stored answers repeat addresses; nobody but the service has a use for them."""
    roles = granted_roles()
    quote = postgresql.dialect().identifier_preparer.quote_identifier  # type: ignore[no-untyped-call]
    app, ro, cdc = (quote(role) for role in (roles.app, roles.ro, roles.cdc))
    tables = "idempotency_keys, outbox_events, processed_events, cdc_heartbeat"
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {app}")
    op.execute(f"GRANT SELECT ON outbox_events, processed_events, cdc_heartbeat TO {ro}")
    # Debezium writes its heartbeat itself, so that an idle slot advances.
    op.execute(f"GRANT SELECT ON outbox_events, cdc_heartbeat TO {cdc}")
    op.execute(f"GRANT INSERT, UPDATE ON cdc_heartbeat TO {cdc}")
    # What the default privileges gave.
    op.execute(f"REVOKE ALL ON idempotency_keys FROM {ro}, {cdc}")
    op.execute(f"REVOKE ALL ON processed_events FROM {cdc}")


def downgrade() -> None:
    for table in ("cdc_heartbeat", "processed_events", "outbox_events", "idempotency_keys"):
        op.drop_table(table)
