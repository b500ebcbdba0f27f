"""What holds between the sources and analytics once everything has arrived (SPEC 7.2, 7.3), as rows and sums, not as counts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .goods import Sql

# The same text on both sides: times in microseconds, numbers with their own scale, fields in one order.
ROWS = "md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '')) || ' of ' || count(*)"


def micros(column: str) -> str:
    """SQL for a timestamp in microseconds since the epoch."""
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


def digest(table: str, *columns: str) -> str:
    """SQL for one value that differs when any row of a table does."""
    return f"(SELECT {ROWS} FROM (SELECT concat_ws('|', {', '.join(columns)}) AS line FROM {table}) AS lines)"


ORDERS = ("user_id", "status", "total", "currency", micros("created_at"), micros("updated_at"))
ITEMS = ("order_id", "book_id", "quantity", "price_at_purchase")
BOOKS = ("title", "author", "isbn", "price", "published_year", "active", micros("created_at"), micros("updated_at"))
STOCK = ("book_id", "quantity", "reserved", "low_stock_threshold", micros("updated_at"))
GENRE = "coalesce(nullif(btrim(genre), ''), 'Unknown')"

ECOM = f"""SELECT json_build_object(
    'orders', {digest("orders", "id", *ORDERS)},
    'order_items', {digest("order_items", "id", *ITEMS, "quantity * price_at_purchase")},
    'books', {digest("books", "id", GENRE, *BOOKS)},
    'revenue', (SELECT coalesce(sum(total), 0)::text FROM orders WHERE status <> 'CANCELLED'),
    'units', (SELECT coalesce(sum(quantity), 0)::text FROM order_items i
              JOIN orders o ON o.id = i.order_id WHERE o.status <> 'CANCELLED'))"""
INVENTORY = f"""SELECT json_build_object(
    'inventory', {digest("inventory", *STOCK, "quantity - reserved")},
    'copies', (SELECT coalesce(sum(quantity), 0)::text FROM inventory))"""
# Facts, dimensions and what the views say of them.
ANALYTICS = f"""SELECT json_build_object(
    'orders', {digest("fact_orders", "order_id", *ORDERS)},
    'order_items', {digest("fact_order_items", "order_item_id", *ITEMS, "line_total")},
    'books', {digest("dim_books", "book_id", "genre", *BOOKS)},
    'inventory', {digest("fact_inventory", *STOCK, "available")},
    'revenue', (SELECT coalesce(sum(revenue), 0)::text FROM mv_sales_over_time),
    'units', (SELECT coalesce(sum(units_sold), 0)::text FROM mv_product_sales_volume),
    'copies', (SELECT coalesce(sum(quantity), 0)::text FROM mv_inventory_health))"""


@dataclass(frozen=True)
class Laws:
    """Compares the two source databases with analytics."""

    ecom: Sql
    inventory: Sql
    analytics: Sql

    def broken(self) -> list[str]:
        """Return each law that does not hold now, with both values."""
        sources: dict[str, Any] = {**json.loads(self.ecom(ECOM)), **json.loads(self.inventory(INVENTORY))}
        found: dict[str, Any] = json.loads(self.analytics(ANALYTICS))
        return [f"{name}: source {sources[name]}, analytics {found[name]}" for name in sources if sources[name] != found[name]]

    def broken_stock(self, books: list[str]) -> list[str]:
        """Return each of these books whose copies are not what its movements and its orders say.

        Once every event has taken effect nothing is held any more: a hold that stays belongs to an order whose event was lost.
        """
        ids = ", ".join(f"'{one}'" for one in books)
        rows = self.inventory(f"""
            SELECT book_id, quantity, reserved,
                   (SELECT coalesce(sum(delta), 0) FROM stock_movements m WHERE m.book_id = i.book_id),
                   (SELECT coalesce(sum(reserved_delta), 0) FROM stock_movements m WHERE m.book_id = i.book_id),
                   (SELECT coalesce(sum(quantity), 0) FROM reservations r WHERE r.book_id = i.book_id AND status = 'HELD'),
                   (SELECT coalesce(sum(quantity), 0) FROM reservations r WHERE r.book_id = i.book_id AND status = 'COMMITTED')
            FROM inventory i WHERE book_id IN ({ids})""").splitlines()
        sold = dict(line.split("|") for line in self.ecom(f"""
            SELECT book_id, sum(quantity) FROM order_items i JOIN orders o ON o.id = i.order_id
            WHERE o.status <> 'CANCELLED' AND book_id IN ({ids}) GROUP BY book_id""").splitlines())  # fmt: skip
        faults = []
        for row in rows:
            book, *numbers = row.split("|")
            quantity, reserved, moved, moved_reserved, held, committed = map(int, numbers)
            if (quantity, reserved) != (moved, moved_reserved) or (reserved, held) != (0, 0) or committed != int(sold.get(book, 0)):
                faults.append(
                    f"book {book}: {quantity} copies and {reserved} reserved, by movements {moved} and {moved_reserved}; "
                    f"{held} held and {committed} committed for {sold.get(book, 0)} sold"
                )
        return faults


def set_aside(topics: dict[str, dict[str, int]]) -> list[str]:
    """Return each dead-letter topic that holds an event. ``topics``: as the broker describes them."""
    held = {name: topic["end"] - topic["begin"] for name, topic in topics.items() if name.endswith(".dlq")}
    return [f"{name}: {count} events could not be applied" for name, count in held.items() if count]
