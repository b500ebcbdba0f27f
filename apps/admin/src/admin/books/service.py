"""The catalogue and its stock, between HTTP and the two services that keep them."""

import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

import structlog

from admin.books.clients import BookClient
from admin.books.schemas import Book, BookPage, BookWithWarnings, NewBook, StockedBook
from admin.notes import WarningNote, warning
from admin.peers import Answer, Unanswered, side_by_side
from admin.stock.clients import StockClient
from admin.stock.schemas import Stock
from admin.stock.service import stock_members
from bookstore_common.pagination import PageRequest
from bookstore_common.problem import ProblemError

StockedT = TypeVar("StockedT", bound=StockedBook)
_log = structlog.get_logger(__name__)
_PART = "stock"


class BookService:
    """``stock`` is asked for what an answer can do without, ``patient_stock`` for what shall be changed."""

    def __init__(self, books: BookClient, stock: StockClient, patient_stock: StockClient) -> None:
        self._books = books
        self._stock = stock
        self._patient_stock = patient_stock

    async def find(self, page: PageRequest, q: str | None, active: bool | None) -> BookPage:
        """A page of books; without an answer from Inventory their stock is null, ``unknown``, and there is a warning.

        A failure of the E-Commerce API is raised.
        """
        found = await self._books.find(page, q=q, active=active)
        stock: Mapping[uuid.UUID, Stock] | None = None
        warnings: list[WarningNote] = []
        try:
            stock = await self._stock.of_books([book.id for book in found.items])
        except Unanswered as error:
            warnings.append(warning(_PART, error))
        items = [_stocked(StockedBook, book, stock) for book in found.items]
        return BookPage(
            items=items, page=found.page, size=found.size, total=found.total, pages=found.pages, warnings=warnings
        )

    async def get(self, book_id: uuid.UUID) -> Answer[BookWithWarnings]:
        """As :meth:`find`, for one book."""
        async with side_by_side() as group:
            book_task = group.create_task(self._books.get(book_id))
            stock_task = group.create_task(self._stock_of(book_id))
        book, (stock, warnings) = book_task.result(), stock_task.result()
        return Answer(_stocked(BookWithWarnings, book.body, stock, warnings=warnings), book.etag)

    async def create(self, new: NewBook) -> Answer[BookWithWarnings]:
        """A book, then its stock.

        Once the book is there, nothing is raised any more, whatever Inventory says: whoever was told of a failure
        would create the book again. Its stock is ``pending`` then; A-08 sets it.
        """
        created = await self._books.create(
            new.model_dump(mode="json", exclude={"initial_quantity"}, exclude_unset=True)
        )
        book_id = created.body.id
        stock: dict[uuid.UUID, Stock] = {}
        warnings = []
        try:
            stock[book_id] = await self._patient_stock.set_first(book_id, new.initial_quantity)
        except ProblemError as error:
            _log.warning("stock_pending", book_id=str(book_id), reason=error.detail)
            warnings.append(warning(_PART, error))
        return Answer(_stocked(BookWithWarnings, created.body, stock, warnings=warnings), created.etag)

    async def _stock_of(self, book_id: uuid.UUID) -> tuple[Mapping[uuid.UUID, Stock] | None, list[WarningNote]]:
        try:
            return await self._stock.of_books([book_id]), []
        except Unanswered as error:
            return None, [warning(_PART, error)]


def _stocked(model: type[StockedT], book: Book, stock: Mapping[uuid.UUID, Stock] | None, **more: Any) -> StockedT:
    """``book`` with its part of ``stock``; None means that Inventory did not say."""
    # Both were validated when they arrived.
    return model.model_construct(**dict(book), **stock_members(book.id, stock), **more)
