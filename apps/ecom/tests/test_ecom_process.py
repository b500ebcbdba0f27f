"""The real process: ``python -m ecom``, its three ports, its end, its logs, its dependency down."""

import json
import threading
from collections.abc import Callable

import httpx2
import pytest
from ecom_testing import Process

from bookstore_common.testing.postgres import Postgres
from bookstore_common.testing.processes import PATIENCE_SECONDS, until

Environment = Callable[[str], dict[str, str]]
Spawn = Callable[[dict[str, str]], Process]


@pytest.fixture
def process(environment: Environment, fresh: str, spawn: Spawn) -> Process:
    return spawn(environment(fresh)).started()


def test_ports_serve_only_their_own(process: Process) -> None:
    assert process.get("PUBLIC_PORT", "/ecom/books").json()["total"] == 30
    assert process.status("MANAGEMENT_PORT", "/health/ready") == 200
    process.get("PUBLIC_PORT", "/ecom/books/00000000-0000-0000-0000-000000000001")
    metrics = process.get("MANAGEMENT_PORT", "/metrics").text
    assert (
        'http_requests_total{listener="public",method="GET",route="/ecom/books/{book_id}",status="200"} 1.0' in metrics
    )
    for port, path in [
        ("PUBLIC_PORT", "/metrics"),
        ("PUBLIC_PORT", "/health/live"),
        ("INTERNAL_PORT", "/ecom/books"),
        ("INTERNAL_PORT", "/health/ready"),
        ("MANAGEMENT_PORT", "/ecom/books"),
    ]:
        response = process.get(port, path)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    head = httpx2.head(f"http://127.0.0.1:{process.ports['PUBLIC_PORT']}/ecom/books")
    assert (head.status_code, head.content) == (200, b"")
    assert "server" not in head.headers
    assert process.end() == 0


def test_graceful_end_with_a_request_in_flight(
    environment: Environment, spawn: Spawn, roles: Postgres, fresh: str
) -> None:
    # Lame long enough to be seen so on a busy machine.
    process = spawn({**environment(fresh), "SHUTDOWN_LAME_DUCK_SECONDS": "5"})
    until(lambda: process.status("MANAGEMENT_PORT", "/health/ready") == 200, "readiness")
    answers: list[httpx2.Response] = []
    request = threading.Thread(target=lambda: answers.append(process.get("PUBLIC_PORT", "/ecom/books")))
    with roles.connect(fresh) as blocker:
        blocker.execute("BEGIN")
        blocker.execute("LOCK TABLE books IN ACCESS EXCLUSIVE MODE")
        request.start()
        with roles.connect(fresh) as watcher:
            until(
                lambda: watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone() is not None,
                "the request to wait for the table",
            )
        process.popen.terminate()
        until(lambda: process.status("MANAGEMENT_PORT", "/health/ready") == 503, "readiness to turn")
        assert process.status("PUBLIC_PORT", "/ecom/health") == 200  # the lame-duck time
        until(lambda: process.status("PUBLIC_PORT", "/ecom/health") == 0, "the port to close")
        assert not answers
        assert process.popen.poll() is None
        blocker.execute("COMMIT")
    request.join(PATIENCE_SECONDS)
    assert answers[0].status_code == 200
    assert answers[0].json()["total"] == 30
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == 0
    assert [event["event"] for event in process.events() if event["event"] != "request"][-3:] == [
        "signal",
        "draining",
        "stopped",
    ]
    with roles.connect(fresh) as watcher:
        gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'ecom-api%'"
        until(lambda: watcher.execute(gone.encode()).fetchone() == (0,), "the pool's connections to close")


def test_starts_and_recovers_without_its_database(
    environment: Environment, roles: Postgres, fresh: str, spawn: Spawn
) -> None:
    variables = environment(fresh)
    process = spawn({**variables, "DATABASE_PASSWORD": "wrong-password-1234"}).started()
    response = process.get("MANAGEMENT_PORT", "/health/ready")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "dependency_unavailable"
    assert response.json()["checks"]["database"]["status"] == "failed"
    assert "password authentication failed" in response.json()["checks"]["database"]["detail"]
    assert process.status("MANAGEMENT_PORT", "/health/live") == 200
    assert process.get("PUBLIC_PORT", "/ecom/books").json()["code"] == "dependency_unavailable"
    roles.execute("ALTER ROLE ecom_app PASSWORD 'wrong-password-1234'")
    try:
        until(lambda: process.status("MANAGEMENT_PORT", "/health/ready") == 200, "readiness to return")
        assert process.status("PUBLIC_PORT", "/ecom/books") == 200
    finally:
        password = variables["DATABASE_PASSWORD"].replace("'", "''")
        roles.execute(f"ALTER ROLE ecom_app PASSWORD '{password}'")
    assert process.end() == 0
    assert "wrong-password-1234" not in process.log.read_text()
    assert {"not_ready", "ready", "database_unavailable"} <= {event["event"] for event in process.events()}


def test_no_secret_in_debug_logs(environment: Environment, fresh: str, spawn: Spawn) -> None:
    variables = environment(fresh)
    process = spawn({**variables, "LOG_LEVEL": "debug"}).started()
    assert process.get("PUBLIC_PORT", "/ecom/books/search?q=private+words").status_code == 200
    assert process.end() == 0
    text = process.log.read_text()
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "SERVICE_CLIENT_SECRET"):
        assert variables[name] not in text
        assert json.dumps(variables[name])[1:-1] not in text
    assert all(event["service"] == "ecom-api" for event in process.events())


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"DATABASE_HOST": "", "DATABASE_PORT": "x"}, "DATABASE_HOST: not set"),
        ({"DATABASE_PORT": "x"}, "DATABASE_PORT: 'x' is wrong"),
        ({"LISTEN_HOST": "203.0.113.1"}, "PUBLIC_PORT="),
        ({"REDIS_HOST": ""}, "REDIS_HOST: not set"),
        ({"OIDC_ISSUER": ""}, "OIDC_ISSUER: not set"),
        ({"OIDC_LOGOUT_AUDIENCE": ""}, "OIDC_LOGOUT_AUDIENCE: not set"),
        ({"SERVICE_CLIENT_SECRET": ""}, "SERVICE_CLIENT_SECRET: not set"),
        ({"INVENTORY_URL": "inventory:8001"}, "INVENTORY_URL: 'inventory:8001' is wrong"),
    ],
)
def test_bad_settings_end_the_start(
    environment: Environment, fresh: str, spawn: Spawn, changes: dict[str, str], part: str
) -> None:
    process = spawn({**environment(fresh), **changes})
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == 2
    assert part in process.log.read_text()
    assert "Traceback" not in process.log.read_text()
