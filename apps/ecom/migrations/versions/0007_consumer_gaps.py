"""Tables consumer_gaps and dead_letters: events that the worker never saw, and those that it set aside.

Revision ID: 0007
Revises: 0006
"""

from bookstore_common.gaps import create_gap_tables, drop_gap_tables

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_gap_tables()


def downgrade() -> None:
    drop_gap_tables()
