"""What is old is kept small, and every law still holds."""

import concurrent.futures
import uuid
from typing import Any

import psycopg
import pytest
from inventory_testing import book, order

from bookstore_common.chores import Housekeeping
from bookstore_common.metrics import Metrics
from bookstore_common.testing.postgres import Postgres
from inventory.app import Service
from inventory.worker import __main__ as process

pytestmark = pytest.mark.anyio
_LINES = "SELECT delta, reserved_delta, reason, actor FROM stock_movements WHERE book_id = %s ORDER BY id"


def move(rows: Any, number: int, delta: int, reserved: int, days: int, reason: str = "set") -> None:
    """A movement of so many days ago, and its book's row."""
    rows.execute(
        "INSERT INTO stock_movements (book_id, delta, reserved_delta, reason, actor, created_at)"
        " VALUES (%s, %s, %s, %s, 'x', now() - make_interval(days => %s))",
        (book(number), delta, reserved, reason, days),
    )
    rows.execute(
        "UPDATE inventory SET quantity = quantity + %s, reserved = reserved + %s WHERE book_id = %s",
        (delta, reserved, book(number)),
    )


def connect(roles: Postgres, role: str, database: str) -> Any:
    return psycopg.connect(
        host="127.0.0.1",
        port=roles.port,
        dbname=database,
        user=role,
        password=roles.role_passwords[role],
        autocommit=True,
    )


async def chores(service: Service) -> None:
    assert await Housekeeping(service.database, Metrics(), process.CHORES).round()


def sums(rows: Any) -> list[Any]:
    found: list[Any] = rows.execute(
        "SELECT i.book_id, quantity, reserved, coalesce(sum(delta), 0), coalesce(sum(reserved_delta), 0)"
        " FROM inventory i"
        " LEFT JOIN stock_movements m USING (book_id) GROUP BY 1, 2, 3 ORDER BY 1"
    ).fetchall()
    assert all((quantity, reserved) == (moved, held) for _, quantity, reserved, moved, held in found)
    return found


async def test_old_movements_become_one_line_and_the_sums_stay(service: Service, rows: Any) -> None:
    rows.execute("UPDATE stock_movements SET created_at = now() - interval '100 days'")
    move(rows, 1, 5, 0, 95)
    move(rows, 1, -3, 0, 92, "opening")
    move(rows, 1, 7, 0, 89)
    move(rows, 1, 1, 0, 0)
    # What comes to nothing leaves no line.
    move(rows, 30, 4, 0, 99)
    move(rows, 30, -4, 0, 98)
    before = sums(rows)
    await chores(service)
    assert sums(rows) == before
    assert rows.execute(_LINES, [book(1)]).fetchall() == [
        (52, 0, "opening", "inventory-worker"), (7, 0, "set", "x"), (1, 0, "set", "x"),
    ]  # fmt: skip
    assert rows.execute(_LINES, [book(30)]).fetchall() == []
    # Once more: nothing to do. Later: the opening line takes in what got old since.
    known = rows.execute("SELECT * FROM stock_movements ORDER BY id").fetchall()
    await chores(service)
    assert rows.execute("SELECT * FROM stock_movements ORDER BY id").fetchall() == known
    rows.execute("UPDATE stock_movements SET created_at = created_at - interval '2 days'")
    await chores(service)
    assert sums(rows) == before
    assert [line[:2] for line in rows.execute(_LINES, [book(1)]).fetchall()] == [(59, 0), (1, 0)]


async def test_many_in_batches(service: Service, rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookstore_common.chores.BATCH", 70)
    for number in range(1, 29):
        for _ in range(20):
            move(rows, number, 2, 1, 91)
            move(rows, number, -2, -1, 91)
        move(rows, number, 3, 0, 91)
    before = sums(rows)
    await chores(service)
    assert sums(rows) == before
    # The seed, which is new, and the opening.
    lines = rows.execute(
        "SELECT DISTINCT count(*) FROM stock_movements WHERE reason <> 'seed' GROUP BY book_id"
    ).fetchall()
    assert lines == [(1,)]


def test_two_workers_at_once(roles: Postgres, fresh: str, rows: Any) -> None:
    for number in range(1, 29):
        for _ in range(30):
            move(rows, number, 1, 0, 91)
    before = sums(rows)

    def fold() -> int:
        done = 0
        with connect(roles, "inventory_app", fresh) as connection:
            while count := connection.execute("SELECT fold_stock_movements(interval '90 days', 40)").rowcount:
                done += count
        return done

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(lambda _: fold(), range(3))) == 28 * 30
    assert sums(rows) == before


async def test_reservations_that_ended_long_ago_go_whole_and_others_stay(service: Service, rows: Any) -> None:
    cases = {
        1: ("RELEASED", 61), 2: ("EXPIRED", 61), 3: ("RELEASED", 59), 4: ("EXPIRED", 59), 5: ("COMMITTED", 9000),
        6: ("RELEASED", 61),
    }  # fmt: skip
    for number, (status, days) in cases.items():
        for one in (1, 2):
            rows.execute(
                "INSERT INTO reservations VALUES (%s, %s, 1, %s, now() - make_interval(days => %s))",
                (order(number), book(one), status, days),
            )
    rows.execute("INSERT INTO cancelled_orders VALUES (%s, now())", [order(6)])
    await chores(service)
    left = rows.execute("SELECT order_id::text, count(*) FROM reservations GROUP BY 1 ORDER BY 1").fetchall()
    assert left == [(order(number), 2) for number in (3, 4, 5, 6)]


def test_the_service_may_do_no_more_than_that(roles: Postgres, fresh: str, rows: Any) -> None:
    """Neither may it touch what is new, nor may others call at all."""
    move(rows, 1, 5, 0, 29)
    before = rows.execute("SELECT * FROM stock_movements ORDER BY id").fetchall()
    rows.execute(
        "INSERT INTO reservations VALUES (%s, %s, 1, 'EXPIRED', now() - interval '29 days')", (uuid.uuid4(), book(1))
    )
    with connect(roles, "inventory_app", fresh) as app:
        assert app.execute("SELECT fold_stock_movements(interval '0', 100)").fetchall() == []
        assert app.execute("SELECT forget_reservations(interval '-1 day', 100)").fetchall() == []
        for statement in (
            "DELETE FROM stock_movements",
            "DELETE FROM reservations",
            "UPDATE stock_movements SET delta = 1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(statement.encode())
    with connect(roles, "inventory_ro", fresh) as other, pytest.raises(psycopg.errors.InsufficientPrivilege):
        other.execute("SELECT fold_stock_movements(interval '90 days', 100)")
    assert rows.execute("SELECT * FROM stock_movements ORDER BY id").fetchall() == before
