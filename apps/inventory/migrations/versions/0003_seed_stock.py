"""The stock that the shop starts with: 50 copies of each seed book, 3 of book 29, none of book 30 (SPEC 5.4).

Revision ID: 0003
Revises: 0002
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BOOKS = 30
_COPIES = 50
_EXCEPTIONS = {29: 3, 30: 0}

_inventory = sa.table("inventory", sa.column("book_id", sa.Uuid()), sa.column("quantity", sa.Integer()))
_reservations = sa.table("reservations", sa.column("book_id", sa.Uuid()))
_movements = sa.table(
    "stock_movements",
    sa.column("book_id", sa.Uuid()),
    sa.column("delta", sa.Integer()),
    sa.column("reason", sa.String()),
    sa.column("actor", sa.String()),
)


def seed_id(number: int) -> uuid.UUID:
    """Fixed id of seed book 1-30: the number in decimal at the end (SPEC 5.3)."""
    return uuid.UUID(f"00000000-0000-0000-0000-0000000000{number:02d}")


def upgrade() -> None:
    copies = {seed_id(number): _EXCEPTIONS.get(number, _COPIES) for number in range(1, _BOOKS + 1)}
    op.bulk_insert(_inventory, [{"book_id": book, "quantity": count} for book, count in copies.items()])
    # The audit adds up from the first copy on; no movement is of nothing.
    op.bulk_insert(
        _movements,
        [
            {"book_id": book, "delta": count, "reason": "seed", "actor": "migration"}
            for book, count in copies.items()
            if count
        ],
    )


def downgrade() -> None:
    books = [seed_id(number) for number in range(1, _BOOKS + 1)]
    for table in (_movements, _reservations, _inventory):
        op.execute(table.delete().where(table.c.book_id.in_(books)))
