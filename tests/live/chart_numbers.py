"""What each of the 16 charts has to show, computed from the source databases alone (SPEC 7.3, 8)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .dashboards import Row, rounded
from .goods import Sql

REAL = "o.user_id <> 'cdc-probe'"
VALID = f"{REAL} AND o.status <> 'CANCELLED'"
# As mv-refresher's migration 0008 makes it, here by counting instead of grouping.
LABELS = """(
    SELECT id, plain || CASE WHEN count(*) OVER (PARTITION BY plain) = 1 THEN ')'
                             ELSE ', ' || coalesce(isbn, right(id::text, 12)) || ')' END AS label
    FROM (SELECT id, isbn, title || ' (' || author AS plain FROM books WHERE id::text NOT LIKE 'ffffffff%') AS named
) AS l"""
LINES = f"""
    FROM orders o JOIN order_items i ON i.order_id = o.id JOIN books b ON b.id = i.book_id JOIN {LABELS} ON l.id = b.id
    WHERE {VALID} AND b.id::text NOT LIKE 'ffffffff%'"""
EARNED = "sum(i.quantity * i.price_at_purchase)"
GENRE = "coalesce(nullif(btrim(b.genre), ''), 'Unknown')"
DAY = "(o.created_at AT TIME ZONE 'UTC')::date"
PRICES = """CASE WHEN price < 10 THEN 'under 10' WHEN price < 20 THEN '10-19.99' WHEN price < 30 THEN '20-29.99'
                 WHEN price < 50 THEN '30-49.99' ELSE '50 and over' END"""


@dataclass(frozen=True)
class Sources:
    """The two source databases."""

    ecom: Sql
    inventory: Sql

    def orders(self, query: str) -> list[Row]:
        """The rows of a query of ecomdb."""
        return rows_of(self.ecom, query)

    def stock(self) -> list[Row]:
        """Stock with its book: the two are in two databases."""
        named = f"SELECT b.id, l.label, {GENRE} AS genre FROM books b JOIN {LABELS} ON l.id = b.id"
        books = {row["id"]: row for row in rows_of(self.ecom, named)}
        counts = rows_of(self.inventory, """
            SELECT book_id, quantity, reserved, quantity - reserved AS available, low_stock_threshold,
                   CASE WHEN quantity <= reserved THEN 'out' WHEN quantity - reserved <= low_stock_threshold THEN 'low' ELSE 'in' END
                       AS stock_status
            FROM inventory WHERE book_id::text NOT LIKE 'ffffffff%'""")  # fmt: skip
        return [{**books[row["book_id"]], **row} for row in counts if row["book_id"] in books]


def rows_of(sql: Sql, query: str) -> list[Row]:
    """The rows of a query."""
    found: list[Row] = json.loads(sql(f"SELECT coalesce(json_agg(q), '[]') FROM ({query}) q"))
    return found


@dataclass(frozen=True)
class Expected:
    """All rows of a chart as its sources say; ``by`` names them, a chart with a ``limit`` shows those with the largest ``metric``."""

    rows: Callable[[Sources], list[Row]]
    by: str = ""
    limit: int = 0
    metric: str = ""

    def faults(self, sources: Sources, shown: list[Row]) -> list[str]:
        """Return in words where a chart is wrong."""
        wanted, found = [{self.name(row): plain(row) for row in rows} for rows in (self.rows(sources), shown)]
        told = [f"{name}: shows {row}, expected {wanted.get(name)}" for name, row in found.items() if row != wanted.get(name)]
        if not self.limit:
            return told + [f"{name}: is not shown, expected {row}" for name, row in wanted.items() if name not in found]
        # Which of equal ones are shown is nobody's promise.
        best = sorted((row[self.metric] or Decimal(0) for row in wanted.values()), reverse=True)[: self.limit]
        there = sorted((row[self.metric] or Decimal(0) for row in found.values()), reverse=True)
        return told + ([] if there == best else [f"{self.metric} of the first {self.limit}: shows {there}, expected {best}"])

    def name(self, row: Row) -> str:
        """What tells a row from others."""
        return str(plain(row).get(self.by, ""))


def plain(row: Row) -> Row:
    """Numbers with two decimals, days as text: Superset gives them out as milliseconds."""
    return {name: value_of(name, value) for name, value in row.items()}


def value_of(name: str, value: Any) -> Any:
    """See :func:`plain`."""
    if name in ("sale_date", "order_date"):
        return value[:10] if isinstance(value, str) else day_of(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return rounded(value)
    return value


def day_of(milliseconds: float) -> str:
    """The day in UTC of a time since the epoch."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()


def summed(rows: list[Row], by: str, **columns: str) -> list[Row]:
    """Group rows; ``columns``: new name to the one that is added up."""
    groups: dict[str, Row] = {}
    for row in rows:
        group = groups.setdefault(row[by], {by: row[by], **dict.fromkeys(columns, 0)})
        for name, column in columns.items():
            group[name] += row[column]
    return list(groups.values())


def lines(columns: str, group: str) -> Callable[[Sources], list[Row]]:
    """Rows of valid order lines by ``group``."""
    return lambda sources: sources.orders(f"SELECT {columns} {LINES} GROUP BY {group}")


def orders(columns: str, group: str = "", where: str = VALID) -> Callable[[Sources], list[Row]]:
    """Rows of orders by ``group``, or one row."""
    return lambda sources: sources.orders(f"SELECT {columns} FROM orders o WHERE {where} {f'GROUP BY {group}' if group else ''}")


def top_books(sources: Sources) -> list[Row]:
    """C-04: the first ten by revenue; of equal ones as people sort titles and authors."""
    order = f'{EARNED} DESC, b.title COLLATE "und-x-icu", b.author COLLATE "und-x-icu", b.id'
    return sources.orders(f"SELECT l.label, {EARNED} AS total_revenue {LINES} GROUP BY b.id, l.label ORDER BY {order} LIMIT 10")


def turnover(sources: Sources) -> list[Row]:
    """C-13: units sold as a share of units sold and in stock."""
    sold = {row["id"]: row["units"] for row in sources.orders(f"SELECT b.id, sum(i.quantity) AS units {LINES} GROUP BY b.id")}
    rows = [{**row, "units": sold.get(row["book_id"], 0)} for row in sources.stock()]
    return [
        # Nothing sold and nothing there: a bar of no length, not one that takes the place of another.
        {"label": row["label"], "turnover": 100 * row["units"] / max(1, row["units"] + row["quantity"])}
        for row in rows
    ]


def health(sources: Sources) -> list[Row]:
    """C-11: the stock of each book."""
    names = ("label", "genre", "quantity", "reserved", "available", "low_stock_threshold", "stock_status")
    return [{name: row[name] for name in names} for row in sources.stock()]


REVENUE = f"{EARNED} AS total_revenue"
CHARTS = {
    "Product Sales Volume": Expected(lines("l.label, sum(i.quantity) AS total_units", "l.label"), "label", 20, "total_units"),
    "Sales Over Time": Expected(orders(f"{DAY} AS sale_date, sum(o.total) AS total_revenue", DAY), "sale_date"),
    "Revenue by Author": Expected(lines(f"b.author, {REVENUE}", "b.author"), "author", 15, "total_revenue"),
    "Top Books by Revenue": Expected(top_books, "label"),
    "Book Price Distribution": Expected(
        lambda sources: sources.orders(
            f"SELECT {PRICES} AS price_range, count(*) AS total_books FROM books WHERE active AND id::text NOT LIKE 'ffffffff%' GROUP BY 1"
        ),
        "price_range",
    ),
    "Total Revenue KPI": Expected(orders("coalesce(sum(o.total), 0) AS total_revenue")),
    "Total Orders KPI": Expected(orders("count(*) AS total_orders")),
    "Average Order Value KPI": Expected(orders("sum(o.total) / nullif(count(*), 0) AS average_order_value")),
    "Order Status Distribution": Expected(orders("o.status, count(*) AS total_orders", "o.status", REAL), "status"),
    "Average Order Value Over Time": Expected(
        orders(f"{DAY} AS order_date, sum(o.total) / count(*) AS average_order_value", DAY), "order_date"
    ),
    "Inventory Health Table": Expected(health, "label"),
    "Stock vs Reserved": Expected(
        lambda sources: summed(sources.stock(), "label", total_quantity="quantity", total_reserved="reserved"),
        "label", 15, "total_reserved",
    ),
    "Inventory Turnover Rate": Expected(turnover, "label", 20, "turnover"),
    "Revenue by Genre": Expected(lines(f"{GENRE} AS genre, {REVENUE}", "1"), "genre"),
    "Stock Status Distribution": Expected(
        lambda sources: summed([{**row, "one": 1} for row in sources.stock()], "stock_status", books="one"), "stock_status"
    ),
    "Revenue Share by Genre": Expected(lines(f"{GENRE} AS genre, {REVENUE}", "1"), "genre"),
}  # fmt: skip
