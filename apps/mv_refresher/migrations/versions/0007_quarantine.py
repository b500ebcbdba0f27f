"""Table quarantined_records: records of change topics that their table cannot hold, with the reason.

Flink inserts them, and again when it reads them again; mv-refresher and the operator's tools say when an entry is
resolved: when analytics has, for that key, what the source has. What is inserted again is open again, for the records
that are older than it are read again before it.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The id in the key that Debezium writes, {"id":"..."}; null in other keys. No expression here fails for any bytes.
_UUID = "-".join(f"[0-9a-f]{{{length}}}" for length in (8, 4, 4, 4, 12))
_ROW_KEY = (
    "substring(encode(substring(record_key FROM 1 FOR 200), 'escape')"
    f""" FROM '^[{{]"[a-z_]+":"({_UUID})"[}}]$')"""
)
# reason is set by Flink's upsert, and by nothing else: a resolution leaves seen_at alone. A record that is about no row
# (its key is no key of Debezium's) keeps its resolution, for nothing in analytics depends on when it is read.
_SEEN = """
CREATE FUNCTION quarantine_seen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.seen_at := clock_timestamp();
    IF TG_OP = 'INSERT' OR OLD.row_key IS NOT NULL THEN
        NEW.resolved_at := NULL;
        NEW.resolution := NULL;
    END IF;
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "quarantined_records",
        sa.Column("topic", sa.String(255), nullable=False),
        sa.Column("kafka_partition", sa.Integer(), nullable=False),
        sa.Column("kafka_offset", sa.BigInteger(), nullable=False),
        # Bytes, for no text of PostgreSQL can hold all of them.
        sa.Column("record_key", sa.LargeBinary()),
        sa.Column("row_key", sa.Text(), sa.Computed(_ROW_KEY, persisted=True)),
        sa.Column("reason", sa.Text(), nullable=False),
        # Null where the record itself could be read and a computed column does not fit.
        sa.Column("raw_value", sa.LargeBinary()),
        sa.Column("recorded_at", sa.DateTime(timezone=True)),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("resolution", sa.Text()),
        sa.PrimaryKeyConstraint("topic", "kafka_partition", "kafka_offset", name="quarantined_records_pkey"),
        sa.CheckConstraint(
            "(resolved_at IS NULL) = (resolution IS NULL)", name=op.f("quarantined_records_resolution_check")
        ),
    )
    op.create_index(
        "quarantined_records_open_idx", "quarantined_records", ["topic", "row_key", "kafka_offset"],
        postgresql_where=sa.text("resolved_at IS NULL"),
    )  # fmt: skip
    op.create_index(
        "quarantined_records_resolved_at_idx", "quarantined_records", ["resolved_at"],
        postgresql_where=sa.text("resolved_at IS NOT NULL"),
    )  # fmt: skip
    op.execute(_SEEN)
    op.execute(
        "CREATE TRIGGER quarantined_records_seen BEFORE INSERT OR UPDATE OF reason ON quarantined_records"
        " FOR EACH ROW EXECUTE FUNCTION quarantine_seen()"
    )
    app, ro, cdc = granted_roles()
    op.execute(f"REVOKE ALL ON quarantined_records FROM {app}, {cdc}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON quarantined_records TO {app}")
    op.execute(f"GRANT SELECT ON quarantined_records TO {ro}")


def downgrade() -> None:
    op.drop_table("quarantined_records")
    op.execute("DROP FUNCTION quarantine_seen()")
