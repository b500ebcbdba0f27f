"""Books of the tests' own, and the removal of everything that tests leave in the databases."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from .signin import Shopper, body_of

# Runs SQL as the database's superuser and returns the rows as text.
Sql = Callable[[str], str]


def names(ids: Iterable[str]) -> str:
    """SQL list of ids; of none, a list that nothing is in."""
    return ", ".join(f"'{one}'" for one in ids) or "NULL"


class Goods:
    """Makes books as an administrator would; ``close`` removes them with everything that refers to them."""

    def __init__(self, admin: Shopper, ecom_sql: Sql, inventory_sql: Sql) -> None:
        self._admin = admin
        self._ecom_sql = ecom_sql
        self._inventory_sql = inventory_sql
        self._made: list[str] = []

    def book(self, copies: int, price: str = "10.00") -> dict[str, Any]:
        """A new book of which ``copies`` can be sold; the body of A-04."""
        new = {"title": f"Live {secrets.token_hex(6)}", "author": "A Test", "genre": "Live", "price": price, "initial_quantity": copies}
        made = body_of(self._admin.send("POST", "/admin/books", new))
        self._made.append(made["id"])
        assert made["stock_status"] != "pending", "the stock of a new book could not be set"
        return made

    def adopt(self, book_id: str) -> None:
        """Remove this book, too."""
        self._made.append(book_id)

    def law(self, book_id: str) -> str:
        """SQL for one row ``available|held|committed`` of a book, seen at one moment."""
        lines = f"SELECT quantity AS copies, status FROM reservations WHERE book_id = '{book_id}'"
        return f"""
            WITH lines AS ({lines})
            SELECT quantity - reserved,
                   (SELECT coalesce(sum(copies), 0) FROM lines WHERE status = 'HELD'),
                   (SELECT coalesce(sum(copies), 0) FROM lines WHERE status = 'COMMITTED')
            FROM inventory WHERE book_id = '{book_id}'
        """

    def orders(self, book_id: str) -> set[str]:
        """Ids of the orders of a book that are not cancelled."""
        rows = self._ecom_sql(
            f"SELECT o.id FROM orders o JOIN order_items i ON i.order_id = o.id WHERE i.book_id = '{book_id}' AND o.status <> 'CANCELLED'"
        )
        return set(rows.split())

    def held(self, book_id: str) -> set[str]:
        """Ids of the orders that hold copies of a book, or took them: the event of the order commits its hold."""
        taken = f"SELECT order_id FROM reservations WHERE book_id = '{book_id}' AND status IN ('HELD', 'COMMITTED')"
        return set(self._inventory_sql(taken).split())

    def close(self) -> None:
        """Leave no row behind: tests before and after count orders, books and stock."""
        remove(self._ecom_sql, self._inventory_sql, self._made)


def remove(ecom_sql: Sql, inventory_sql: Sql, made: list[str]) -> None:
    """Remove books with their stock and their orders; the books go last, for a run that is killed meanwhile to be swept up after."""
    books = names(made)
    ordered = f"SELECT order_id FROM order_items WHERE book_id IN ({books})"
    orders = names(ecom_sql(ordered).split())
    inventory_sql(f"""
        DELETE FROM reservations WHERE book_id IN ({books}) OR order_id IN ({orders});
        DELETE FROM stock_movements WHERE book_id IN ({books});
        DELETE FROM outbox_events WHERE aggregate_id IN ({orders}, {books});
        DELETE FROM inventory WHERE book_id IN ({books});
    """)
    ecom_sql(f"""
        DELETE FROM idempotency_keys WHERE EXISTS
            (SELECT FROM unnest(ARRAY[{books}]::text[]) AS made (id) WHERE response::text LIKE '%' || made.id || '%');
        DELETE FROM outbox_events WHERE aggregate_id IN ({orders}, {books});
        DELETE FROM order_items WHERE order_id IN ({orders});
        DELETE FROM orders WHERE id IN ({orders});
        DELETE FROM cart_items WHERE book_id IN ({books});
        DELETE FROM books WHERE id IN ({books});
    """)
