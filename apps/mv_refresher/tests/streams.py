"""Random changes of the analytics tables."""

import random
from collections.abc import Callable
from typing import Any

from refresher_testing import book, order, stock, upsert

BOOKS = [f"b{number}" for number in range(8)] + ["ffffffff-0000-0000-0000-000000000001"]
AUTHORS = ("Austen", "Borges", "École", "Unknown")
STATUSES = ("PENDING", "CONFIRMED", "CANCELLED", "SHIPPED")
Step = Callable[[Any], None]


class Stream:
    """Random changes as Flink may send them: upserts, repeats, old versions again, deletions, in any order."""

    def __init__(self, seed: int, prefix: str = "") -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._prefix = prefix
        self._sent: list[Step] = []

    def steps(self, number: int) -> list[Step]:
        """The next ones; every fifth is one that was sent before."""
        found = []
        for _ in range(number):
            again = self._sent and self._random.random() < 0.2
            step = self._random.choice(self._sent) if again else self._new()
            self._sent.append(step)
            found.append(step)
        return found

    def _new(self) -> Step:
        pick = self._random
        serial, book_id = pick.randrange(30), pick.choice(BOOKS)
        order_id = f"{self._prefix}o{pick.randrange(12)}"
        kind = pick.choices(("order", "line", "book", "stock", "gone", "many"), (30, 35, 12, 6, 12, 5))[0]
        if kind == "order":
            day = pick.choice((1, 2, 3, 400))
            values: dict[str, Any] = {
                "total": f"{pick.randrange(10_000) / 100:.2f}", "status": pick.choice(STATUSES),
                "user_id": pick.choice(("someone", "other", "other", "cdc-probe")),
                "order_date_key": 20260300 + day if day < 32 else 20400101,
                "created_at": f"2026-03-0{day}T23:30:00Z" if day < 32 else "2040-01-01T12:00:00Z",
            }  # fmt: skip
            return lambda rows: order(rows, order_id, **values)
        if kind == "line":
            # Lines keep their order and book in the source; here even these may change.
            amount = {"quantity": pick.randrange(1, 5), "line_total": f"{pick.randrange(5000) / 100:.2f}"}
            return lambda rows: upsert(
                rows, "fact_order_items", "order_item_id", order_item_id=f"{self._prefix}i{serial}", order_id=order_id,
                book_id=book_id, price_at_purchase="9.99", **amount,
            )  # fmt: skip
        if kind == "book":
            about = {"author": pick.choice(AUTHORS), "title": f"Title {pick.randrange(3)}", "genre": f"G{serial % 3}"}
            return lambda rows: book(rows, book_id, price=f"{pick.randrange(1, 60)}.50", **about)
        if kind == "stock":
            return lambda rows: stock(rows, book_id, serial)
        if kind == "many":
            shift = pick.choice(("quantity = quantity + 1", "order_id = 'o' || length(book_id) || right(order_id, 1)"))
            return lambda rows: rows.execute(
                f"UPDATE fact_order_items SET {shift} WHERE order_item_id LIKE %s", (f"{self._prefix}i%",)
            )
        table, key, value = pick.choice((
            ("fact_orders", "order_id", order_id), ("fact_order_items", "order_item_id", f"{self._prefix}i{serial}"),
            ("dim_books", "book_id", book_id), ("fact_inventory", "book_id", book_id),
        ))  # fmt: skip
        return lambda rows: rows.execute(f"DELETE FROM {table} WHERE {key} = %s", (value,))
