"""One page of a list and its total in one statement."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from bookstore_common.db import ReadSession
from bookstore_common.pagination import PageRequest


async def read_page(
    session: ReadSession, statement: Select[Any], order: Sequence[ColumnElement[Any]], page: PageRequest
) -> tuple[list[dict[str, Any]], int]:
    """Rows of ``statement`` on ``page`` in ``order``, and how many rows all pages have together."""
    counting = statement.add_columns(func.count().over())
    result = await session.execute(counting.order_by(*order).limit(page.size).offset(page.offset))
    rows = result.all()
    if rows:
        names = list(result.keys())[:-1]
        return [dict(zip(names, row[:-1], strict=True)) for row in rows], rows[0][-1]
    if page.page == 1:
        return [], 0
    # Past the end no row carries the total.
    counted = await session.execute(select(func.count()).select_from(statement.order_by(None).subquery()))
    return [], counted.scalar_one()
