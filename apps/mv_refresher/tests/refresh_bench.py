"""What a round of the refresher costs, against the number of orders; prints a table in Markdown. No test, run by hand:

nice python tests/refresh_bench.py --orders 10000 --orders 100000 [--revision 0008]

with PYTHONPATH=src:tests:../common/src. Books 20,000, lines two for each order. ``--revision 0008`` measures the views
that were computed from all orders. A server of its own, without fsync, in the folder for temporary files (TMPDIR).
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import psycopg
from conftest import APP, CDC, OWNER, RO, SUPERSET, grant_defaults, migration_settings

from bookstore_common.migrations import Migrations, migrate
from bookstore_common.testing import postgres as server_module
from bookstore_common.testing.postgres import Postgres, running_postgres
from mv_refresher.migrate import migrations_folder

BOOKS, ROUNDS = 20_000, 3
_ID = "'{kind}0000000-0000-4000-8000-' || lpad(to_hex({number}), 12, '0')"
# As arrived: books and orders in no order of their keys.
_FILL = (
    f"""
    INSERT INTO dim_books (book_id, title, author, isbn, genre, price, published_year, active, created_at, updated_at)
    SELECT {_ID.format(kind="b", number="number")}, 'A title of some words, volume ' || number / 2,
           'Author number ' || number % 3000, NULL, 'Genre ' || number % 40, 10 + number % 50, 2000, true, now(), now()
    FROM generate_series(1, {BOOKS}) AS number ORDER BY md5(number::text)""",
    """
    INSERT INTO fact_inventory (book_id, quantity, reserved, available, low_stock_threshold, updated_at)
    SELECT book_id, 100, 0, 100, 5, now() FROM dim_books""",
    """
    INSERT INTO fact_orders (order_id, user_id, status, total, currency, order_date_key, created_at, updated_at)
    SELECT gen_random_uuid()::text, 'someone', CASE number % 20 WHEN 0 THEN 'CANCELLED' ELSE 'CONFIRMED' END, 29.97,
           'USD', to_char(moment, 'YYYYMMDD')::int, moment, moment
    FROM (SELECT number, timestamptz '2024-01-01Z' + number % 1000 * interval '1 day' AS moment
          FROM generate_series(1, {orders}) AS number) AS numbers""",
    f"""
    INSERT INTO fact_order_items (order_item_id, order_id, book_id, quantity, price_at_purchase, line_total)
    SELECT gen_random_uuid()::text, order_id, {_ID.format(kind="b", number=f"1 + (hash + line * 7919) % {BOOKS}")},
           1 + line, 9.99, (1 + line) * 9.99
    FROM (SELECT order_id, hashtext(order_id)::bigint & 1048575 AS hash FROM fact_orders) AS orders,
         generate_series(0, 1) AS line""",
)


def step(owner: Any, statement: str) -> float:
    began = time.monotonic()
    owner.execute(statement)
    return time.monotonic() - began


def change(app: Any, serial: int) -> None:
    """An order with two lines and its stock, as it comes from Flink: three tables, three transactions."""
    app.execute(
        "INSERT INTO fact_orders (order_id, user_id, status, total, currency, order_date_key, created_at, updated_at)"
        " VALUES (%s, 'someone', 'CONFIRMED', 9.99, 'USD', 20260301, '2026-03-01Z', now())", (f"new-{serial}",),
    )  # fmt: skip
    app.execute(
        "INSERT INTO fact_order_items (order_item_id, order_id, book_id, quantity, price_at_purchase, line_total)"
        f" SELECT %s::text || line, %s, {_ID.format(kind='b', number='line')}, 1, 9.99, 9.99"
        " FROM generate_series(%s::int, %s::int) AS line",
        (f"line-{serial}-", f"new-{serial}", 100 + serial, 101 + serial),
    )
    app.execute(
        "UPDATE fact_inventory SET quantity = quantity - 1, available = available - 1"
        f" WHERE book_id = {_ID.format(kind='b', number='%s::int')}", (100 + serial,),
    )  # fmt: skip


def backlog(app: Any, summaries: bool) -> dict[str, float]:
    """20,000 orders and their 40,000 lines, 1000 rows a statement, and what it takes to sum them up."""
    began = time.monotonic()
    for first in range(0, 20_000, 1000):
        app.execute(
            "INSERT INTO fact_orders"
            " (order_id, user_id, status, total, currency, order_date_key, created_at, updated_at)"
            " SELECT md5(number::text), 'someone', 'CONFIRMED', 1, 'USD', 20260301, '2026-03-01Z', now()"
            " FROM generate_series(%s::int, %s::int) AS number", (first, first + 999),
        )  # fmt: skip
        for line in range(2):
            app.execute(
                "INSERT INTO fact_order_items"
                " (order_item_id, order_id, book_id, quantity, price_at_purchase, line_total)"
                f" SELECT md5(%s || 'line' || number), md5(number::text), {_ID.format(kind='b', number='1 + number')},"
                " 1, 1, 1 FROM generate_series(%s::int, %s::int) AS number", (line, first, first + 999),
            )  # fmt: skip
    found = {"backlog of 60,000 rows: written": time.monotonic() - began}
    if summaries:
        began = time.monotonic()
        while app.execute("SELECT mv_apply(5000)").fetchone()[0] >= 5000:
            pass
        found["backlog of 60,000 rows: summed up"] = time.monotonic() - began
        began = time.monotonic()
        app.execute("SELECT mv_audit_orders(2000)")
        found["audit of 2000 orders"] = time.monotonic() - began
        began = time.monotonic()
        app.execute("SELECT mv_audit_sums()")
        found["audit of all sums"] = time.monotonic() - began
    return found


def measure(server: Postgres, orders: int, revision: str) -> dict[str, float]:
    """Seconds of each step."""
    found: dict[str, float] = {}
    database = server.create_database(OWNER)
    grant_defaults(server, database)
    migrations, settings = Migrations(migrations_folder()), migration_settings(server, database)
    settings = settings.model_copy(update={"migration_statement_timeout_seconds": 3600})
    migrate(migrations, settings, "upgrade", "0008")
    with server.connect(database) as owner:
        owner.execute("SET synchronous_commit = off")
        for statement in _FILL:
            owner.execute(statement.format(orders=orders).encode())
        owner.execute("VACUUM ANALYZE")
    began = time.monotonic()
    migrate(migrations, settings, "upgrade", revision)
    found["migration"] = time.monotonic() - began
    app = psycopg.connect(
        host="127.0.0.1", port=server.port, dbname=database, user=APP, autocommit=True,
        password=server.role_passwords[APP],
    )  # fmt: skip
    views = [name for (name,) in app.execute("SELECT mv_name FROM mv_refresh_state ORDER BY 1").fetchall()]
    app.execute("SELECT mv_collect()")
    for view in views:
        app.execute("SELECT mv_refresh(%s)", (view,))
    rounds: dict[str, list[float]] = {}
    for serial in range(ROUNDS):
        change(app, serial)
        rounds.setdefault("collect", []).append(step(app, "SELECT mv_collect()"))
        for view in views:
            rounds.setdefault(view, []).append(step(app, f"SELECT mv_refresh('{view}')"))
    found |= {name: statistics.median(times) for name, times in rounds.items()}
    found["round"] = sum(found[name] for name in ("collect", *views))
    found |= backlog(app, revision != "0008")
    with server.connect(database) as owner:
        size = owner.execute("SELECT pg_database_size(current_database()) / 1048576.0").fetchone()
    found["MiB"] = float(str(size[0])) if size else 0.0
    app.close()
    server.drop_database(database)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, action="append", required=True)
    parser.add_argument("--revision", default="head")
    options = parser.parse_args()
    # On disk: it is to be measured, and may be large.
    server_module._memory_folder = lambda: None
    with running_postgres() as server:
        for role in (OWNER, APP, RO, CDC, SUPERSET):
            server.create_role(role)
        columns = {number: measure(server, number, options.revision) for number in options.orders}
    names = list(next(iter(columns.values())))
    print(f"| ms | {' | '.join(f'{number:,} orders' for number in columns)} |")  # noqa: T201
    print(f"|---|{'---:|' * len(columns)}")  # noqa: T201
    for name in names:
        values = [found[name] if name == "MiB" else found[name] * 1000 for found in columns.values()]
        print(f"| {name} | {' | '.join(f'{value:,.0f}' for value in values)} |")  # noqa: T201


if __name__ == "__main__":
    assert Path("src").is_dir(), "run in apps/mv_refresher"
    main()
