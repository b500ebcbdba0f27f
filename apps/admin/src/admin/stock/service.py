"""Stock and the titles of its books, between HTTP and the two services that keep them."""

import uuid
from collections.abc import Mapping
from typing import Any

from admin.books.clients import BookClient
from admin.books.schemas import Book
from admin.peers import side_by_side
from admin.stock.clients import StockClient
from admin.stock.schemas import Stock, StockRow, StockStatus
from bookstore_common.pagination import MAX_SIZE, Page, PageRequest
from bookstore_common.problem import FieldError, InvalidInputError

# What I-07 takes as a filter.
MAX_FILTER_IDS = 500


class StockService:
    """Looks stock up by what the catalogue knows of the books."""

    def __init__(self, stock: StockClient, books: BookClient) -> None:
        self._stock = stock
        self._books = books

    async def find(self, page: PageRequest, q: str | None) -> Page[StockRow]:
        """Every book, on sale or not, also one without stock yet; by title, or with ``q`` by relevance."""
        found = await self._books.find(page, q=q)
        stock = await self._stock.of_books([book.id for book in found.items])
        rows = [_row(book.id, book, stock) for book in found.items]
        return Page[StockRow](items=rows, page=found.page, size=found.size, total=found.total, pages=found.pages)

    async def find_low(self, page: PageRequest, q: str | None) -> Page[StockRow]:
        """Books at or below their threshold, those with the fewest copies first; a book without stock yet is none.

        Raises InvalidInputError if ``q`` finds more books than Inventory can be asked about.
        """
        known = None if q is None else await self._matches(q)
        found = await self._stock.find(page, low=True, book_ids=known)
        ids = [stock.book_id for stock in found.items]
        books = await self._books.get_many(ids) if known is None else known
        stock = {stock.book_id: stock for stock in found.items}
        rows = [_row(book_id, books.get(book_id), stock) for book_id in ids]
        return Page[StockRow](items=rows, page=found.page, size=found.size, total=found.total, pages=found.pages)

    async def _matches(self, q: str) -> Mapping[uuid.UUID, Book]:
        """All books that ``q`` finds."""
        first = await self._books.find(PageRequest(1, MAX_SIZE), q=q)
        if first.total > MAX_FILTER_IDS:
            message = f"finds {first.total} books; with low=true it may find {MAX_FILTER_IDS}: add words"
            raise InvalidInputError(
                "Invalid input: q.", errors=[FieldError(field="q", location="query", message=message)]
            )
        async with side_by_side() as group:
            rest = [
                group.create_task(self._books.find(PageRequest(number, MAX_SIZE), q=q))
                for number in range(2, first.pages + 1)
            ]
        pages = [first, *(task.result() for task in rest)]
        return {book.id: book for page in pages for book in page.items}


def stock_members(book_id: uuid.UUID, stock: Mapping[uuid.UUID, Stock] | None) -> dict[str, Any]:
    """The members of :class:`admin.stock.schemas.StockFields`; ``stock`` None means that Inventory did not say."""
    mine = None if stock is None else stock.get(book_id)
    if mine is None:
        status: StockStatus = "unknown" if stock is None else "pending"
        return {**dict.fromkeys(_COUNTS), "stock_status": status}
    return {**{name: getattr(mine, name) for name in _COUNTS}, "stock_status": mine.stock_status}


_COUNTS = ("quantity", "reserved", "available", "low_stock_threshold")


def _row(book_id: uuid.UUID, book: Book | None, stock: Mapping[uuid.UUID, Stock]) -> StockRow:
    return StockRow(
        book_id=book_id,
        title=None if book is None else book.title,
        active=None if book is None else book.active,
        version=stock[book_id].version if book_id in stock else 0,
        **stock_members(book_id, stock),
    )
