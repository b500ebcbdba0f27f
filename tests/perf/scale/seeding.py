"""Rows of a shop with a history, written into the sources by SQL: the same rows for the same numbers, on any platform.

Ids say what a row is: ``5ca1eb00-...`` a book, ``5ca1e000-...`` an order, ``5ca1e001-...`` and ``5ca1e002-...`` its two lines, the
last twelve digits its number. Users are ``scale-0`` to ``scale-9999``. Orders are spread over the 365 days before today. No event is
written: no worker has anything to do with these orders, and their books' copies are not held by them.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.live.signin import SHIPPING
from tests.perf.psql_session import Session

ORDER, LINES, BOOK = "5ca1e000", ("5ca1e001", "5ca1e002"), "5ca1eb00"
MOST_ORDERS = 10_000_000
# Rows of one transaction, as an import has them.
PER_TRANSACTION = 10_000
# A word that every tenth title has, and one that all have.
FREQUENT, EVERYWHERE = "harbour", "volume"


def row_id(prefix: str, number: str) -> str:
    """SQL for the id of row ``number`` (SQL of an integer)."""
    return f"('{prefix}-0000-4000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid"


def uuid_of(prefix: str, number: int) -> str:
    """The same as text."""
    return f"{prefix}-0000-4000-8000-{number:012x}"


def _price(book: str) -> str:
    return f"((500 + ({book}) * 37 % 6000) / 100.0)::numeric(10, 2)"


def books_sql(books: int) -> str:
    """SQL for the books of ecom."""
    return f"""
        INSERT INTO books (id, title, author, genre, price, published_year)
        SELECT {row_id(BOOK, "n")},
               'Volume ' || n || CASE n % 10 WHEN 0 THEN ' of the Harbour' ELSE ' of the Sea' END,
               'Author ' || n % ({books} / 10 + 1), 'Genre ' || n % 12, {_price("n")}, 1950 + n % 75
        FROM generate_series(0, {books - 1}) AS n;"""


def stock_sql(books: int) -> str:
    """SQL for the copies of inventory; 1 in 40 is low, 1 in 100 out of stock."""
    return f"""
        INSERT INTO inventory (book_id, quantity)
        SELECT {row_id(BOOK, "n")}, CASE WHEN n % 100 = 0 THEN 0 WHEN n % 40 = 0 THEN 3 ELSE 50 END
        FROM generate_series(0, {books - 1}) AS n;"""


def orders_sql(start: int, end: int, books: int) -> str:
    """SQL for orders ``start`` to ``end`` - 1 with two lines each, in one transaction."""
    first, second = f"n * 31 % {books}", f"(n * 31 + 1 + n % 97) % {books}"
    return f"""
        BEGIN;
        INSERT INTO orders (id, user_id, status, total, shipping, created_at, updated_at)
        SELECT {row_id(ORDER, "n")}, 'scale-' || n % 10000,
               (ARRAY['CONFIRMED', 'SHIPPED', 'DELIVERED', 'DELIVERED', 'DELIVERED', 'CANCELLED'])[1 + n % 6],
               {_price(first)} * (1 + n % 3) + {_price(second)}, '{json.dumps(SHIPPING)}', placed, placed
        FROM generate_series({start}, {end - 1}) AS n,
             LATERAL (SELECT date_trunc('day', now()) - n::bigint * 7919 % 525600 * interval '1 minute' AS placed) AS times;
        INSERT INTO order_items (id, order_id, book_id, title_at_purchase, quantity, price_at_purchase)
        SELECT {row_id(LINES[0], "n")}, {row_id(ORDER, "n")}, {row_id(BOOK, first)}, 'Volume', 1 + n % 3, {_price(first)}
        FROM generate_series({start}, {end - 1}) AS n
        UNION ALL
        SELECT {row_id(LINES[1], "n")}, {row_id(ORDER, "n")}, {row_id(BOOK, second)}, 'Volume', 1, {_price(second)}
        FROM generate_series({start}, {end - 1}) AS n;
        COMMIT;"""


class Shop:
    """The seeded rows of both sources. PsqlError when a statement fails; ``remove`` may be called at any time."""

    def __init__(self, ecom: Session, inventory: Session, books: int) -> None:
        self.orders = 0
        self.books = books
        self._ecom, self._inventory = ecom, inventory

    def open(self) -> None:
        """Write the books and their copies."""
        self._ecom.run(books_sql(self.books))
        self._inventory.run(stock_sql(self.books))

    def grow(self, orders: int, tick: Callable[[int], None]) -> None:
        """Write orders until there are ``orders``; ``tick`` is called with their number after each transaction."""
        while self.orders < orders:
            end = min(self.orders + PER_TRANSACTION, orders)
            self._ecom.run(orders_sql(self.orders, end, self.books))
            self.orders = end
            tick(end)

    def remove(self, tick: Callable[[str, int], None]) -> None:
        """Delete all that this module writes, whoever left it, in transactions of bounded size."""
        for session, table, column, prefixes in (
            (self._ecom, "order_items", "id", LINES), (self._ecom, "orders", "id", (ORDER,)),
            (self._ecom, "books", "id", (BOOK,)), (self._inventory, "inventory", "book_id", (BOOK,)),
        ):  # fmt: skip
            for prefix in prefixes:
                low, high = f"'{prefix}-0000-4000-8000-000000000000'", f"'{prefix}-ffff-ffff-ffff-ffffffffffff'"
                gone = 1
                while gone:
                    query = (
                        f"WITH first AS (SELECT {column} FROM {table} WHERE {column} BETWEEN {low} AND {high} ORDER BY 1"
                        f" LIMIT {2 * PER_TRANSACTION}), gone AS (DELETE FROM {table} WHERE {column} IN (SELECT * FROM first)"
                        " RETURNING 1) SELECT count(*) FROM gone;"
                    )
                    gone = int(session.run(query)[-1])
                    tick(table, gone)
        self.orders = 0
