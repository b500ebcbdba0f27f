"""Lists in pages: ``{items, page, size, total, pages}`` (SPEC 5.1).

A list is counted and can be paged up to its reach, :data:`MAX_REACH` items. ``page`` may name any page, so that a page
cannot be found from the last item of the one before; a bound makes the deepest page as cheap as reading that part of an
index, and whoever looks for something older narrows the list down (status, customer, period, words).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement, Select, func, literal_column, select

from bookstore_common.db import ReadSession
from bookstore_common.problem import FieldError, InvalidInputError

DEFAULT_SIZE = 12
MAX_SIZE = 100
# Beyond any list of this shop; keeps the offset far inside PostgreSQL's bigint.
MAX_PAGE = 1_000_000
# Items of a list that its pages reach: what is skipped and counted for a page is read, at most so many index entries.
MAX_REACH = 10_000
# Of lists with one item a book: a catalogue does not grow as orders do, and is cheap to count.
CATALOGUE_REACH = 100_000

ItemT = TypeVar("ItemT")


_TOTAL = (
    f"Items on all pages. Counting ends at {MAX_REACH} ({CATALOGUE_REACH} in lists of books and stock): this number"
    " then means so many or more, and pages behind them are refused with 422"
)


class Page(BaseModel, Generic[ItemT]):
    """One page of a list."""

    items: list[ItemT]
    page: int = Field(ge=1, examples=[1])
    size: int = Field(ge=1, le=MAX_SIZE, examples=[DEFAULT_SIZE])
    total: int = Field(ge=0, description=_TOTAL, examples=[30])
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


class PageTooDeepError(InvalidInputError):
    """The page begins behind the reach of its list, which does go on there."""

    def __init__(self, page: PageRequest, reach: int) -> None:
        last = -(-reach // page.size)
        message = f"Pages reach the first {reach} items: write 1 to {last} for pages of {page.size}, or narrow the list"
        super().__init__(
            f"Invalid input: page. {message}.",
            errors=[FieldError(field="page", location="query", message=message)],
            last_page=last,
        )


async def page_request(
    page: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Page number, from 1")] = 1,
    size: Annotated[int, Query(ge=1, le=MAX_SIZE, description="Items per page")] = DEFAULT_SIZE,
) -> PageRequest:
    """FastAPI dependency."""
    return PageRequest(page, size)


async def read_page(
    session: ReadSession,
    statement: Select[Any],
    order: Sequence[ColumnElement[Any]],
    page: PageRequest,
    *,
    key: ColumnElement[Any] | None = None,
    reach: int = MAX_REACH,
) -> tuple[list[dict[str, Any]], int]:
    """Rows of ``statement`` on ``page`` in ``order``, and how many rows all pages have together, ``reach`` at most.

    What a page costs does not grow with the table where an index has the rows in ``order``: nothing behind ``reach`` is
    counted or skipped. With ``key``, the column that tells the rows apart, rows are counted and skipped in that index.
    One statement, and past the end a second: there no row carries the total. Raises PageTooDeepError.
    """
    rows_counted: Select[Any] = statement.with_only_columns(literal_column("1"), maintain_column_froms=True)
    if key is not None:  # else the planner may scan the table for the first ones that match
        rows_counted = rows_counted.order_by(*order)
    counting = select(func.count()).select_from(rows_counted.limit(reach + 1).subquery())
    if page.offset < reach:
        paged = statement.order_by(*order)
        if key is None:
            paged = paged.limit(page.size).offset(page.offset)
        else:
            keys = statement.with_only_columns(key, maintain_column_froms=True).order_by(*order)
            wanted = keys.limit(page.size).offset(page.offset).subquery()
            paged = paged.where(key.in_(select(wanted.c[0])))
        result = await session.execute(paged.add_columns(counting.scalar_subquery()))
        rows = result.all()
        if rows:
            names = list(result.keys())[:-1]
            return [dict(zip(names, row[:-1], strict=True)) for row in rows], min(rows[0][-1], reach)
        if page.page == 1:
            return [], 0
    total = (await session.execute(counting)).scalar_one()
    if total > reach and page.offset >= reach:
        raise PageTooDeepError(page, reach)
    return [], min(total, reach)
