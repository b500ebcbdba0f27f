"""What Debezium captures: the publication, and the row of its heartbeat.

Revision ID: 0004
Revises: 0003
"""

from bookstore_common.publication import create_publication, drop_publication

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "debezium_inventory_publication"
TABLES = ("inventory", "outbox_events", "cdc_heartbeat")


def upgrade() -> None:
    create_publication(NAME, TABLES)


def downgrade() -> None:
    drop_publication(NAME)
