"""The real process: ``python -m mesh_map``, its two ports, its watch, its end, bad settings."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from map_testing import TOKEN, Figures

from bookstore_common.testing import plain_http
from bookstore_common.testing.postgres import free_port

PATIENCE_SECONDS = 40.0
Start = Callable[..., "Process"]


def until(done: Callable[[], bool], what: str) -> None:
    """Poll a fact that no event announces."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} s for: {what}"
        time.sleep(0.02)


class Process:
    """One running map."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.ports = {name: free_port() for name in ("PUBLIC_PORT", "MANAGEMENT_PORT")}
        self.log = log
        variables = {
            **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LISTEN_HOST": "127.0.0.1", "WATCH_SECONDS": "0.1",
            "SHUTDOWN_LAME_DUCK_SECONDS": "0", **{name: str(port) for name, port in self.ports.items()}, **environment,
        }  # fmt: skip
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "mesh_map"], env=variables, stdout=output, stderr=subprocess.STDOUT
            )

    def get(self, port: str, path: str) -> httpx2.Response:
        return plain_http.request("GET", f"http://127.0.0.1:{self.ports[port]}{path}", PATIENCE_SECONDS, headers={})

    def status(self, port: str, path: str) -> int:
        """0 if nothing listens."""
        try:
            return self.get(port, path).status_code
        except httpx2.TransportError:
            return 0

    def checks(self) -> dict[str, str]:
        checks = self.get("MANAGEMENT_PORT", "/health/ready").json()["checks"]
        return {name: check["status"] for name, check in checks.items()}

    def started(self) -> "Process":
        until(lambda: self.status("MANAGEMENT_PORT", "/health/live") == 200, "the process to listen")
        return self


@pytest.fixture
def start(variables: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start processes that end with the test."""
    processes: list[Process] = []

    def begin(**changes: str) -> Process:
        processes.append(Process({**variables, **changes}, tmp_path / f"log-{len(processes)}"))
        return processes[-1]

    yield begin
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def test_page_figures_and_metrics_on_their_ports(start: Start) -> None:
    process = start(LOG_LEVEL="debug").started()
    assert "<title>map</title>" in process.get("PUBLIC_PORT", "/").text
    assert len(process.get("PUBLIC_PORT", "/api/map").json()["workloads"]) > 20
    assert process.status("PUBLIC_PORT", "/metrics") == 404
    assert process.status("MANAGEMENT_PORT", "/api/map") == 404
    metrics = process.get("MANAGEMENT_PORT", "/metrics").text
    assert 'http_requests_total{listener="public",method="GET",route="/api/map",status="200"} 1.0' in metrics
    process.popen.terminate()
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == 0
    text = process.log.read_text()
    assert TOKEN not in text
    assert {json.loads(line)["service"] for line in text.splitlines()} == {"mesh-map"}


def test_it_knows_since_when_prometheus_is_away_though_nobody_looked(start: Start, figures: Figures) -> None:
    process = start().started()
    until(lambda: process.checks() == {"prometheus": "ok", "kubernetes": "ok"}, "both sources to be seen")
    figures.stop()
    until(lambda: process.checks()["prometheus"] == "degraded", "Prometheus to be missed")
    # Out of rotation the page could not tell it.
    assert process.status("MANAGEMENT_PORT", "/health/ready") == 200
    missed = time.time()
    answer = process.get("PUBLIC_PORT", "/api/map").json()["figures"]
    assert answer["ever"] is True
    assert answer["since"] <= missed
    figures.start()
    until(lambda: process.checks()["prometheus"] == "ok", "Prometheus to be seen again")


def test_started_blind_it_says_at_least(start: Start, figures: Figures) -> None:
    figures.stop()
    process = start().started()
    answer = process.get("PUBLIC_PORT", "/api/map").json()["figures"]
    assert (answer["state"], answer["ever"]) == ("blind", False)


@pytest.mark.parametrize(
    ("changes", "code", "part"),
    [
        ({"PROMETHEUS_URL": ""}, 2, "PROMETHEUS_URL: not set; write Prometheus' address"),
        ({"PROMETHEUS_URL": "prometheus:9090"}, 2, "PROMETHEUS_URL: 'prometheus:9090' is wrong"),
        ({"KUBERNETES_URL": "http://k/api"}, 2, "KUBERNETES_URL: 'http://k/api' is wrong"),
        ({"OWN_NAMES": ""}, 2, "OWN_NAMES: not set"),
        ({"LOOK_SECONDS": "0"}, 2, "LOOK_SECONDS: '0' is wrong"),
        ({"PUBLIC_PORT": "8002", "MANAGEMENT_PORT": "8002"}, 2, "PUBLIC_PORT and MANAGEMENT_PORT must differ"),
        ({"LISTEN_HOST": "203.0.113.1"}, 2, "PUBLIC_PORT="),
        ({"DECLARED_FILE": "/nowhere.json"}, 1, "DECLARED_FILE=/nowhere.json"),
        ({"PAGES_DIR": "/nowhere"}, 1, "PAGES_DIR=/nowhere: no index.html there"),
    ],
)
def test_bad_settings_end_the_start(start: Start, changes: dict[str, str], code: int, part: str) -> None:
    process = start(**changes)
    assert process.popen.wait(timeout=PATIENCE_SECONDS) == code
    assert part in process.log.read_text()
