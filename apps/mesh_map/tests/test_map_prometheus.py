"""The questions of the map, asked of a real Prometheus that scrapes what the recording rules would make."""

import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from map_testing import Cluster, client_of, environment, made

from bookstore_common.testing import plain_http
from bookstore_common.testing.postgres import free_port
from bookstore_common.testing.processes import PATIENCE_SECONDS, until

EVIL = 'a "quoted" \\\\ {title}, <b>'
ENDS = (
    'source_workload_namespace="ecom",source_workload="ecom-api",'
    'destination_workload_namespace="inventory",destination_workload="inventory-api"'
)
SERIES = f"""\
edge:requests:rate1m{{{ENDS}}} 4.25
edge:requests_failed:rate1m{{{ENDS}}} 0.5
edge:duration_milliseconds:p95_1m{{{ENDS}}} NaN
edge:mutual_tls:bool{{{ENDS}}} 1
workload:requests:rate1m{{namespace="ecom",workload="ecom-api"}} 18
workload:memory_bytes{{namespace="ecom",workload="ecom-api"}} 148000000
workload:memory_bytes{{namespace="ecom",workload="ecom-worker"}} 1
table:lag:records{{table="orders"}} 3
view:age:seconds{{view="{EVIL.replace(chr(34), chr(92) + chr(34))}"}} 14
"""
CONFIGURATION = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [alert.yml]
scrape_configs:
  - job_name: recorded
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
ALERT = """\
groups:
  - name: tests
    rules:
      - alert: TableLags
        expr: table:lag:records > 1
        labels: {severity: warning}
        annotations: {summary: "{{ $labels.table }} is behind.", remedy: BK-329}
"""
pytestmark = pytest.mark.anyio


def binary() -> Path:
    """The server that the platform builds for itself."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bookstore-platform/artifacts"
    found = sorted(cache.glob("prometheus*/prometheus"), key=lambda file: file.stat().st_mtime)
    if not found:
        pytest.skip("no Prometheus here: the first make up builds it")
    return found[-1]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Prometheus that has scraped :data:`SERIES`, and whose alert fires."""
    program = binary()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(SERIES.encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    target = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=target.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=target.server_port))
    (folder / "alert.yml").write_text(ALERT)
    command = [
        str(program), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    def ask(path: str) -> dict[str, Any]:
        try:
            answer = plain_http.request("GET", f"{url}/api/v1/{path}", PATIENCE_SECONDS, headers={})
        except httpx2.TransportError:
            return {}
        return dict(answer.json()["data"]) if answer.status_code == 200 else {}

    def scraped() -> bool:
        # Three scrapes: the first one was a second ago and more.
        counted = ask("query?query=count_over_time(table:lag:records[1m])>2")
        return bool(counted.get("result")) and bool(ask("alerts").get("alerts"))

    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            until(scraped, "Prometheus to scrape and to fire")
            yield url
        finally:
            server.terminate()
            server.wait(timeout=PATIENCE_SECONDS)
            target.shutdown()
            target.server_close()


async def test_a_real_prometheus_answers_every_question(prometheus: str, cluster: Cluster, tmp_path: Path) -> None:
    variables = {**environment(cluster, cluster, tmp_path), "PROMETHEUS_URL": prometheus}
    service = made(variables)
    try:
        async with client_of(service) as client:
            found = (await client.get("/api/map")).json()
            signals = (await client.get("/api/workloads/ecom/ecom-api")).json()["signals"]
    finally:
        await service.prometheus.close()
        await service.kubernetes.close()
    assert (found["figures"], found["recorded"]) == ({"state": "seen"}, True)
    [edge] = [row for row in found["edges"] if row["state"] == "active"]
    assert (edge["source"], edge["target"]) == ("ecom/ecom-api", "inventory/inventory-api")
    assert (edge["rate"], edge["errors"], edge["p95"], edge["identity"]) == (4.25, 0.5, None, "mutual")
    assert [(row["kind"], row["name"]) for row in found["freshness"]] == [
        ("table", "orders"), ("view", 'a "quoted" \\ {title}, <b>'),
    ]  # fmt: skip
    [alert] = found["alerts"]
    assert (alert["name"], alert["summary"], alert["remedy"]) == ("TableLags", "orders is behind.", "BK-329")
    assert alert["since"] is not None
    # Of this workload only, and what edges tell of its calls.
    assert {name: values[-1] for name, values in signals.items()} == {"rate": 18, "memory": 148e6, "calls": 4.25}
