"""The real process: ``python -m mesh_map``, its two ports, its watch, its end, bad settings."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from map_testing import TOKEN, Figures

from bookstore_common.testing.processes import PATIENCE_SECONDS, ServiceProcess, until

Start = Callable[..., "Process"]


class Process(ServiceProcess):
    """One running map."""

    module = "mesh_map"
    port_names = ("PUBLIC_PORT", "MANAGEMENT_PORT")
    defaults: ClassVar = {"WATCH_SECONDS": "0.1", "SHUTDOWN_LAME_DUCK_SECONDS": "0"}

    def checks(self) -> dict[str, str]:
        checks = self.get("MANAGEMENT_PORT", "/health/ready").json()["checks"]
        return {name: check["status"] for name, check in checks.items()}


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
