"""Tables outbox_events, processed_events and cdc_heartbeat with grants.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

from bookstore_common.event_tables import create_event_tables
from bookstore_common.migrations import granted_roles
from bookstore_common.outbox import create_outbox_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_outbox_table()
    create_event_tables(sa.func.clock_timestamp())
    _grant()


def _grant() -> None:
    """Explicit, so that it does not matter whether the roles' default privileges were set before or after."""
    roles = granted_roles()
    app, _ro, cdc = roles
    readers = ", ".join(roles)
    op.execute(f"GRANT SELECT ON outbox_events, processed_events, cdc_heartbeat TO {readers}")
    # Written once, deleted when old.
    op.execute(f"REVOKE UPDATE ON outbox_events, processed_events FROM {app}")
    op.execute(f"GRANT INSERT, DELETE ON outbox_events, processed_events TO {app}")
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON cdc_heartbeat FROM {app}")
    op.execute(f"GRANT INSERT, UPDATE ON cdc_heartbeat TO {cdc}")


def downgrade() -> None:
    for table in ("cdc_heartbeat", "processed_events", "outbox_events"):
        op.drop_table(table)
