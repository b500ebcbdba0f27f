"""Numbers and times of the captured tables stay inside of what the pipeline carries.

A count stays below 10^9, so that sums of two never leave an integer. Rows from before that break a rule are mended,
with a line of the audit for what that changes, and named in the log.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

from bookstore_common.constraints import (
    Tightening,
    heartbeat_tightening,
    loosen,
    outbox_tightening,
    sane_time,
    tighten,
)

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MOST = 1_000_000_000
_INVENTORY = Tightening(
    "inventory",
    "book_id::text",
    {
        "inventory_quantity_check": f"quantity BETWEEN 0 AND {_MOST}",
        "inventory_low_stock_threshold_check": f"low_stock_threshold BETWEEN 0 AND {_MOST}",
        "inventory_updated_at_check": sane_time("updated_at"),
    },
    {
        "quantity": f"least(quantity, {_MOST})",
        "reserved": f"least(reserved, {_MOST})",
        "low_stock_threshold": f"least(low_stock_threshold, {_MOST})",
        # The trigger sets updated_at if anything changes; this is for rows whose time alone is wrong.
        "updated_at": "now()",
    },
)
_ALL = (_INVENTORY, outbox_tightening(), heartbeat_tightening())
_FORMER = {
    "inventory": {
        "inventory_quantity_check": "quantity >= 0",
        "inventory_low_stock_threshold_check": "low_stock_threshold >= 0",
    }
}


def upgrade() -> None:
    tighten(*_ALL)
    # The audit adds up to the rows; whoever was stopped between the two finds the difference again.
    op.execute(
        "INSERT INTO stock_movements (book_id, delta, reserved_delta, reason, actor)"
        " SELECT book_id, i.quantity - m.delta, i.reserved - m.reserved_delta, 'mended', 'migration' FROM inventory i"
        " JOIN (SELECT book_id, sum(delta)::bigint AS delta, sum(reserved_delta)::bigint AS reserved_delta"
        " FROM stock_movements GROUP BY book_id) m USING (book_id)"
        " WHERE (i.quantity = 1000000000 AND m.delta > i.quantity)"
        " OR (i.reserved = 1000000000 AND m.reserved_delta > i.reserved)"
    )


def downgrade() -> None:
    loosen(*_ALL, former=_FORMER)
