"""Views over summaries equal views computed from all rows, whatever comes, in whatever order and however often."""

import random
import threading
import time
from functools import partial
from typing import Any

import psycopg
import pytest
from conftest import APP, OWNER, Connect
from oracle import differences, shapes, take
from refresher_testing import book, item, order, settle
from streams import Step, Stream

from bookstore_common.testing.postgres import Postgres


def test_the_views_have_the_columns_of_their_definitions(connect: Connect) -> None:
    found = shapes(connect(OWNER))
    assert len(found) == 10
    assert {name: ours for name, (ours, _) in found.items()} == {name: theirs for name, (_, theirs) in found.items()}


@pytest.mark.parametrize("seed", range(6))
def test_views_equal_their_definitions_after_any_stream(rows: Any, seed: int) -> None:
    stream = Stream(seed)
    pick = random.Random(seed)  # noqa: S311
    for _ in range(20):
        for step in stream.steps(15):
            step(rows)
            if pick.random() < 0.1:
                rows.execute("SELECT mv_apply(%s)", (pick.choice((1, 2, 50)),))
        settle(rows)
        assert differences(rows) == {}
    assert rows.execute("SELECT count(*) FROM mv_product_sales_volume").fetchone()[0] > 0
    # What came again and changed nothing marks nothing, and writes nothing.
    versions = "SELECT array_agg(order_id || ctid ORDER BY order_id) FROM counted_orders"
    before = rows.execute(versions).fetchone()
    rows.execute("UPDATE fact_orders SET synced_at = synced_at")
    rows.execute("UPDATE fact_order_items SET synced_at = synced_at")
    assert rows.execute("SELECT mv_collect()").fetchall() == []
    assert rows.execute(versions).fetchone() == before


def test_changes_that_are_rolled_back_count_nowhere(rows: Any) -> None:
    stream = Stream(7)
    for number in range(60):
        with rows.transaction(force_rollback=number % 3 == 0):
            for step in stream.steps(5):
                step(rows)
    settle(rows)
    assert differences(rows) == {}


def test_it_does_not_matter_in_which_order_rows_arrive(rows: Any, connect: Connect) -> None:
    arrivals: list[Step] = [
        lambda rows: order(rows, "o1", "30.00"),
        lambda rows: item(rows, "i1", "o1", "b1", 1, "10.00"),
        lambda rows: item(rows, "i2", "o1", "b2", 2, "10.00"),
        lambda rows: book(rows, "b1", author="Austen"),
        lambda rows: book(rows, "b2", author="Borges"),
    ]
    owner = connect(OWNER)
    seen = set()
    for seed in range(12):
        random.Random(seed).shuffle(arrivals)  # noqa: S311
        for arrive in arrivals:
            arrive(rows)
            settle(rows)
            assert differences(rows) == {}
        seen.add(tuple(rows.execute("SELECT * FROM mv_revenue_by_author ORDER BY 1").fetchall()))
        owner.execute("TRUNCATE fact_orders, fact_order_items, dim_books")
        take(rows)
    assert len(seen) == 1


def test_an_emptied_table_is_counted_anew(rows: Any, connect: Connect) -> None:
    """In batches, like all else, and nothing is promised before the last one."""
    for step in Stream(11).steps(120):
        step(rows)
    settle(rows)
    owner = connect(OWNER)
    for table in ("dim_books", "fact_order_items", "fact_orders"):
        owner.execute(f"TRUNCATE {table}")
        take(rows, 3)
        settle(rows)
        assert differences(rows) == {}
    assert rows.execute("SELECT count(*) FROM counted_orders").fetchone() == (0,)


def test_a_batch_is_bounded_and_promises_no_more_than_it_took(rows: Any) -> None:
    settle(rows)
    for number in range(40):
        order(rows, f"o{number:02}")
    stamps = [stamp for (stamp,) in rows.execute("SELECT synced_at FROM fact_orders ORDER BY order_id").fetchall()]
    view = "mv_order_status_distribution"
    for done in (10, 20, 30):
        assert rows.execute("SELECT mv_apply(10)").fetchone() == (10,)
        assert rows.execute("SELECT count(*) FROM counted_orders").fetchone() == (done,)
        rows.execute("SELECT mv_refresh(%s)", (view,))
        until_then = rows.execute(
            "SELECT last_refresh_at FROM mv_refresh_state WHERE mv_name = %s", (view,)
        ).fetchone()[0]
        # All that was taken, nothing of what was not: the oldest go first.
        assert stamps[done - 1] <= until_then < stamps[done]
    assert rows.execute("SELECT behind FROM mv_summary_state").fetchone() == (True,)
    settle(rows)
    assert rows.execute("SELECT behind FROM mv_summary_state").fetchone() == (False,)
    stale = rows.execute("SELECT count(*) FROM mv_refresh_state WHERE last_refresh_at < %s", (stamps[-1],)).fetchone()
    assert stale == (0,)


def test_orders_of_a_book_whose_author_changed_are_counted_in_batches(rows: Any) -> None:
    book(rows, "b1", author="Austen")
    book(rows, "b2", author="Borges")
    for number in range(25):
        order(rows, f"o{number}")
        item(rows, f"i{number}", f"o{number}", "b1", 1, "1.00")
    settle(rows)
    book(rows, "b1", author="Borges")
    synced = rows.execute("SELECT synced_at FROM dim_books WHERE book_id = 'b1'").fetchone()[0]
    authors = "SELECT author, orders FROM mv_revenue_by_author ORDER BY 1"
    rows.execute("SELECT mv_apply(10)")
    rows.execute("SELECT mv_refresh('mv_revenue_by_author')")
    assert rows.execute(authors).fetchall() == [("Austen", 15), ("Borges", 10)]
    promised = "SELECT last_refresh_at >= %s FROM mv_refresh_state WHERE mv_name = 'mv_revenue_by_author'"
    assert rows.execute(promised, (synced,)).fetchone() == (False,)
    take(rows, 10)
    settle(rows)
    assert rows.execute(authors).fetchall() == [("Borges", 25)]
    assert rows.execute(promised, (synced,)).fetchone() == (True,)
    # All else of a book is read where it is.
    book(rows, "b1", author="Borges", title="Another")
    assert rows.execute("SELECT count(*) FROM mv_changed_books").fetchone() == (0,)


def test_a_crash_loses_no_change(rows: Any, roles: Postgres, fresh: str) -> None:
    for step in Stream(3).steps(80):
        step(rows)
    settle(rows)
    for step in Stream(4).steps(80):
        step(rows)
    # On disk as with synchronous commits, which the server of tests has not.
    roles.execute("CHECKPOINT")
    waiting = rows.execute("SELECT count(*) FROM mv_changed_orders").fetchone()
    assert waiting[0] > 0
    killed = rows.execute("SELECT sum(orders) FROM sum_status").fetchone()
    rows.close()
    roles.stop()
    roles.start()
    after = psycopg.connect(
        host="127.0.0.1", port=roles.port, dbname=fresh, user=APP, password=roles.role_passwords[APP], autocommit=True
    )
    with after:
        assert after.execute("SELECT count(*) FROM mv_changed_orders").fetchone() == waiting
        assert after.execute("SELECT sum(orders) FROM sum_status").fetchone() == killed
        settle(after)
        assert differences(after) == {}


def test_a_run_that_is_killed_counts_nothing_twice(rows: Any, connect: Connect) -> None:
    """Keys, sums and what was counted change together."""
    for step in Stream(5).steps(100):
        step(rows)
    victim: Any = connect(APP)
    victim.execute("BEGIN")
    victim.execute("SELECT mv_apply(20)")
    assert victim.execute("SELECT count(*) FROM counted_orders").fetchone()[0] > 0
    rows.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        victim.execute("COMMIT")
    assert rows.execute("SELECT count(*) FROM counted_orders").fetchone() == (0,)
    settle(rows)
    assert differences(rows) == {}


_LATE = """
SELECT view FROM (
    SELECT 'sold' AS view, s.last_refresh_at AS shown_until,
           (SELECT coalesce(sum(units_sold), 0) FROM mv_product_sales_volume) AS shown
    FROM mv_refresh_state s WHERE mv_name = 'mv_product_sales_volume'
    UNION ALL
    SELECT 'days', s.last_refresh_at, (SELECT coalesce(sum(units), 0) FROM mv_sales_over_time)
    FROM mv_refresh_state s WHERE mv_name = 'mv_sales_over_time'
) AS views
WHERE shown < (SELECT coalesce(sum(i.quantity), 0) FROM fact_order_items i JOIN fact_orders o USING (order_id)
               WHERE greatest(i.synced_at, o.synced_at) <= shown_until)
UNION ALL
-- Every author's name is new, so one that is there stands for the change itself.
SELECT 'author ' || b.author
FROM dim_books b JOIN mv_refresh_state s ON s.mv_name = 'mv_revenue_by_author' AND b.synced_at <= s.last_refresh_at
LEFT JOIN mv_revenue_by_author a ON a.author = b.author
WHERE a.author IS NULL AND EXISTS (
    SELECT FROM fact_order_items i JOIN fact_orders o USING (order_id)
    WHERE i.book_id = b.book_id AND greatest(i.synced_at, o.synced_at) <= s.last_refresh_at)
"""


@pytest.mark.parametrize("batch", [5, 5000])
def test_writers_and_the_refresher_beside_each_other(rows: Any, connect: Connect, batch: int) -> None:
    """Orders, lines before or after them, authors that change; some slow to commit, and batches that are too small.

    At each moment a view shows what its time promises; nobody meets a deadlock; in the end it shows everything.
    """
    ends = time.monotonic() + 5
    failures: list[BaseException] = []

    def write(number: int, connection: Any) -> None:
        pick, serial = random.Random(number), 0  # noqa: S311
        try:
            while time.monotonic() < ends:
                serial += 1
                order_id, book_id = f"w{number}-{serial}", f"b{number}"
                parts: list[Step] = [
                    partial(order, order_id=order_id),
                    partial(item, item_id=order_id, order_id=order_id, book_id=book_id, quantity=1, price="1.00"),
                    partial(book, book_id=book_id, author=f"author {order_id}"),
                ]
                pick.shuffle(parts)
                for part in parts:
                    with connection.transaction():
                        part(connection)
                        if pick.random() < 0.05:
                            connection.execute("SELECT pg_sleep(0.05)")  # slow to commit: what times must get right
        except BaseException as error:
            failures.append(error)

    def refresh(connection: Any) -> None:
        try:
            while time.monotonic() < ends:
                connection.execute("SELECT mv_apply(%s)", (batch,))
                wanted = "SELECT mv_name FROM mv_refresh_state WHERE dirty" if batch < 5000 else "SELECT mv_collect()"
                for (view,) in connection.execute(wanted).fetchall():
                    connection.execute("SELECT mv_refresh(%s)", (view,))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number, connect(APP))) for number in range(3)]
    threads.append(threading.Thread(target=refresh, args=(connect(APP),)))
    for thread in threads:
        thread.start()
    looks = 0
    while any(thread.is_alive() for thread in threads):
        # One snapshot: rows, views and times of the same moment.
        assert rows.execute(_LATE).fetchall() == []
        looks += 1
    for thread in threads:
        thread.join()
    assert not failures
    assert looks > 5
    promised = rows.execute("SELECT min(last_refresh_at) > clock_timestamp() - interval '1 hour' FROM mv_refresh_state")
    assert promised.fetchone() == (True,)
    take(rows)
    settle(rows)
    assert differences(rows) == {}
    deadlocks = rows.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert deadlocks == (0,)


_HISTORY = ("fact_orders", "fact_order_items", "counted_orders")


def reads(rows: Any) -> int:
    """Rows of history that were read so far, and scans of all of it a million each."""
    rows.execute("SELECT pg_stat_force_next_flush()")
    found = rows.execute(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0) + 1000000 * seq_scan)::bigint FROM pg_stat_user_tables"
        " WHERE relname = ANY (%s)",
        (list(_HISTORY),),
    ).fetchone()
    return int(found[0])


def test_what_a_change_costs_does_not_grow_with_history(rows: Any, connect: Connect) -> None:
    """Rows that are read for one order, with a hundred times the orders; the planner knows nothing of the tables."""
    owner: Any = connect(OWNER)
    costs = []
    for first, last in ((1, 300), (301, 30_000)):
        owner.execute(
            "INSERT INTO fact_orders"
            " (order_id, user_id, status, total, currency, order_date_key, created_at, updated_at)"
            " SELECT 'o' || number, 'someone', 'CONFIRMED', 2, 'USD', 20260301, '2026-03-01Z', now()"
            " FROM generate_series(%s::int, %s::int) AS number", (first, last),
        )  # fmt: skip
        owner.execute(
            "INSERT INTO fact_order_items (order_item_id, order_id, book_id, quantity, price_at_purchase, line_total)"
            " SELECT 'i' || number || '-' || line, 'o' || number, 'b' || (number + line) %% 50, 1, 1, 1"
            " FROM generate_series(%s::int, %s::int) AS number, generate_series(1, 2) AS line", (first, last),
        )  # fmt: skip
        take(rows)
        settle(rows)
        before = reads(rows)
        order(rows, f"new {last}")
        item(rows, f"new {last} 1", f"new {last}", "b11", 1, "1.00")
        item(rows, f"new {last} 2", f"new {last}", "b12", 1, "3.00")
        rows.execute(f"UPDATE fact_orders SET status = 'CANCELLED' WHERE order_id = 'o{last}'")
        refreshed = rows.execute("SELECT mv_collect()").fetchall()
        assert len(refreshed) == 8
        for (view,) in refreshed:
            rows.execute("SELECT mv_refresh(%s)", (view,))
        costs.append(reads(rows) - before)
    assert differences(rows) == {}
    small, large = costs
    assert 0 < small < 100, costs
    assert large <= small + 5, costs
