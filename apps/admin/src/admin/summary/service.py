"""The parts of the summary, each of which may fail alone (SPEC 5.5, A-02)."""

from collections.abc import Awaitable
from typing import TypeVar

from admin.notes import WarningNote, warning
from admin.peers import RefusedError, Unanswered, side_by_side
from admin.summary.clients import CatalogueCounts, StockCounts
from admin.summary.schemas import OrderCounts, Summary

PartT = TypeVar("PartT")


class SummaryService:
    """Asks for everything at once."""

    def __init__(self, catalogue: CatalogueCounts, stock: StockCounts) -> None:
        self._catalogue = catalogue
        self._stock = stock

    async def summarise(self) -> Summary:
        """Never raises for a service that fails; a rejected token is the whole request's failure."""
        warnings: list[WarningNote] = []
        async with side_by_side() as group:
            active_books = group.create_task(_part("active_books", self._catalogue.active_books(), warnings))
            orders = group.create_task(_part("orders_by_status", self._catalogue.orders_by_status(), warnings))
            low_stock = group.create_task(_part("low_stock", self._stock.low_stock(), warnings))
            out_of_stock = group.create_task(_part("out_of_stock", self._stock.out_of_stock(), warnings))
        counts = orders.result()
        return Summary(
            active_books=active_books.result(),
            orders_by_status=None if counts is None else OrderCounts.model_validate(counts),
            low_stock=low_stock.result(),
            out_of_stock=out_of_stock.result(),
            warnings=sorted(warnings, key=lambda note: note.part),
        )


async def _part(name: str, asked: Awaitable[PartT], warnings: list[WarningNote]) -> PartT | None:
    """What was asked for, or None and a warning."""
    try:
        return await asked
    except (*Unanswered, RefusedError) as error:
        warnings.append(warning(name, error))
        return None
