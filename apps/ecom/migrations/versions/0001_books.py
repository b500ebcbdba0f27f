"""Table books with search, change tracking and grants.

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

# Same folding as ecom.books.searching.fold: no accents, no apostrophes, lower case; other punctuation separates words
# (else "Catch-22" would hold the number -22).
_FOLD = r"""
CREATE FUNCTION books_search_fold(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN trim(regexp_replace(
    regexp_replace(
        regexp_replace(lower(normalize(translate(value, '''’‘`´', ''), NFKD)), '[\u0300-\u036f]', '', 'g'),
        '[-_.,:;/!?()&+*"“”«»–—#@|=~<>\[\]{}\\^$%]', ' ', 'g'),
    '\s+', ' ', 'g'))
"""
# Names and numbers as they are (simple), words also by their stem (english). Weights: title and ISBN, author, genre.
_VECTOR = """
CREATE FUNCTION books_search_vector(title text, author text, isbn text, genre text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN setweight(to_tsvector('pg_catalog.simple'::regconfig, books_search_fold(title)), 'A')
    || setweight(to_tsvector('pg_catalog.english'::regconfig, books_search_fold(title)), 'A')
    || setweight(to_tsvector('pg_catalog.simple'::regconfig, coalesce(isbn, '')), 'A')
    || setweight(to_tsvector('pg_catalog.simple'::regconfig, books_search_fold(author)), 'B')
    || setweight(to_tsvector('pg_catalog.simple'::regconfig, coalesce(books_search_fold(genre), '')), 'C')
    || setweight(to_tsvector('pg_catalog.english'::regconfig, coalesce(books_search_fold(genre), '')), 'C')
"""
# A change made outside of the service counts as a change, too.
_TOUCH = """
CREATE FUNCTION books_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.create_table(
        "books",
        sa.Column("id", sa.Uuid(), server_default=sa.func.gen_random_uuid(), nullable=False),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("isbn", sa.String(13)),
        sa.Column("genre", sa.String(100)),
        sa.Column("description", sa.Text()),
        sa.Column("cover_url", sa.Text()),
        sa.Column("price", sa.Numeric(10, 2), nullable=False),
        sa.Column("published_year", sa.Integer()),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="books_pkey"),
        sa.UniqueConstraint("isbn", name="books_isbn_key"),
        sa.CheckConstraint("isbn ~ '^[0-9]{13}$'", name=op.f("books_isbn_check")),
        sa.CheckConstraint("price > 0", name=op.f("books_price_check")),
        sa.CheckConstraint("published_year BETWEEN 1000 AND 2100", name=op.f("books_published_year_check")),
    )
    op.create_index("books_genre_idx", "books", ["genre"])
    op.execute(_FOLD)
    op.execute(_VECTOR)
    op.create_index(
        "books_search_idx",
        "books",
        [sa.text("books_search_vector(title, author, isbn, genre)")],
        postgresql_using="gin",
    )
    op.execute(_TOUCH)
    op.execute(
        "CREATE TRIGGER books_touch BEFORE UPDATE ON books FOR EACH ROW"
        " WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION books_touch()"
    )
    # SPEC 7: updates and deletes carry the old row.
    op.execute("ALTER TABLE books REPLICA IDENTITY FULL")
    _grant()


def _grant() -> None:
    """Explicit, so that it does not matter whether the roles' default privileges were set before or after."""
    roles = granted_roles()
    readers = ", ".join(roles)
    op.execute(f"GRANT SELECT ON books, alembic_version TO {readers}")
    op.execute(f"GRANT INSERT, UPDATE, DELETE ON books TO {roles.app}")
    op.execute(
        f"GRANT EXECUTE ON FUNCTION books_search_fold(text), books_search_vector(text, text, text, text) TO {readers}"
    )


def downgrade() -> None:
    op.drop_table("books")
    for function in (
        "books_touch()",
        "books_search_vector(text, text, text, text)",
        "books_search_fold(text)",
    ):
        op.execute(f"DROP FUNCTION {function}")
