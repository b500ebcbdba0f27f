"""All SQL of the carts. Lines of several books are always locked in book_id order, so that nobody deadlocks."""

import uuid
from collections.abc import Collection
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, delete, select, text

from bookstore_common.db import ReadSession, Session
from ecom.books.models import Book
from ecom.cart.models import CartItem

# The first number keeps these locks apart from other users of advisory locks in this database.
_LOCK = text("SELECT pg_advisory_xact_lock(1, hashtext(:user_id))")
_COLUMNS: tuple[ColumnElement[Any], ...] = (
    CartItem.__table__.c.id,
    CartItem.__table__.c.book_id,
    Book.__table__.c.title,
    Book.__table__.c.price,
    CartItem.__table__.c.quantity,
    Book.__table__.c.active.label("available_for_sale"),
)


class CartLine(NamedTuple):
    """A line with the book's price of today; as :data:`_COLUMNS`."""

    id: uuid.UUID
    book_id: uuid.UUID
    title: str
    price: Decimal
    quantity: int
    available_for_sale: bool

    @property
    def total(self) -> Decimal:
        return self.price * self.quantity


def _lines(user_id: str) -> Select[Any]:
    return select(*_COLUMNS).join(Book, Book.id == CartItem.book_id).where(CartItem.user_id == user_id)


async def read_lines(session: ReadSession | Session, user_id: str) -> list[CartLine]:
    """A user's lines, oldest first."""
    result = await session.execute(_lines(user_id).order_by(CartItem.created_at, CartItem.id))
    return [CartLine._make(row) for row in result]


class CartRepository:
    """Changes one user's cart; other users' lines do not exist here."""

    def __init__(self, session: Session, user_id: str) -> None:
        self._session = session
        self._user_id = user_id

    async def lines(self) -> list[CartLine]:
        """As :func:`read_lines`, with what this transaction changed."""
        await self._session.flush()
        return await read_lines(self._session, self._user_id)

    async def lock(self) -> None:
        """Until the transaction ends nobody else adds lines to this cart: rows that are not there yet have no lock."""
        await self._session.execute(_LOCK, {"user_id": self._user_id})

    async def lock_lines(self) -> list[CartLine]:
        """The lines as :func:`read_lines` gives them, by book_id, each locked against changes until the end."""
        result = await self._session.execute(
            _lines(self._user_id).order_by(CartItem.book_id).with_for_update(of=CartItem)
        )
        return [CartLine._make(row) for row in result]

    async def items(self) -> dict[uuid.UUID, CartItem]:
        """The lines as objects by book_id, locked."""
        result = await self._session.scalars(
            select(CartItem).where(CartItem.user_id == self._user_id).order_by(CartItem.book_id).with_for_update()
        )
        return {item.book_id: item for item in result}

    async def item(self, item_id: uuid.UUID) -> CartItem | None:
        """One line, locked."""
        return await self._session.scalar(
            select(CartItem).where(CartItem.id == item_id, CartItem.user_id == self._user_id).with_for_update()
        )

    def add(self, book_id: uuid.UUID, quantity: int) -> None:
        self._session.add(CartItem(user_id=self._user_id, book_id=book_id, quantity=quantity))

    async def on_sale(self, book_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Which of ``book_ids`` shoppers may buy."""
        return set(await self._session.scalars(select(Book.id).where(Book.id.in_(book_ids), Book.active)))

    async def remove(self, item_ids: Collection[uuid.UUID]) -> None:
        await self._session.execute(
            delete(CartItem)
            .where(CartItem.user_id == self._user_id, CartItem.id.in_(item_ids))
            .execution_options(synchronize_session=False)
        )
