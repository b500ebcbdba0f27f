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
    # Not CONCURRENTLY: that waits for all other transactions, and the next replica's migration waits in one for ours.
    # Changes of books wait for as long as their titles take to sort: about a second for 100,000.
    op.execute("CREATE INDEX books_title_order_idx ON books (title COLLATE title_order, id)")


def downgrade() -> None:
    op.execute("DROP INDEX books_title_order_idx")
    op.execute("DROP COLLATION title_order")
