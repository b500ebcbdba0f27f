"""The real process: ``python -m admin``, its two ports, its end, its logs, its dependencies down."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import httpx2
import pytest
from admin_testing import script

from bookstore_common.testing.http_stub import HttpStub
from bookstore_common.testing.processes import PATIENCE_SECONDS, ServiceProcess, until
from bookstore_common.testing.redis import RedisServer
from bookstore_common.testing.tokens import Issuer

Start = Callable[..., "Process"]


class Process(ServiceProcess):
    """One running service."""

    module = "admin"
    port_names = ("PUBLIC_PORT", "MANAGEMENT_PORT")
    defaults: ClassVar = {"SHUTDOWN_LAME_DUCK_SECONDS": "0"}


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
