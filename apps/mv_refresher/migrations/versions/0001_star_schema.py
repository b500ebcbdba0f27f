"""Star schema (SPEC 7.2): facts and dimensions that Flink keeps, the calendar, and the time at which a row arrived.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

from bookstore_common.migrations import granted_roles

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What Flink writes. No foreign keys between them: the order of arrival across topics is undefined.
CDC_TABLES = ("fact_orders", "fact_order_items", "fact_inventory", "dim_books")

# synced_at is the clock's time at which the row was written, which is before its transaction ends and anyone sees it.
# So that the reader of a snapshot can tell up to which synced_at it has *everything*, each transaction shows since when
# it writes, for as long as it is under way: by an advisory lock whose key is a time. The lock manager forgets it when
# the transaction ends, and not before its rows are visible; it is shared, and nobody waits for it. The key holds a mark
# (bits 52 up) and microseconds since 1970; see analytics_complete_until in 0003.
_WRITING = """
CREATE FUNCTION analytics_writing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Once per transaction is enough: its later rows have later times.
    IF coalesce(current_setting('bookstore.writing', true), '') = '' THEN
        PERFORM pg_advisory_xact_lock_shared(
            (1237::bigint << 52) | (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
        PERFORM set_config('bookstore.writing', 'yes', true);
    END IF;
    RETURN NULL;
END
$$
"""
_SYNCED = """
CREATE FUNCTION analytics_synced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.synced_at := clock_timestamp();
    RETURN NEW;
END
$$
"""
_CALENDAR = """
INSERT INTO dim_date (date_key, date, year, quarter, month, day, iso_week, day_of_week)
SELECT to_char(day, 'YYYYMMDD')::int, day, extract(year FROM day), extract(quarter FROM day), extract(month FROM day),
       extract(day FROM day), extract(week FROM day), extract(isodow FROM day)
FROM (SELECT generate_series('2020-01-01'::timestamp, '2035-12-31', '1 day')::date AS day) AS days
"""


def _id(name: str) -> "sa.Column[str]":
    # Text, where the sources have uuid: Flink's sink writes text.
    return sa.Column(name, sa.String(36), nullable=False)


def _time(name: str) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    op.create_table(
        "fact_orders",
        _id("order_id"),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("total", sa.Numeric(12, 2), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("order_date_key", sa.Integer(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        _time("synced_at"),
        sa.PrimaryKeyConstraint("order_id", name="fact_orders_pkey"),
    )
    op.create_table(
        "fact_order_items",
        _id("order_item_id"),
        _id("order_id"),
        _id("book_id"),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price_at_purchase", sa.Numeric(10, 2), nullable=False),
        sa.Column("line_total", sa.Numeric(12, 2), nullable=False),
        _time("synced_at"),
        sa.PrimaryKeyConstraint("order_item_id", name="fact_order_items_pkey"),
    )
    op.create_table(
        "fact_inventory",
        _id("book_id"),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Integer(), nullable=False),
        sa.Column("available", sa.Integer(), nullable=False),
        sa.Column("low_stock_threshold", sa.Integer(), nullable=False),
        _time("updated_at"),
        _time("synced_at"),
        sa.PrimaryKeyConstraint("book_id", name="fact_inventory_pkey"),
    )
    op.create_table(
        "dim_books",
        _id("book_id"),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("isbn", sa.String(13)),
        sa.Column("genre", sa.String(100), nullable=False),
        sa.Column("price", sa.Numeric(10, 2), nullable=False),
        sa.Column("published_year", sa.Integer()),
        sa.Column("active", sa.Boolean(), nullable=False),
        _time("created_at"),
        _time("updated_at"),
        _time("synced_at"),
        sa.PrimaryKeyConstraint("book_id", name="dim_books_pkey"),
    )
    op.create_table(
        "dim_date",
        sa.Column("date_key", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        *(
            sa.Column(name, sa.SmallInteger(), nullable=False)
            for name in ("year", "quarter", "month", "day", "iso_week", "day_of_week")
        ),
        sa.PrimaryKeyConstraint("date_key", name="dim_date_pkey"),
        sa.UniqueConstraint("date", name="dim_date_date_key"),
    )
    op.execute(_CALENDAR)
    op.execute(_WRITING)
    op.execute(_SYNCED)
    for table in CDC_TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_writing BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION analytics_writing()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_synced BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION analytics_synced()"
        )
    _grant()


def _grant() -> None:
    """Explicit, so that it does not matter whether the roles' default privileges were set before or after."""
    app, ro, cdc = granted_roles()
    tables = ", ".join(CDC_TABLES)
    op.execute(f"GRANT SELECT ON {tables}, dim_date, alembic_version TO {app}, {ro}")
    op.execute(f"GRANT INSERT, UPDATE, DELETE ON {tables} TO {app}")
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON dim_date FROM {app}")
    # Nobody captures changes here.
    op.execute(f"REVOKE ALL ON {tables}, dim_date, alembic_version FROM {cdc}")


def downgrade() -> None:
    for table in ("dim_date", *CDC_TABLES[::-1]):
        op.drop_table(table)
    op.execute("DROP FUNCTION analytics_synced()")
    op.execute("DROP FUNCTION analytics_writing()")
