"""All SQL of the stock. Reads are Core rows: the ORM would cost more than the query (PITFALLS, Services)."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Integer, Uuid, bindparam, exists, func, insert, select, update
from sqlalchemy.dialects import postgresql

from bookstore_common.db import ReadSession, Session
from bookstore_common.pagination import CATALOGUE_REACH, PageRequest, read_page
from inventory.stock.arithmetic import DEFAULT_LOW_STOCK_THRESHOLD, Stock, status_of
from inventory.stock.models import Inventory, StockMovement
from inventory.stock.schemas import StockFilter

_STOCK = Inventory.__table__.c
_MOVEMENTS = StockMovement.__table__.c
_AVAILABLE: ColumnElement[int] = _STOCK.quantity - _STOCK.reserved
_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _STOCK.book_id,
    _STOCK.quantity,
    _STOCK.reserved,
    _STOCK.low_stock_threshold,
)
_ADMIN_COLUMNS: tuple[ColumnElement[Any], ...] = (*_COLUMNS, _STOCK.version, _STOCK.updated_at)
_MOVEMENT_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _MOVEMENTS.id,
    _MOVEMENTS.book_id,
    _MOVEMENTS.delta,
    _MOVEMENTS.reserved_delta,
    _MOVEMENTS.reason,
    _MOVEMENTS.order_id,
    _MOVEMENTS.actor,
    _MOVEMENTS.created_at,
)
# One array instead of a list of parameters: one statement to prepare, however many ids.
_IDS = bindparam("ids", type_=ARRAY(Uuid))
_AMONG_IDS: ColumnElement[bool] = _STOCK.book_id == func.any(_IDS)
_GET_MANY = select(*_COLUMNS).where(_AMONG_IDS).order_by(_STOCK.book_id)
_LOCK = (
    select(_STOCK.book_id, _STOCK.quantity, _STOCK.reserved)
    .where(_AMONG_IDS)
    .order_by(_STOCK.book_id)
    .with_for_update()
)
_NEW = (
    func.unnest(
        bindparam("ids", type_=ARRAY(Uuid)),
        bindparam("quantities", type_=ARRAY(Integer)),
        bindparam("reserved", type_=ARRAY(Integer)),
    )
    .table_valued("book_id", "quantity", "reserved")
    .render_derived(name="counted")
)
_WRITE = (
    update(Inventory)
    .where(Inventory.book_id == _NEW.c.book_id)
    .values(quantity=_NEW.c.quantity, reserved=_NEW.c.reserved)
    .execution_options(synchronize_session=False)
)


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one book's copies, why, for which order and by whom."""

    book_id: uuid.UUID
    before: Stock
    after: Stock
    reason: str
    actor: str
    order_id: uuid.UUID | None = None


class StockReadRepository:
    """What shoppers and admins look at."""

    def __init__(self, session: ReadSession) -> None:
        self._session = session

    async def get(self, book_id: uuid.UUID) -> dict[str, Any] | None:
        """As a shopper sees it; None if the book is unknown."""
        row = (await self._session.execute(select(*_COLUMNS).where(_STOCK.book_id == book_id))).one_or_none()
        return None if row is None else _shown(row)

    async def get_many(self, book_ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
        """Those of ``book_ids`` that exist, by id."""
        result = await self._session.execute(_GET_MANY, {"ids": list(book_ids)})
        return [_shown(row) for row in result]

    async def get_for_admin(self, book_id: uuid.UUID) -> dict[str, Any] | None:
        row = (await self._session.execute(select(*_ADMIN_COLUMNS).where(_STOCK.book_id == book_id))).one_or_none()
        return None if row is None else _shown_to_admin(row)

    async def find(self, wanted: StockFilter, page: PageRequest) -> tuple[list[dict[str, Any]], int]:
        """Rows of the page and the total number of matches; by id, low ones by what is left."""
        conditions: list[ColumnElement[bool]] = []
        if wanted.low:
            conditions.append(_STOCK.low_stock_threshold >= _AVAILABLE)
        if wanted.out_of_stock:
            conditions.append(_AVAILABLE <= 0)
        if wanted.book_ids is not None:
            conditions.append(_STOCK.book_id == func.any(bindparam("ids", wanted.book_ids, type_=ARRAY(Uuid))))
        order = (_AVAILABLE, _STOCK.book_id) if wanted.low else (_STOCK.book_id,)
        statement = select(*_ADMIN_COLUMNS).where(*conditions)
        rows, total = await read_page(self._session, statement, order, page, reach=CATALOGUE_REACH)
        return [_shown_to_admin(list(row.values())) for row in rows], total

    async def movements(self, book_id: uuid.UUID, page: PageRequest) -> tuple[list[dict[str, Any]], int] | None:
        """The book's audit, newest first, and its length; None if the book is unknown."""
        statement = select(*_MOVEMENT_COLUMNS).where(_MOVEMENTS.book_id == book_id)
        rows, total = await read_page(self._session, statement, (_MOVEMENTS.id.desc(),), page, key=_MOVEMENTS.id)
        if total:
            return rows, total
        known = await self._session.execute(select(exists().where(_STOCK.book_id == book_id)))
        return ([], 0) if known.scalar_one() else None


class StockRepository:
    """Changes rows that it has locked before."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def lock(self, book_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Stock]:
        """Lock the rows until the transaction ends, in book_id order, so that two orders never wait for each other.

        Unknown books are absent from the answer.
        """
        result = await self._session.execute(_LOCK, {"ids": list(book_ids)})
        return {row.book_id: Stock(row.quantity, row.reserved) for row in result}

    async def create_missing(self, book_id: uuid.UUID) -> bool:
        """Make a row without copies, unless there is one; returns whether it was made."""
        made = await self._session.execute(
            postgresql.insert(Inventory)
            .values(book_id=book_id, quantity=0, low_stock_threshold=DEFAULT_LOW_STOCK_THRESHOLD)
            .on_conflict_do_nothing()
            .returning(Inventory.book_id)
        )
        return made.one_or_none() is not None

    async def set_threshold(self, book_id: uuid.UUID, low_stock_threshold: int) -> None:
        await self._session.execute(
            update(Inventory).where(_STOCK.book_id == book_id).values(low_stock_threshold=low_stock_threshold)
        )

    async def write(self, changes: Sequence[Change]) -> None:
        """Store the new counts of locked rows and one line of the audit for each; a book may come only once."""
        await self._session.execute(
            _WRITE,
            {
                "ids": [change.book_id for change in changes],
                "quantities": [change.after.quantity for change in changes],
                "reserved": [change.after.reserved for change in changes],
            },
        )
        await self._session.execute(
            insert(StockMovement.__table__),  # type: ignore[arg-type] # typed as FromClause, but is a Table
            [
                {
                    "book_id": change.book_id,
                    "delta": change.after.quantity - change.before.quantity,
                    "reserved_delta": change.after.reserved - change.before.reserved,
                    "reason": change.reason,
                    "order_id": change.order_id,
                    "actor": change.actor,
                }
                for change in changes
            ],
        )

    async def get_for_admin(self, book_id: uuid.UUID) -> dict[str, Any]:
        """The row as it will be committed."""
        row = (await self._session.execute(select(*_ADMIN_COLUMNS).where(_STOCK.book_id == book_id))).one()
        return _shown_to_admin(row)


def _shown(row: Sequence[Any]) -> dict[str, Any]:
    book_id, quantity, reserved, low_stock_threshold = row
    available = quantity - reserved
    return {
        "book_id": book_id,
        "quantity": quantity,
        "reserved": reserved,
        "available": available,
        "stock_status": status_of(available, low_stock_threshold),
    }


def _shown_to_admin(row: Sequence[Any]) -> dict[str, Any]:
    *counts, version, updated_at = row
    return {**_shown(counts), "low_stock_threshold": counts[3], "version": version, "updated_at": updated_at}
