"""Lists in pages: ``{items, page, size, total, pages}`` (SPEC 5.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, func, select

from bookstore_common.db import ReadSession

DEFAULT_SIZE = 12
MAX_SIZE = 100
# Beyond any list of this shop; keeps the offset far inside PostgreSQL's bigint.
MAX_PAGE = 1_000_000

ItemT = TypeVar("ItemT")


class Page(BaseModel, Generic[ItemT]):
    """One page of a list."""

    items: list[ItemT]
    page: int = Field(ge=1, examples=[1])
    size: int = Field(ge=1, le=MAX_SIZE, examples=[DEFAULT_SIZE])
    total: int = Field(ge=0, description="Items on all pages", examples=[30])
    pages: int = Field(ge=0, description="Number of pages; 0 if there is no item", examples=[3])


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page a client asks for."""

    page: int = 1
    size: int = DEFAULT_SIZE

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.size

    def body(self, items: Sequence[Any], total: int) -> dict[str, Any]:
        """The list as it is sent; a page past the end is empty and still tells the true total."""
        return {
            "items": items,
            "page": self.page,
            "size": self.size,
            "total": total,
            "pages": -(-total // self.size),
        }


async def page_request(
    page: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Page number, from 1")] = 1,
    size: Annotated[int, Query(ge=1, le=MAX_SIZE, description="Items per page")] = DEFAULT_SIZE,
) -> PageRequest:
    """FastAPI dependency."""
    return PageRequest(page, size)


async def read_page(
    session: ReadSession, statement: Select[Any], order: Sequence[ColumnElement[Any]], page: PageRequest
) -> tuple[list[dict[str, Any]], int]:
    """Rows of ``statement`` on ``page`` in ``order``, and how many rows all pages have together.

    One statement, and past the end a second: there no row carries the total.
    """
    counting = statement.add_columns(func.count().over())
    result = await session.execute(counting.order_by(*order).limit(page.size).offset(page.offset))
    rows = result.all()
    if rows:
        names = list(result.keys())[:-1]
        return [dict(zip(names, row[:-1], strict=True)) for row in rows], rows[0][-1]
    if page.page == 1:
        return [], 0
    counted = await session.execute(select(func.count()).select_from(statement.order_by(None).subquery()))
    return [], counted.scalar_one()
