"""The real process: ``python -m inventory``, its three ports, its end, its logs, its dependencies down."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from inventory_testing import book, check_law, order

from bookstore_common.testing.postgres import Postgres
from bookstore_common.testing.processes import PATIENCE_SECONDS, ServiceProcess, until

HOLD = {"order_id": order(1), "items": [{"book_id": book(1), "quantity": 1}]}


class Process(ServiceProcess):
    """One running service."""

    module = "inventory"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Process]]:
    """Starts processes and ends those that a failed test leaves behind."""
    started: list[Process] = []

    def start(environment: dict[str, str]) -> Process:
        started.append(Process(environment, tmp_path / f"log-{len(started)}"))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


Start = Callable[[dict[str, str]], Process]


def test_ports_serve_only_their_own(processes: Start, environment: Any, fresh: str, ecom: dict[str, str]) -> None:
    process = processes(environment(fresh)).ready()
    assert process.get("PUBLIC_PORT", f"/inven/stock/{book(29)}").json()["quantity"] == 3
    assert process.send("INTERNAL_PORT", "POST", "/internal/reservations", json=HOLD, headers=ecom).status_code == 201
    assert process.send("PUBLIC_PORT", "POST", "/internal/reservations", json=HOLD, headers=ecom).status_code == 404
    metrics = process.get("MANAGEMENT_PORT", "/metrics").text
    assert 'listener="public",method="GET",route="/inven/stock/{book_id}",status="200"} 1.0' in metrics
    assert 'listener="internal",method="POST",route="/internal/reservations",status="201"} 1.0' in metrics
    assert 'reservation_total{result="held"} 1.0' in metrics
    assert 'reservation_total{result="insufficient_stock"} 0.0' in metrics
    # No pipeline yet: the hold's event waits.
    age = [line for line in metrics.splitlines() if line.startswith("outbox_oldest_age_seconds ")]
    assert float(age[0].split()[1]) > 0
    for port, path in [
        ("PUBLIC_PORT", "/metrics"),
        ("PUBLIC_PORT", "/health/live"),
        ("PUBLIC_PORT", "/internal/admin/stock"),
        ("INTERNAL_PORT", f"/inven/stock/{book(1)}"),
        ("INTERNAL_PORT", "/health/ready"),
        ("MANAGEMENT_PORT", "/inven/health"),
        ("MANAGEMENT_PORT", "/internal/admin/stock"),
    ]:
        response = process.get(port, path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), (port, path)
    assert process.end() == 0


def test_graceful_end_with_a_hold_in_flight(
    processes: Start, environment: Any, roles: Postgres, fresh: str, ecom: dict[str, str], rows: Any
) -> None:
    """A hold that waits for a row when SIGTERM comes is completed and answered."""
    # Lame long enough to be seen so on a busy machine.
    process = processes({**environment(fresh), "SHUTDOWN_LAME_DUCK_SECONDS": "5"}).ready()
    answers: list[httpx2.Response] = []
    request = threading.Thread(
        target=lambda: answers.append(
            process.send("INTERNAL_PORT", "POST", "/internal/reservations", json=HOLD, headers=ecom)
        )
    )
    with roles.connect(fresh) as blocker:
        blocker.execute("BEGIN")
        blocker.execute(f"SELECT 1 FROM inventory WHERE book_id = '{book(1)}' FOR UPDATE".encode())
        request.start()
        until(
            lambda: rows.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None,
            "the request to wait for the row",
        )
        process.popen.terminate()
        until(lambda: process.status("MANAGEMENT_PORT", "/health/ready") == 503, "readiness to turn")
        assert process.status("PUBLIC_PORT", "/inven/health") == 200  # the lame-duck time
        until(lambda: process.status("PUBLIC_PORT", "/inven/health") == 0, "the port to close")
        assert not answers
        assert process.popen.poll() is None
        blocker.execute("COMMIT")
    request.join(PATIENCE_SECONDS)
    assert answers[0].status_code == 201
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == 0
    assert check_law(rows) == 1
    last = [event["event"] for event in process.events() if event["event"] != "request"][-3:]
    assert last == ["signal", "draining", "stopped"]
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'inventory-api%'"
    until(lambda: rows.execute(gone).fetchone() == (0,), "the pool's connections to close")


def test_killed_under_load_holds_all_or_nothing(
    processes: Start, environment: Any, fresh: str, ecom: dict[str, str], rows: Any
) -> None:
    """kill -9 in the middle: whoever got a 201 has the hold, and the law holds for the others."""
    process = processes(environment(fresh)).ready()
    promised: list[str] = []

    def customer(first: int) -> None:
        for number in range(first, first + 200):
            body = {
                "order_id": order(number),
                "items": [{"book_id": book(number % 8 + 1), "quantity": 1}, {"book_id": book(9), "quantity": 1}],
            }
            try:
                answer = process.send("INTERNAL_PORT", "POST", "/internal/reservations", json=body, headers=ecom)
            except httpx2.TransportError:
                return
            if answer.status_code == 201:
                promised.append(order(number))

    customers = [threading.Thread(target=customer, args=[first]) for first in (0, 1000, 2000, 3000)]
    for thread in customers:
        thread.start()
    until(lambda: len(promised) >= 12, "some reservations")
    process.popen.kill()
    for thread in customers:
        thread.join(PATIENCE_SECONDS)
    # The server rolls back what was open once it notices that the client is gone.
    gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'inventory-api%'"
    until(lambda: rows.execute(gone).fetchone() == (0,), "the killed process' connections to end")
    check_law(rows)
    held = {row[0] for row in rows.execute("SELECT order_id::text FROM reservations WHERE status = 'HELD'").fetchall()}
    assert set(promised) <= held
    lines = rows.execute("SELECT count(*) FROM reservations GROUP BY order_id").fetchall()
    assert {row[0] for row in lines} == {2}
    again = processes(environment(fresh)).ready()
    body = {
        "order_id": promised[0],
        "items": [
            {"book_id": book(int(promised[0][-3:]) % 8 + 1), "quantity": 1},
            {"book_id": book(9), "quantity": 1},
        ],
    }
    replay = again.send("INTERNAL_PORT", "POST", "/internal/reservations", json=body, headers=ecom)
    assert replay.status_code == 200


def test_starts_and_recovers_without_its_database(
    processes: Start, environment: Any, roles: Postgres, fresh: str, ecom: dict[str, str]
) -> None:
    variables = environment(fresh)
    process = processes({**variables, "DATABASE_PASSWORD": "wrong-password-1234"}).started()
    response = process.get("MANAGEMENT_PORT", "/health/ready")
    assert (response.status_code, response.json()["code"]) == (503, "dependency_unavailable")
    assert response.json()["checks"]["database"]["status"] == "failed"
    assert "password authentication failed" in response.json()["checks"]["database"]["detail"]
    for port, method, path in (
        ("PUBLIC_PORT", "GET", f"/inven/stock/{book(1)}"),
        ("INTERNAL_PORT", "POST", "/internal/reservations"),
    ):
        down = process.send(port, method, path, headers=ecom, json=HOLD if method == "POST" else None)
        assert (down.status_code, down.json()["code"]) == (503, "dependency_unavailable")
    roles.execute("ALTER ROLE inventory_app PASSWORD 'wrong-password-1234'")
    try:
        process.ready()
        held = process.send("INTERNAL_PORT", "POST", "/internal/reservations", json=HOLD, headers=ecom)
        assert held.status_code == 201
    finally:
        password = variables["DATABASE_PASSWORD"].replace("'", "''")
        roles.execute(f"ALTER ROLE inventory_app PASSWORD '{password}'")
    assert process.end() == 0
    assert "wrong-password-1234" not in process.log.read_text()


def test_no_secret_in_debug_logs(processes: Start, environment: Any, fresh: str, ecom: dict[str, str]) -> None:
    variables = environment(fresh)
    process = processes({**variables, "LOG_LEVEL": "debug"}).ready()
    assert process.send("INTERNAL_PORT", "POST", "/internal/reservations", json=HOLD, headers=ecom).status_code == 201
    forged = {"authorization": f"{ecom['authorization'][:-6]}AAAAAA"}
    assert process.send("INTERNAL_PORT", "POST", "/internal/reservations", json=HOLD, headers=forged).status_code == 401
    assert process.end() == 0
    text = process.log.read_text()
    for secret in (variables["DATABASE_PASSWORD"], variables["REDIS_PASSWORD"]):
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text
    header, payload, signature = ecom["authorization"].removeprefix("Bearer ").split(".")
    assert not [part for part in (header, payload, signature) if part in text]
    assert all(event["service"] == "inventory-api" for event in process.events())


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"DATABASE_HOST": "", "DATABASE_PORT": "x"}, "DATABASE_HOST: not set"),
        ({"DATABASE_PORT": "x"}, "DATABASE_PORT: 'x' is wrong"),
        ({"REDIS_PASSWORD": ""}, "REDIS_PASSWORD: not set"),
        ({"OIDC_ISSUER": ""}, "OIDC_ISSUER: not set"),
        ({"RESERVATION_HOLD_SECONDS": "0"}, "RESERVATION_HOLD_SECONDS: '0' is wrong"),
        ({"LISTEN_HOST": "203.0.113.1"}, "PUBLIC_PORT="),
    ],
)
def test_bad_settings_end_the_start(
    processes: Start, environment: Any, fresh: str, changes: dict[str, str], part: str
) -> None:
    process = processes({**environment(fresh), **changes})
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == 2
    assert part in process.log.read_text()
    assert "Traceback" not in process.log.read_text()
