"""What a cart can do, between HTTP and SQL."""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from bookstore_common.problem import NotFoundError, ProblemError
from ecom.cart import arithmetic
from ecom.cart.repository import CartLine, CartRepository
from ecom.cart.schemas import GuestItem


class CartFullError(ProblemError):
    status = 409
    code = "cart_full"


def cart_body(lines: Sequence[CartLine]) -> dict[str, Any]:
    """The cart as it is sent."""
    items = [
        {
            "id": line.id,
            "book_id": line.book_id,
            "title": line.title,
            "price": str(line.price),
            "quantity": line.quantity,
            "line_total": str(line.total),
            "available_for_sale": line.available_for_sale,
        }
        for line in lines
    ]
    return {"items": items, "count": sum(line.quantity for line in lines), "total": str(total_of(lines))}


def total_of(lines: Sequence[CartLine]) -> Decimal:
    """What the copies in ``lines`` cost, in US dollars with two decimals."""
    return sum((line.total for line in lines), Decimal("0.00"))


class CartService:
    """Every change answers with the whole cart, so that a client never has to guess."""

    def __init__(self, cart: CartRepository) -> None:
        self._cart = cart

    async def add(self, book_id: uuid.UUID, quantity: int) -> dict[str, Any]:
        """Raises NotFoundError if the book is not on sale, CartFullError if a 51st line would be needed."""
        await self._cart.lock()
        if not await self._cart.on_sale([book_id]):
            raise NotFoundError(f"No book has the id {book_id}.")
        items = await self._cart.items()
        if (item := items.get(book_id)) is not None:
            item.quantity = arithmetic.add(item.quantity, quantity)
        elif len(items) < arithmetic.MAX_LINES:
            self._cart.add(book_id, quantity)
        else:
            raise CartFullError(f"The cart holds {arithmetic.MAX_LINES} different books; remove one first.")
        return cart_body(await self._cart.lines())

    async def set_quantity(self, item_id: uuid.UUID, quantity: int) -> dict[str, Any]:
        """Raises NotFoundError if the user has no such line."""
        item = await self._cart.item(item_id)
        if item is None:
            raise NotFoundError(f"The cart has no line with the id {item_id}.")
        item.quantity = quantity
        return cart_body(await self._cart.lines())

    async def remove(self, item_id: uuid.UUID) -> None:
        """A line that is not there (any more) is as good as removed."""
        await self._cart.remove([item_id])

    async def clear(self) -> None:
        """Locks before it deletes: DELETE alone would take the lines in any order."""
        await self._cart.remove([item.id for item in (await self._cart.items()).values()])

    async def merge(self, wanted: Sequence[GuestItem]) -> dict[str, Any]:
        """Add a guest's cart; books that are not on sale, and those for which there is no line left, are skipped."""
        await self._cart.lock()
        on_sale = await self._cart.on_sale({item.book_id for item in wanted})
        items = await self._cart.items()
        merged = arithmetic.merge(
            {book_id: item.quantity for book_id, item in items.items()},
            [(item.book_id, item.quantity) for item in wanted],
            on_sale,
        )
        for book_id, quantity in merged.quantities.items():
            if (item := items.get(book_id)) is not None:
                item.quantity = quantity
            else:
                self._cart.add(book_id, quantity)
        skipped = [{"book_id": book_id, "reason": "not_on_sale"} for book_id in merged.unknown]
        skipped += [{"book_id": book_id, "reason": "cart_full"} for book_id in merged.full]
        return {"cart": cart_body(await self._cart.lines()), "skipped": skipped}
