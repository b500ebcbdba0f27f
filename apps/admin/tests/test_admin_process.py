"""The real process: ``python -m admin``, its two ports, its end, its logs, its dependencies down."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from admin_testing import script

from bookstore_common.testing import plain_http
from bookstore_common.testing.http_stub import HttpStub
from bookstore_common.testing.postgres import free_port
from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import Issuer

PATIENCE_SECONDS = 40.0
Start = Callable[..., "Process"]


def until(done: Callable[[], bool], what: str) -> None:
    """Poll a fact that no event announces."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} s for: {what}"
        time.sleep(0.02)


class Process:
    """One running service."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.ports = {name: free_port() for name in ("PUBLIC_PORT", "MANAGEMENT_PORT")}
        self.log = log
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LISTEN_HOST": "127.0.0.1",
            "SHUTDOWN_LAME_DUCK_SECONDS": "0",
            **{name: str(port) for name, port in self.ports.items()},
            **environment,
        }
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "admin"], env=variables, stdout=output, stderr=subprocess.STDOUT
            )

    def get(self, port: str, path: str, **headers: str) -> httpx2.Response:
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        return plain_http.request("GET", url, PATIENCE_SECONDS, headers=headers)

    def status(self, port: str, path: str) -> int:
        """0 if nothing listens."""
        try:
            return self.get(port, path).status_code
        except httpx2.TransportError:
            return 0

    def started(self) -> "Process":
        until(lambda: self.status("MANAGEMENT_PORT", "/health/live") == 200, "the process to listen")
        return self

    def end(self) -> int:
        self.popen.terminate()
        return self.popen.wait(timeout=PATIENCE_SECONDS)

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start processes that end with the test."""
    processes: list[Process] = []

    def begin(**changes: str) -> Process:
        processes.append(Process({**environment, **changes}, tmp_path / f"log-{len(processes)}"))
        return processes[-1]

    yield begin
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def test_ports_serve_only_their_own(
    start: Start, ecom: HttpStub, inventory: HttpStub, admin: dict[str, str], environment: dict[str, str]
) -> None:
    script(ecom, inventory)
    process = start(LOG_LEVEL="debug").started()
    assert process.get("MANAGEMENT_PORT", "/health/ready").json()["checks"].keys() == {"tokens", "redis"}
    assert process.get("PUBLIC_PORT", "/admin/health").json() == {"status": "ok"}
    assert process.get("PUBLIC_PORT", "/admin/books", **admin).json()["items"][0]["stock_status"] == "in_stock"
    head = httpx2.head(f"http://127.0.0.1:{process.ports['PUBLIC_PORT']}/admin/orders", headers=admin)
    assert (head.status_code, head.content) == (200, b"")
    assert "server" not in head.headers
    for port, path in [
        ("PUBLIC_PORT", "/metrics"), ("PUBLIC_PORT", "/health/ready"), ("PUBLIC_PORT", "/internal/admin/books"),
        ("PUBLIC_PORT", "/admin"), ("PUBLIC_PORT", "/admin/"), ("PUBLIC_PORT", "/openapi.json"),
        ("MANAGEMENT_PORT", "/admin/books"),
    ]:  # fmt: skip
        response = process.get(port, path, **admin)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")
    metrics = process.get("MANAGEMENT_PORT", "/metrics").text
    assert 'http_requests_total{listener="public",method="GET",route="/admin/books",status="200"} 1.0' in metrics
    assert process.end() == 0
    [started] = [event for event in process.events() if event["event"] == "started"]
    assert started["ports"] == {
        "public": process.ports["PUBLIC_PORT"], "management": process.ports["MANAGEMENT_PORT"],
    }  # fmt: skip
    text = process.log.read_text()
    assert all(event["service"] == "admin-api" for event in process.events())
    assert environment["REDIS_PASSWORD"] not in text
    assert admin["authorization"].removeprefix("Bearer ") not in text


def test_readiness_and_recovery(
    start: Start, issuer: Issuer, redis_server: RedisServer, admin: dict[str, str], ecom: HttpStub, inventory: HttpStub
) -> None:
    """No keys, no traffic; without Redis degraded; the services behind do not matter. All without a restart."""
    script(ecom, inventory)
    issuer.stop()
    process = start().started()
    response = process.get("MANAGEMENT_PORT", "/health/ready")
    assert (response.status_code, response.json()["checks"]["tokens"]["status"]) == (503, "failed")
    issuer.start()
    until(lambda: process.status("MANAGEMENT_PORT", "/health/ready") == 200, "readiness to turn")
    redis_server.stop()
    until(
        lambda: process.get("MANAGEMENT_PORT", "/health/ready").json()["checks"]["redis"]["status"] == "degraded",
        "Redis to be missed",
    )
    assert process.get("PUBLIC_PORT", "/admin/orders", **admin).status_code == 200
    redis_server.start()
    ecom.stop()
    inventory.stop()
    until(
        lambda: process.get("MANAGEMENT_PORT", "/health/ready").json()["checks"]["redis"]["status"] == "ok",
        "Redis to be found again",
    )
    assert process.status("MANAGEMENT_PORT", "/health/ready") == 200
    assert process.get("PUBLIC_PORT", "/admin/orders", **admin).status_code == 502
    ecom.start()
    until(lambda: process.get("PUBLIC_PORT", "/admin/orders", **admin).status_code == 200, "the peer to be found again")
    assert process.end() == 0


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"ECOM_URL": ""}, "ECOM_URL: not set; write the E-Commerce API's internal address"),
        ({"INVENTORY_URL": "inventory-api:8001"}, "INVENTORY_URL: 'inventory-api:8001' is wrong"),
        ({"INVENTORY_URL": "http://inventory-api:8001/internal"}, "INVENTORY_URL: "),
        ({"REQUEST_PATIENCE_SECONDS": "0"}, "REQUEST_PATIENCE_SECONDS: '0' is wrong"),
        ({"OIDC_ISSUER": ""}, "OIDC_ISSUER: not set"),
        ({"REDIS_PASSWORD": ""}, "REDIS_PASSWORD: not set"),
        ({"LISTEN_HOST": "203.0.113.1"}, "PUBLIC_PORT="),
    ],
)
def test_bad_settings_end_the_start(start: Start, changes: dict[str, str], part: str) -> None:
    process = start(**changes)
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == 2
    assert part in process.log.read_text()
    assert "Traceback" not in process.log.read_text()
