"""What several tests share beside the fixtures."""

from typing import Any

# View to the tables that SPEC 7.3 reads for it.
DEPENDENCIES = {
    "mv_product_sales_volume": {"fact_orders", "fact_order_items", "dim_books"},
    "mv_sales_over_time": {"fact_orders", "fact_order_items", "dim_date"},
    "mv_revenue_by_author": {"fact_orders", "fact_order_items", "dim_books"},
    "mv_revenue_by_genre": {"fact_orders", "fact_order_items", "dim_books"},
    "mv_order_status_distribution": {"fact_orders"},
    "mv_inventory_health": {"fact_inventory", "dim_books"},
    "mv_avg_order_value": {"fact_orders", "dim_date"},
    "mv_top_books_by_revenue": {"fact_orders", "fact_order_items", "dim_books"},
    "mv_inventory_turnover": {"fact_inventory", "fact_orders", "fact_order_items", "dim_books"},
    "mv_book_price_distribution": {"dim_books"},
}


def order(rows: Any, order_id: str, total: str = "10.00", **columns: Any) -> None:
    """Upsert as Flink's sink does."""
    values = {
        "user_id": "someone", "status": "CONFIRMED", "currency": "USD", "order_date_key": 20260301,
        "created_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-01T10:00:00Z", **columns,
    }  # fmt: skip
    upsert(rows, "fact_orders", "order_id", order_id=order_id, total=total, **values)


def item(rows: Any, item_id: str, order_id: str, book_id: str, quantity: int, price: str) -> None:
    rows.execute(
        "INSERT INTO fact_order_items (order_item_id, order_id, book_id, quantity, price_at_purchase, line_total)"
        " VALUES (%s, %s, %s, %s, %s::numeric, %s * %s::numeric)",
        (item_id, order_id, book_id, quantity, price, quantity, price),
    )


def book(rows: Any, book_id: str, **columns: Any) -> None:
    values = {
        "title": f"Title {book_id}", "author": "Author", "isbn": None, "genre": "Genre", "price": "10.00",
        "published_year": 2000, "active": True, "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", **columns,
    }  # fmt: skip
    upsert(rows, "dim_books", "book_id", book_id=book_id, **values)


def stock(rows: Any, book_id: str, quantity: int, reserved: int = 0, threshold: int = 5) -> None:
    upsert(
        rows, "fact_inventory", "book_id", book_id=book_id, quantity=quantity, reserved=reserved,
        available=quantity - reserved, low_stock_threshold=threshold, updated_at="2026-03-01T10:00:00Z",
    )  # fmt: skip


def upsert(rows: Any, table: str, key: str, **values: Any) -> None:
    names = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in values)
    rows.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {changes}",
        list(values.values()),
    )


def view(rows: Any, name: str, order_by: str = "1") -> list[Any]:
    """Take what changed, refresh ``name``, and read it."""
    rows.execute("SELECT mv_collect()")
    rows.execute("SELECT mv_refresh(%s)", (name,))
    found: list[Any] = rows.execute(f"SELECT * FROM {name} ORDER BY {order_by}").fetchall()
    return found


def settle(rows: Any) -> None:
    """Nothing is dirty any more."""
    for (name,) in rows.execute("SELECT mv_collect()").fetchall():
        rows.execute("SELECT mv_refresh(%s)", (name,))
    assert rows.execute("SELECT mv_collect()").fetchall() == []


# What Flink makes of each source's rows (flink/sql), as COPY reads and writes it: source's SELECT, target's columns.
_FLINK = {
    "dim_books": (
        "SELECT id, title, author, isbn, coalesce(nullif(trim(genre), ''), 'Unknown'), price, published_year, active,"
        " created_at, updated_at FROM books",
        "book_id, title, author, isbn, genre, price, published_year, active, created_at, updated_at",
    ),
    "fact_orders": (
        "SELECT id, user_id, status, total, currency,"
        " extract(year FROM utc) * 10000 + extract(month FROM utc) * 100 + extract(day FROM utc),"
        " created_at, updated_at"
        " FROM (SELECT *, created_at AT TIME ZONE 'UTC' AS utc FROM orders) AS orders",
        "order_id, user_id, status, total, currency, order_date_key, created_at, updated_at",
    ),
    "fact_order_items": (
        "SELECT id, order_id, book_id, quantity, price_at_purchase, (quantity * price_at_purchase)::numeric(12, 2)"
        " FROM order_items",
        "order_item_id, order_id, book_id, quantity, price_at_purchase, line_total",
    ),
    "fact_inventory": (
        "SELECT book_id, quantity, reserved, quantity - reserved, low_stock_threshold, updated_at FROM inventory",
        "book_id, quantity, reserved, available, low_stock_threshold, updated_at",
    ),
}
_BOOKS = (
    ('A "quoted", (bracketed) title\\', "O'Neil, {A}", None, None, None),
    ("Žluťoučký kůň 漢字 🐎", "Naïve", "9790000000001", "   ", 1999),
    ("NULL", "", "9790000000002", " Padded ", 2100),
)


class Sources:
    """The two source databases with their real schemas, and analytics, which is filled as Flink would."""

    def __init__(self, ecom: Any, inventory: Any, analytics: Any) -> None:
        self.ecom = ecom
        self.inventory = inventory
        self.analytics = analytics

    def fill(self, orders: int) -> None:
        """Orders of two lines each, odd books, rows of probes; all of it settled long ago."""
        for title, author, isbn, genre, year in _BOOKS:
            self.ecom.execute(
                "INSERT INTO books (title, author, isbn, genre, price, published_year, created_at, updated_at)"
                " VALUES (%s, %s, %s, %s, 10, %s, '2026-01-01T00:00:00.000001Z', '2026-01-02T00:00:00Z')",
                (title, author, isbn, genre, year),
            )
        self.ecom.execute(
            "INSERT INTO books (id, title, author, price, created_at, updated_at)"
            " VALUES ('ffffffff-0000-0000-0000-000000000001', 'Probe', 'Probe', 1, '2026-01-01', '2026-01-01')"
        )
        self.ecom.execute(
            "INSERT INTO orders (id, user_id, status, total, shipping, created_at, updated_at)"
            " SELECT gen_random_uuid(), CASE WHEN number = 0 THEN 'cdc-probe' ELSE 'user ''' || number END,"
            " CASE number %% 3 WHEN 0 THEN 'CANCELLED' ELSE 'CONFIRMED' END, 29.97, '{}', moment, moment"
            " FROM (SELECT number, timestamptz '2026-03-01T23:59:59.999999Z' + number * interval '7.000001 s' AS moment"
            " FROM generate_series(0, %s) AS number) AS numbers",
            (orders,),
        )
        self.ecom.execute(
            "INSERT INTO order_items (order_id, book_id, title_at_purchase, quantity, price_at_purchase)"
            " SELECT orders.id, books.id, books.title, 1 + length(orders.user_id) %% 2, 9.99"
            " FROM orders, (SELECT id, title FROM books ORDER BY id LIMIT 2) AS books WHERE user_id <> %s",
            ("nobody",),
        )
        self.inventory.execute("ALTER TABLE inventory DISABLE TRIGGER inventory_touch")
        self.inventory.execute("UPDATE inventory SET updated_at = '2026-03-01T10:00:00.5Z'")
        self.inventory.execute("ALTER TABLE inventory ENABLE TRIGGER inventory_touch")

    def copy(self) -> None:
        """Bring analytics to the sources' present state."""
        for table, (select, columns) in _FLINK.items():
            source = self.inventory if table == "fact_inventory" else self.ecom
            with self.analytics.transaction():
                self.analytics.execute(f"TRUNCATE {table}")
                reading, writing = source.cursor(), self.analytics.cursor()
                with (
                    reading.copy(f"COPY ({select}) TO STDOUT") as taken,
                    writing.copy(f"COPY {table} ({columns}) FROM STDIN") as given,
                ):
                    for data in taken:
                        given.write(data)
