"""Tables idempotency_keys, outbox_events, processed_events and cdc_heartbeat with grants.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

from bookstore_common.event_tables import create_event_tables
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
    create_event_tables(sa.func.now())
    _grant()


def _grant() -> None:
    """Explicit, as in 0001. Stored answers repeat addresses; nobody but the service has a use for them."""
    app, ro, cdc = granted_roles()
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
