"""The outbox keeps the id of the request that caused an event. Rows that are there have none.

Revision ID: 0012
Revises: 0011
"""

from bookstore_common.outbox import add_request_id, drop_request_id

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_request_id()


def downgrade() -> None:
    drop_request_id()
