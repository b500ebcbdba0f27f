"""The real process: ``python -m mv_refresher.worker``, its rounds, its lead, its end, its database gone."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from refresher_testing import book, order, stock

from bookstore_common.testing import plain_http
from bookstore_common.testing.postgres import Postgres, free_port
from bookstore_common.testing.processes import PATIENCE_SECONDS, until

VIEWS = 10


class Process:
    """One running refresher."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LISTEN_HOST": "127.0.0.1",
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
            "READINESS_TIMEOUT_SECONDS": "20",
            "DATABASE_CONNECT_TIMEOUT_SECONDS": "30",
            "MANAGEMENT_PORT": str(self.port),
            **environment,
        }
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "mv_refresher.worker"],
                env=variables, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def get(self, path: str) -> httpx2.Response:
        return plain_http.request("GET", f"http://127.0.0.1:{self.port}{path}", PATIENCE_SECONDS)

    def status(self, path: str) -> int:
        """0 if nothing listens."""
        try:
            return self.get(path).status_code
        except httpx2.TransportError:
            return 0

    def ready(self) -> "Process":
        until(lambda: self.status("/health/ready") == 200, "the process to be ready")
        return self

    def metric(self, name: str) -> float:
        """Sum over the labels."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def refreshes(self) -> int:
        return int(self.metric("mv_refresh_duration_seconds_count"))

    def leads(self) -> bool:
        return self.metric("mv_refresher_leading") == 1

    def end(self) -> int:
        self.popen.terminate()
        return self.popen.wait(timeout=PATIENCE_SECONDS)

    def events(self) -> list[str]:
        return [str(json.loads(line)["event"]) for line in self.log.read_text().splitlines()]


@pytest.fixture
def start(tmp_path: Path, roles: Postgres, fresh: str) -> Iterator[Callable[..., Process]]:
    """Starts processes over the test's database; whatever a test leaves running must end in order."""
    started: list[Process] = []

    def run(**environment: str) -> Process:
        settings = {**roles.environment("analytics_app", fresh), **environment}
        started.append(Process(settings, tmp_path / f"log-{len(started)}"))
        return started[-1]

    yield run
    left = [process for process in started if process.popen.poll() is None]
    for process in left:
        process.popen.terminate()
    try:
        assert [process.popen.wait(timeout=PATIENCE_SECONDS) for process in left] == [0] * len(left)
    finally:
        for process in left:
            process.popen.kill()
            process.popen.wait()


Start = Callable[..., Process]


def shown(rows: Any, quantity: int) -> bool:
    return bool(
        rows.execute("SELECT 1 FROM mv_inventory_health WHERE book_id = 'b1' AND quantity = %s", (quantity,)).fetchone()
    )


def test_a_change_is_in_its_views_and_nothing_else_is_refreshed(start: Start, rows: Any) -> None:
    book(rows, "b1")
    process = start().ready()
    until(lambda: process.refreshes() == VIEWS, "the first refresh of every view")
    for quantity in range(1, 21):
        stock(rows, "b1", quantity)
        until(lambda quantity=quantity: shown(rows, quantity), "the change to be in the view")  # type: ignore[misc]
    until(lambda: process.refreshes() == VIEWS + 20 * 2, "both views of each change to be refreshed")
    assert process.metric("mv_last_success_timestamp") / VIEWS == pytest.approx(time.time(), abs=60)
    assert process.end() == 0
    assert process.events()[-1] == "stopped"


def test_everything_is_refreshed_now_and_then(start: Start) -> None:
    process = start(MV_FULL_REFRESH_SECONDS="1").ready()
    until(lambda: process.refreshes() >= 3 * VIEWS, "two full refreshes more")


def test_it_rests_as_long_as_it_worked(start: Start, rows: Any) -> None:
    """Under writes without end, refreshing takes at most half of the time."""
    # What a refresh takes depends on the number of books.
    rows.execute(
        "INSERT INTO dim_books (book_id, title, author, genre, price, active, created_at, updated_at)"
        " SELECT number, 'Title ' || number, 'Author', 'Genre', 1, true, now(), now()"
        " FROM generate_series(1, 10000) AS number"
    )
    rows.execute(
        "INSERT INTO fact_inventory (book_id, quantity, reserved, available, low_stock_threshold, updated_at)"
        " SELECT book_id, 1, 0, 1, 5, now() FROM dim_books"
    )
    process = start().ready()
    until(lambda: process.refreshes() >= VIEWS, "the first refresh of every view")
    began, before = time.monotonic(), process.metric("mv_refresh_duration_seconds_sum")
    while time.monotonic() - began < 4:
        order(rows, "busy")
        book(rows, "busy")
    share = (process.metric("mv_refresh_duration_seconds_sum") - before) / (time.monotonic() - began)
    assert 0.1 < share < 0.55, share


def test_one_refreshes_and_the_other_takes_over(start: Start, rows: Any) -> None:
    book(rows, "b1")
    first = start().ready()
    until(first.leads, "the first to lead")
    second = start().ready()
    assert first.leads()
    assert not second.leads()
    assert second.refreshes() == 0
    first.popen.kill()
    until(second.leads, "the second to lead")
    stock(rows, "b1", 3)
    until(lambda: shown(rows, 3), "the change to be in the view")


def test_a_view_that_cannot_be_refreshed_does_not_hold_up_the_others(start: Start, connect: Any, rows: Any) -> None:
    book(rows, "b1")
    process = start().ready()
    until(process.leads, "the process to lead")
    # As if a row had come twice.
    connect("analytics_owner").execute("DROP INDEX mv_inventory_turnover_book_id_idx")
    stock(rows, "b1", 3)
    until(lambda: shown(rows, 3), "the other view to be refreshed")
    until(lambda: process.status("/health/ready") == 503, "readiness to tell")
    detail = process.get("/health/ready").json()["checks"]["views"]["detail"]
    assert detail.startswith("1 views cannot be refreshed, mv_inventory_turnover: cannot refresh materialized view")
    assert process.metric("mv_refresh_failures_total") > 0
    dirty = 'mv_dirty_since_timestamp{{view="{}"}}'.format
    assert process.metric(dirty("mv_inventory_turnover")) == pytest.approx(time.time(), abs=60)
    until(lambda: process.metric(dirty("mv_sales_over_time")) == 0, "a view that can be refreshed to show all changes")
    assert process.metric(dirty("mv_inventory_turnover")) > 0
    assert process.status("/health/live") == 200
    connect("analytics_owner").execute("CREATE UNIQUE INDEX again ON mv_inventory_turnover (book_id)")
    process.ready()
    until(lambda: process.metric("mv_dirty_since_timestamp") == 0, "all views to show all changes")


def test_it_waits_for_a_lost_database_and_then_refreshes_everything(start: Start, roles: Postgres, rows: Any) -> None:
    """A crash of the server empties mv_changes, so what was in it must not matter."""
    book(rows, "b1")
    process = start().ready()
    until(lambda: process.refreshes() == VIEWS, "the first refresh of every view")
    stock(rows, "b1", 4)
    until(lambda: process.refreshes() == VIEWS + 2, "the change to be in its views")
    roles.stop()
    try:
        until(lambda: process.status("/health/ready") == 503, "readiness to tell")
    finally:
        roles.start()
    process.ready()
    until(lambda: process.refreshes() >= 2 * VIEWS + 2, "every view to be refreshed again")
    assert process.popen.poll() is None
    assert "database_unavailable" in process.events()


def test_at_rest_it_needs_next_to_nothing(start: Start) -> None:
    """CPU of the process, in shares of a core."""
    process = start().ready()
    until(lambda: process.refreshes() == VIEWS, "the first refresh of every view")
    before, began = process.metric("process_cpu_seconds_total"), time.monotonic()
    until(lambda: time.monotonic() - began > 5, "the time of the measurement")
    share = (process.metric("process_cpu_seconds_total") - before) / (time.monotonic() - began)
    assert share < 0.02, share
    assert process.refreshes() == VIEWS


def test_bad_settings_end_it_at_once(start: Start) -> None:
    process = start(MV_POLL_SECONDS="0")
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == 2
    assert process.log.read_text().startswith("MV_POLL_SECONDS: '0' is wrong")
