"""Table ``books`` (SPEC 5.3)."""

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Numeric, String, Text, func, text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from bookstore_common.constraints import sane_time
from bookstore_common.db import Base

# As people sort: the collation of migration 0010.
TITLE_ORDER = "title_order"


class Book(Base):
    """One title on sale. ``active = false`` hides it from shoppers and keeps it in orders.

    The trigger ``books_touch`` raises ``version`` and ``updated_at`` on every change, whoever makes it.
    """

    __tablename__ = "books"
    __table_args__ = (
        CheckConstraint("isbn ~ '^[0-9]{13}$'", name="isbn"),
        # Not "> 0": NaN is greater than every number.
        CheckConstraint("price BETWEEN 0.01 AND 99999999.99", name="price"),
        CheckConstraint("char_length(description) <= 20000", name="description"),
        CheckConstraint("char_length(cover_url) <= 2000", name="cover_url"),
        CheckConstraint(sane_time("created_at"), name="created_at"),
        CheckConstraint(sane_time("updated_at"), name="updated_at"),
        CheckConstraint("published_year BETWEEN 1000 AND 2100", name="published_year"),
        # The title in TITLE_ORDER, of which a reflected index says nothing.
        Index("books_title_order_idx", "title", "id"),
        # Of the release before: see migration 0009.
        Index("books_search_idx", text("books_search_vector(title, author, isbn, genre)"), postgresql_using="gin"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    title: Mapped[str] = mapped_column(String(255))
    author: Mapped[str] = mapped_column(String(255))
    isbn: Mapped[str | None] = mapped_column(String(13), unique=True)
    genre: Mapped[str | None] = mapped_column(String(100), index=True)
    description: Mapped[str | None] = mapped_column(Text)
    cover_url: Mapped[str | None] = mapped_column(Text)
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    published_year: Mapped[int | None]
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class BookSearch(Base):
    """What a book is found by, kept by the trigger ``books_search`` (migration 0009).

    ``phrase`` is the folded title, ``terms`` the words of title and ISBN (weight A), author (B) and genre (C).
    """

    __tablename__ = "book_search"
    __table_args__ = (Index("book_search_terms_idx", "terms", postgresql_using="gin"),)

    book_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("books.id", ondelete="CASCADE"), primary_key=True)
    phrase: Mapped[str] = mapped_column(Text)
    terms: Mapped[str] = mapped_column(TSVECTOR)
