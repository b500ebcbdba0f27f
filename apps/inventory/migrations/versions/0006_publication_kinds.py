"""TRUNCATE of captured tables: not published, for Debezium skips it, and refused, for copies of the rows would stay.

Revision ID: 0006
Revises: 0005
"""

from bookstore_common.migrations import granted_roles
from bookstore_common.publication import allow_truncate, leave_truncate_out, publish_truncate, refuse_truncate

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NAME = "debezium_inventory_publication"
TABLES = ("inventory", "outbox_events", "cdc_heartbeat")


def upgrade() -> None:
    leave_truncate_out(NAME)
    refuse_truncate(TABLES, granted_roles())


def downgrade() -> None:
    allow_truncate(TABLES)
    publish_truncate(NAME)
