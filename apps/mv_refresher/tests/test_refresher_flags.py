"""Flags and times under concurrent writers: none waits, none is lost, and the times promise no more than is there."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from refresher_testing import DEPENDENCIES, book, item, order, settle, stock

from bookstore_common.testing.postgres import Postgres
from bookstore_common.testing.processes import until

# A view is dirty when what it shows may have changed, not because a table was written.
MARKED = {
    "fact_orders": {"mv_sales_over_time", "mv_order_status_distribution", "mv_avg_order_value"},
    # Its order is not there: it counts nothing yet.
    "fact_order_items": set[str](),
}
WRITE: dict[str, Callable[[Any], None]] = {
    "fact_orders": lambda rows: order(rows, "o1"),
    "fact_order_items": lambda rows: item(rows, "i1", "o1", "b1", 1, "1.00"),
    "fact_inventory": lambda rows: stock(rows, "b1", 1),
    "dim_books": lambda rows: book(rows, "b1"),
}


def dirty(rows: Any) -> set[str]:
    return {name for (name,) in rows.execute("SELECT mv_collect()").fetchall()}


def dependents(table: str) -> set[str]:
    return {view for view, tables in DEPENDENCIES.items() if table in tables}


def state(rows: Any, view: str) -> Any:
    return rows.execute(
        "SELECT dirty, last_refresh_at, duration_ms FROM mv_refresh_state WHERE mv_name = %s", (view,)
    ).fetchone()


@pytest.mark.parametrize("table", WRITE)
def test_a_change_marks_exactly_the_views_that_it_concerns(rows: Any, table: str) -> None:
    settle(rows)
    WRITE[table](rows)
    marked = MARKED.get(table, dependents(table))
    assert dirty(rows) == marked
    settle(rows)
    rows.execute(f"UPDATE {table} SET synced_at = synced_at")
    # Summaries show that it is the same order; of stock and books only the table's name is known.
    assert dirty(rows) == (set() if table in MARKED else marked)
    settle(rows)
    rows.execute(f"DELETE FROM {table}")
    assert dirty(rows) == marked


def test_a_line_marks_all_views_of_lines_once_its_order_is_there(rows: Any) -> None:
    order(rows, "o1")
    settle(rows)
    item(rows, "i1", "o1", "b1", 1, "1.00")
    # Days have one summary, for both views by day.
    assert dirty(rows) == dependents("fact_order_items") | {"mv_avg_order_value"}
    settle(rows)
    rows.execute("UPDATE fact_orders SET status = 'CANCELLED'")
    assert dirty(rows) == dependents("fact_orders")


def test_views_that_a_change_does_not_concern_are_fresh_without_a_refresh(rows: Any) -> None:
    """last_refresh_at >= synced_at must come true for every view that reads the table, or who waits for it waits on."""
    order(rows, "o1")
    item(rows, "i1", "o1", "b1", 1, "1.00")
    settle(rows)
    for change in ("UPDATE fact_orders SET updated_at = now()", "UPDATE fact_order_items SET quantity = quantity"):
        rows.execute(change)
        assert dirty(rows) == set()
        stale = rows.execute(
            "SELECT mv_name FROM mv_refresh_state"
            " WHERE last_refresh_at < (SELECT max(synced_at) FROM (SELECT synced_at FROM fact_orders"
            " UNION ALL SELECT synced_at FROM fact_order_items) AS stamps)"
        ).fetchall()
        assert stale == []


def test_a_held_back_time_moves_on_when_the_writer_is_gone(rows: Any, connect: Any) -> None:
    """Also if it wrote nothing in the end, so that no change tells of it."""
    book(rows, "b1")
    settle(rows)
    open_one = connect("analytics_app")
    with open_one.transaction(force_rollback=True):
        stock(open_one, "b1", 1)
        order(rows, "o1")
        settle(rows)
        synced = rows.execute("SELECT synced_at FROM fact_orders").fetchone()[0]
        assert state(rows, "mv_order_status_distribution")[1] < synced
    assert dirty(rows) == set()
    assert state(rows, "mv_order_status_distribution")[1] >= synced


def test_an_emptied_table_and_the_calendar_count_as_changes(rows: Any, connect: Any) -> None:
    order(rows, "o1")
    item(rows, "i1", "o1", "b1", 1, "1.00")
    settle(rows)
    owner = connect("analytics_owner")
    owner.execute("TRUNCATE fact_orders")
    while rows.execute("SELECT mv_apply(5000)").fetchone()[0]:
        pass
    assert dirty(rows) == dependents("fact_orders")
    settle(rows)
    owner.execute("DELETE FROM dim_date WHERE date_key = 20350101")
    assert dirty(rows) == dependents("dim_date")


def test_a_change_that_was_rolled_back_marks_nothing(rows: Any) -> None:
    settle(rows)
    with rows.transaction(force_rollback=True):
        WRITE["dim_books"](rows)
    assert dirty(rows) == set()


def test_a_flag_outlives_a_refresh_that_does_not_come(rows: Any) -> None:
    settle(rows)
    WRITE["dim_books"](rows)
    assert dirty(rows) == dirty(rows) == dependents("dim_books")


def test_a_transaction_that_commits_after_the_snapshot_keeps_its_flag(rows: Any, connect: Any) -> None:
    book(rows, "late")
    settle(rows)
    late = connect("analytics_app")
    with late.transaction():
        stock(late, "late", 1)
        # Collected and refreshed while the change is there and invisible.
        assert dirty(rows) == set()
        for view in dependents("fact_inventory"):
            rows.execute("SELECT mv_refresh(%s)", (view,))
        assert rows.execute("SELECT count(*) FROM mv_inventory_health").fetchone() == (0,)
    assert dirty(rows) == dependents("fact_inventory")
    settle(rows)
    assert rows.execute("SELECT count(*) FROM mv_inventory_health").fetchone() == (1,)


def test_an_open_writer_holds_the_time_back_and_not_the_refresh(rows: Any, connect: Any) -> None:
    book(rows, "early")
    book(rows, "open")
    book(rows, "after")
    stock(rows, "early", 1)
    open_one = connect("analytics_app")
    with open_one.transaction():
        stock(open_one, "open", 1)
        synced = open_one.execute("SELECT synced_at FROM fact_inventory WHERE book_id = 'open'").fetchone()[0]
        stock(rows, "after", 1)
        settle(rows)
        before = state(rows, "mv_inventory_health")[1]
        assert before < synced
        assert rows.execute("SELECT book_id FROM mv_inventory_health ORDER BY 1").fetchall() == [("after",), ("early",)]
        early = rows.execute("SELECT synced_at FROM fact_inventory WHERE book_id = 'early'").fetchone()[0]
        assert early <= before
    settle(rows)
    now = state(rows, "mv_inventory_health")[1]
    assert now >= synced
    assert rows.execute("SELECT count(*) FROM mv_inventory_health").fetchone() == (3,)


def test_the_time_never_runs_back(rows: Any, connect: Any) -> None:
    """A writer that takes its lock between clock and look must not undo what was promised."""
    settle(rows)
    rows.execute("SELECT mv_refresh('mv_inventory_health')")
    before = state(rows, "mv_inventory_health")[1]
    holder = connect("analytics_app")
    with holder.transaction():
        # A lock as a writer of an hour ago would have it.
        holder.execute(
            "SELECT pg_advisory_xact_lock_shared("
            "(1237::bigint << 52) | (extract(epoch FROM clock_timestamp() - interval '1 hour') * 1000000)::bigint)"
        )
        limit = rows.execute("SELECT clock_timestamp() - analytics_complete_until()").fetchone()[0]
        assert 3600 <= limit.total_seconds() < 3660
        rows.execute("SELECT mv_refresh('mv_inventory_health')")
        assert state(rows, "mv_inventory_health")[1] == before


def test_a_savepoint_that_was_rolled_back_takes_its_mark_along(rows: Any, connect: Any) -> None:
    open_one = connect("analytics_app")
    with open_one.transaction():
        with open_one.transaction(force_rollback=True):
            stock(open_one, "undone", 1)
        stock(open_one, "done", 1)
        synced = open_one.execute("SELECT synced_at FROM fact_inventory WHERE book_id = 'done'").fetchone()[0]
        assert rows.execute("SELECT analytics_complete_until()").fetchone()[0] < synced


def test_the_snapshot_is_taken_after_the_time(rows: Any, connect: Any) -> None:
    """The calling statement's own snapshot is older than the refresh's."""
    book(rows, "meanwhile")
    settle(rows)
    other = connect("analytics_app")
    caller = threading.Thread(target=lambda: rows.execute("SELECT pg_sleep(1), mv_refresh('mv_inventory_health')"))
    caller.start()
    until(
        lambda: other.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone(),
        "the caller's statement to have begun",
    )
    stock(other, "meanwhile", 1)
    synced = other.execute("SELECT synced_at FROM fact_inventory").fetchone()[0]
    caller.join()
    assert other.execute("SELECT count(*) FROM mv_inventory_health").fetchone() == (1,)
    assert state(other, "mv_inventory_health")[1] >= synced


def test_a_refresh_wants_read_committed_and_one_of_the_views(rows: Any) -> None:
    with pytest.raises(psycopg.errors.InvalidTransactionState, match="must be read committed"):
        rows.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT mv_refresh('mv_inventory_health')")
    rows.execute("ROLLBACK")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="fact_orders is none of the views"):
        rows.execute("SELECT mv_refresh('fact_orders')")


def test_a_hand_made_refresh_does_not_clear_a_flag_that_is_set_meanwhile(rows: Any, connect: Any) -> None:
    """Its snapshot is older than the change; collecting waits for it."""
    settle(rows)
    by_hand, writer = connect("analytics_app"), connect("analytics_app")
    with by_hand.transaction():
        by_hand.execute("SELECT mv_refresh('mv_inventory_health')")
        stock(writer, "b1", 1)
        found: list[set[str]] = []
        collector = threading.Thread(target=lambda: found.append(dirty(rows)))
        collector.start()
        collector.join(0.3)
        assert not found
    collector.join()
    assert found == [dependents("fact_inventory")]
    assert state(rows, "mv_inventory_health")[0] is True


WRITERS, SECONDS = 4, 6.0


def test_four_writers_and_a_refresher(roles: Postgres, rows: Any, connect: Any) -> None:
    """Single-row transactions as Flink's four sinks send them, over rows that they share, some of them slow to commit.

    At every moment each row that a view's time covers is in the view; in the end nothing is dirty and nothing missing;
    nobody ever met a deadlock, or waited for another writer's flag.
    """
    for number in range(WRITERS):
        for serial in range(50):
            book(rows, f"w{number}-{serial}")
    settle(rows)
    ends = time.monotonic() + SECONDS
    failures: list[BaseException] = []
    written = [0] * WRITERS
    slowest = [0.0] * WRITERS

    def write(number: int, connection: Any) -> None:
        try:
            serial = 0
            while time.monotonic() < ends:
                serial += 1
                began = time.monotonic()
                with connection.transaction():
                    # Own rows: a wait could only come from flags, stamps or their locks.
                    stock(connection, f"w{number}-{serial % 50}", serial)
                    if serial % 2:
                        order(connection, f"w{number}-{serial}")
                    stamped = time.monotonic()
                    if serial % 17 == 0:
                        connection.execute("SELECT pg_sleep(0.05)")  # slow to commit: what times must get right
                slowest[number] = max(slowest[number], stamped - began)
                written[number] += 1
        except BaseException as error:
            failures.append(error)

    def refresh(connection: Any) -> None:
        try:
            while time.monotonic() < ends:
                for (view,) in connection.execute("SELECT mv_collect()").fetchall():
                    connection.execute("SELECT mv_refresh(%s)", (view,))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number, connect("analytics_app"))) for number in range(WRITERS)] + [
        threading.Thread(target=refresh, args=(connect("analytics_app"),))
    ]
    for thread in threads:
        thread.start()
    checks = 0
    while any(thread.is_alive() for thread in threads):
        # One snapshot: rows, views and times of the same moment.
        missing = rows.execute(
            "SELECT count(*) FROM fact_inventory n JOIN mv_refresh_state s ON s.mv_name = 'mv_inventory_health'"
            " LEFT JOIN mv_inventory_health h ON h.book_id = n.book_id AND h.quantity = n.quantity"
            " WHERE n.synced_at <= s.last_refresh_at AND h.book_id IS NULL"
        ).fetchone()[0]
        assert missing == 0
        short = rows.execute(
            "SELECT (SELECT count(*) FROM fact_orders WHERE synced_at <= s.last_refresh_at) <="
            " (SELECT coalesce(sum(orders), 0) FROM mv_order_status_distribution)"
            " FROM mv_refresh_state s WHERE mv_name = 'mv_order_status_distribution'"
        ).fetchone()[0]
        assert short is True
        checks += 1
    for thread in threads:
        thread.join()
    assert not failures
    assert checks > 50
    assert sum(written) / SECONDS > 200, written
    settle(rows)
    assert rows.execute(
        "SELECT (SELECT sum(quantity) FROM mv_inventory_health) = (SELECT sum(quantity) FROM fact_inventory),"
        " (SELECT sum(orders) FROM mv_order_status_distribution) = (SELECT count(*) FROM fact_orders)"
    ).fetchone() == (True, True)
    assert rows.execute("SELECT mv_waiting()").fetchall() == []
    deadlocks = rows.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert deadlocks == (0,)
    print(f"{sum(written) / SECONDS:.0f} transactions/s, slowest writes {max(slowest) * 1000:.0f} ms, {checks} looks")  # noqa: T201
