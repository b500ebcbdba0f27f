"""Captured tables refuse what the pipeline cannot carry, and rows from before are mended."""

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import psycopg
import pytest
from conftest import owner_connection
from ecom_testing import Caller, Connection, book
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bookstore_common.migrations import Migrations, migrate
from bookstore_common.settings import load_settings
from bookstore_common.testing.logs import LogStream
from bookstore_common.testing.postgres import Postgres
from ecom.migrate import migrations_folder
from ecom.settings import EcomMigrationSettings

ORDER = "20000000-0000-4000-8000-000000000001"
ITEM = "30000000-0000-4000-8000-000000000001"
_NEW = (
    f"INSERT INTO orders (id, user_id, status, total, shipping) VALUES ('{ORDER}', 'u', 'CONFIRMED', 1, '{{}}')",
    "INSERT INTO order_items (id, order_id, book_id, title_at_purchase, quantity, price_at_purchase)"
    f" VALUES ('{ITEM}', '{ORDER}', '{book(1)}', 't', 2, 7.50)",
    "INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload)"
    " VALUES (gen_random_uuid(), 'book', '1', 'book.created', '{}')",
)
NUMERIC = [("books", "price"), ("orders", "total"), ("order_items", "price_at_purchase")]
TIMES = [
    ("books", "created_at"), ("orders", "created_at"), ("orders", "updated_at"), ("outbox_events", "created_at"),
    ("cdc_heartbeat", "ts"),
]  # fmt: skip


@pytest.fixture
def rows(books: Connection) -> Connection:
    for statement in _NEW:
        books.execute(statement.encode())
    return books


@pytest.mark.parametrize(("table", "column"), NUMERIC)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "-0.01", "10000000000"])
def test_database_refuses_numbers(rows: Connection, table: str, column: str, value: str) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NumericValueOutOfRange)):
        rows.execute(f"UPDATE {table} SET {column} = '{value}'".encode())


def test_every_numeric_column_is_known(rows: Connection) -> None:
    """A new one needs its constraint, and its line above."""
    found = rows.execute(
        "SELECT c.table_name, c.column_name FROM information_schema.columns c JOIN pg_publication_tables p"
        " ON p.tablename = c.table_name WHERE c.table_schema = 'public'"
        " AND c.data_type IN ('numeric', 'real', 'double precision')"
    ).fetchall()
    assert sorted(found) == sorted(NUMERIC)


@pytest.mark.parametrize(("table", "column"), NUMERIC)
def test_scale_is_two(rows: Connection, table: str, column: str) -> None:
    rows.execute(f"UPDATE {table} SET {column} = 7.125".encode())
    assert rows.execute(f"SELECT DISTINCT {column}::text FROM {table}".encode()).fetchall() == [("7.13",)]


@pytest.mark.parametrize(("table", "column"), TIMES)
@pytest.mark.parametrize("value", ["infinity", "-infinity", "0001-01-01 BC", "9999-12-31"])
def test_database_refuses_times(rows: Connection, table: str, column: str, value: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        rows.execute(f"UPDATE {table} SET {column} = '{value}'".encode())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE books SET description = repeat('x', 20001)",
        "UPDATE books SET cover_url = repeat('x', 2001)",
        "UPDATE order_items SET quantity = 1000001",
        "UPDATE order_items SET quantity = 1000, price_at_purchase = 99999999.99",
        """UPDATE orders SET shipping = jsonb_build_object('name', repeat('x', 20000))""",
        """UPDATE outbox_events SET payload = jsonb_build_object('name', repeat('x', 300000))""",
    ],
)
def test_database_refuses_sizes(rows: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        rows.execute(statement.encode())


def test_all_rules_are_validated(books: Connection) -> None:
    left = books.execute("SELECT conname FROM pg_constraint WHERE NOT convalidated ORDER BY 1").fetchall()
    assert left == []


@pytest.fixture
def before(roles: Postgres, empty: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, Any]]:
    """A database before the constraints with an order, and the call that migrates it to the end."""
    for name, value in roles.environment("ecom_owner", empty).items():
        monkeypatch.setenv(name, value)
    migration_settings, migrations = load_settings(EcomMigrationSettings), Migrations(migrations_folder())
    migrate(migrations, migration_settings, "upgrade", "0005")
    with owner_connection(roles, empty) as connection:
        for statement in _NEW:
            connection.execute(statement.encode())
        yield connection, lambda: migrate(migrations, migration_settings, "upgrade", "head")


def test_rows_from_before_are_mended(before: tuple[Connection, Any], log_stream: LogStream) -> None:
    connection, upgrade = before
    for statement in (
        f"UPDATE books SET price = 'NaN', created_at = '-infinity' WHERE id IN ('{book(1)}', '{book(2)}')",
        f"UPDATE books SET description = repeat('é', 30000), cover_url = repeat('x', 3000) WHERE id = '{book(3)}'",
        "INSERT INTO order_items (order_id, book_id, title_at_purchase, quantity, price_at_purchase)"
        f" VALUES ('{ORDER}', '{book(4)}', 't', 500, 'NaN')",
        "UPDATE orders SET total = 'NaN', created_at = 'infinity',"
        " shipping = jsonb_build_object('name', repeat('x', 20000), 'city', 'Rome', 'other', 1)",
        "UPDATE cdc_heartbeat SET ts = 'infinity'",
        "UPDATE outbox_events SET created_at = 'infinity'",
    ):
        connection.execute(statement.encode())
    other = connection.execute(f"SELECT price FROM books WHERE id = '{book(4)}'".encode()).fetchone()
    assert other is not None
    upgrade()
    found = connection.execute(
        f"SELECT price, active, isfinite(created_at) FROM books WHERE id <= '{book(2)}' ORDER BY id".encode()
    ).fetchall()
    # The price it was last sold at; the lowest there is.
    assert found == [(Decimal("7.50"), False, True), (Decimal("0.01"), False, True)]
    sizes = connection.execute(
        f"SELECT char_length(description), cover_url, active FROM books WHERE id = '{book(3)}'".encode()
    ).fetchone()
    assert sizes == (20000, None, True)
    assert connection.execute("SELECT count(*) FROM books WHERE NOT active").fetchone() == (2,)
    line = connection.execute(
        f"SELECT quantity, price_at_purchase FROM order_items WHERE book_id = '{book(4)}'".encode()
    ).fetchone()
    assert line == (99, other[0])
    order = connection.execute("SELECT total, isfinite(created_at), shipping FROM orders").fetchone()
    assert order == (2 * Decimal("7.50") + 99 * other[0], True, {"name": "x" * 255, "city": "Rome"})
    assert connection.execute("SELECT count(*) FROM outbox_events").fetchone() == (0,)
    told = {
        entry["table"]: entry["rows"]
        for entry in log_stream.events()
        if entry["event"] in {"rows_mended", "rows_deleted"}
    }
    assert set(told) == {"books", "orders", "order_items", "cdc_heartbeat", "outbox_events"}
    assert told["books"] == [book(1), book(2), book(3)]


def test_good_rows_stay_as_they_are(before: tuple[Connection, Any]) -> None:
    connection, upgrade = before
    read = "SELECT to_jsonb(b) FROM books b ORDER BY id"
    books, orders = connection.execute(read.encode()).fetchall(), connection.execute("SELECT * FROM orders").fetchall()
    upgrade()
    assert connection.execute(read.encode()).fetchall() == books
    assert connection.execute("SELECT * FROM orders").fetchall() == orders


def test_a_stopped_migration_starts_again(before: tuple[Connection, Any]) -> None:
    """Its statements are transactions of their own; what it had done must not be in its way."""
    connection, upgrade = before
    connection.execute(
        "ALTER TABLE books DROP CONSTRAINT books_price_check,"
        " ADD CONSTRAINT books_price_check CHECK (price BETWEEN 0.01 AND 99999999.99) NOT VALID"
    )
    upgrade()
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE books SET price = 'NaN'")


@pytest.mark.anyio
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(price=st.decimals() | st.decimals(allow_nan=False, allow_infinity=False, places=2) | st.just(Decimal("sNaN")))
async def test_no_answer_ever_says_nan(
    shop: httpx2.AsyncClient, customer: Caller, books: Connection, price: Decimal
) -> None:
    """Whatever price the database takes, catalogue and cart answer with an amount."""
    await customer.add(11)
    value = str(price).replace("s", "")
    with contextlib.suppress(psycopg.Error):
        books.execute("UPDATE books SET price = %s::text::numeric WHERE id = %s", [value, book(11)])
    for response in (await shop.get(f"/ecom/books/{book(11)}"), await customer.get("/ecom/cart")):
        assert response.status_code == 200
        assert "nan" not in response.text.lower()
        body = response.json()
        amount = Decimal(body["price"] if "price" in body else body["items"][0]["price"])
        assert Decimal("0.01") <= amount <= Decimal("99999999.99")
