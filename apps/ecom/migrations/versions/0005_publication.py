"""What Debezium captures: the publication, and the row of its heartbeat.

Revision ID: 0005
Revises: 0004
"""

from bookstore_common.publication import create_publication, drop_publication

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NAME = "debezium_ecom_publication"
TABLES = ("books", "orders", "order_items", "outbox_events", "cdc_heartbeat")


def upgrade() -> None:
    create_publication(NAME, TABLES)


def downgrade() -> None:
    drop_publication(NAME)
