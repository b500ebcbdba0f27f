"""Titles, authors and genres are sorted as people sort them.

By code point "art" came after "Technology" and "É" after "Z". The order is the root of the Unicode collation
algorithm (ICU), in which numbers count as numbers: "Part 2" before "Part 10".

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE COLLATION IF NOT EXISTS title_order (provider = icu, locale = 'und-u-kn-true')")
    with op.get_context().autocommit_block():
        # One that was given up half-way is there, and invalid.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS books_title_order_idx")
        op.execute("CREATE INDEX CONCURRENTLY books_title_order_idx ON books (title COLLATE title_order, id)")


def downgrade() -> None:
    op.execute("DROP INDEX books_title_order_idx")
    op.execute("DROP COLLATION title_order")
