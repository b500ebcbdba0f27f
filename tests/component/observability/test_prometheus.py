"""Prometheus' own programs judge its configuration: the checker its syntax, and the server which of many pods it would scrape, and how."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table
from tests.live.declared import WORKLOADS

ROOT = Path(__file__).parents[3]
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
Object = dict[str, Any]


def program(name: str) -> str:
    """Return a program that the image factory built last on this host."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bookstore-platform/artifacts"
    built = sorted(cache.glob(f"prometheus-server-*/{name}"), key=lambda file: file.stat().st_mtime)
    if not built:
        pytest.skip(f"{name} is not built on this host; `make up` builds it")
    return str(built[-1])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Object:
    """The configuration, rendered by the role's own template and variables."""
    folder = tmp_path_factory.mktemp("rendered")
    play = [{
        "hosts": "localhost", "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_vars": {"file": f"{ROOT}/roles/observability/{file}/main.yml"}} for file in ("defaults", "vars")
        ] + [{"ansible.builtin.template": {"src": f"{ROOT}/roles/observability/templates/prometheus.yml.j2", "dest": f"{folder}/out.yml"}}],
    }]  # fmt: skip
    (folder / "play.yml").write_text(json.dumps(play), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventory/local"), str(folder / "play.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: Object = yaml.safe_load((folder / "out.yml").read_text(encoding="utf-8"))
    return found


def test_the_checker_takes_the_configuration(rendered: Object, tmp_path: Path) -> None:
    checker = ROOT / "tools/promtool"
    if not checker.exists():
        pytest.skip("tools/promtool is not there")
    # As in its pod: what it names there is in other places here.
    rules = str(ROOT / "roles/observability/files/rules/*.yml")
    text = yaml.safe_dump({**rendered, "rule_files": [rules]}).replace(TOKEN, str(tmp_path / "token"))
    (tmp_path / "token").write_text("none", encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    done = subprocess.run([str(checker), "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "prometheus.yml").write_text(text.replace("relabel_configs", "relabel_config", 1), encoding="utf-8")
    done = subprocess.run([str(checker), "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False)
    assert "relabel_config" in done.stderr


def pod(namespace: str, name: str, address: str, ports: dict[int, str], container: str = "app", /, **labels: str) -> list[Object]:
    """Return what Prometheus finds of a pod at the API server: a target for each port of its containers."""
    meta = {
        "namespace": namespace, "pod_name": name, "pod_ip": address, "pod_node_name": "worker", "pod_phase": labels.pop("phase", "Running"),
        "pod_container_name": container, **{f"pod_label_{key}": value for key, value in labels.items()},
    }  # fmt: skip
    return [
        {"targets": [f"{address}:{number}"],
         "labels": {f"__meta_kubernetes_{key}": value for key, value in {
             **meta, "pod_container_port_number": str(number), "pod_container_port_name": port,
         }.items()}}
        for number, port in ports.items()
    ]  # fmt: skip


NAME, GATEWAY = "app_kubernetes_io_name", "gateway_networking_k8s_io_gateway_name"
SIDECAR = "istio-proxy"


def scene() -> list[Object]:
    """Pods of every workload of the table, two of one, with those that must not be scraped."""
    groups: list[Object] = []
    for number, (name, row) in enumerate(WORKLOADS.items(), 1):
        ports = {entry["number"]: port for port, entry in (row.get("ports") or {}).items()}
        if ports and row["kind"] == "Gateway":
            ports[15090] = "http-envoy-prom"
            groups += pod(row["namespace"], f"{name}-istio-1", f"10.0.0.{number}", ports, SIDECAR, **{GATEWAY: name})
        elif ports:
            groups += pod(row["namespace"], f"{name}-0", f"10.0.0.{number}", ports, **{NAME: name})
    groups += pod("ecom", "ecom-api-1", "10.0.1.1", {8002: "management"}, **{NAME: "ecom-api"})
    groups += pod("ecom", "ecom-api-1", "10.0.1.1", {15090: "http-envoy-prom"}, SIDECAR, **{NAME: "ecom-api"})
    groups += pod("ecom", "mesh-probe-1", "10.0.1.2", {8002: "management"}, **{NAME: "ecom-api", "platform_bookstore_probe": "x"})
    groups += pod("ecom", "ecom-api-9", "10.0.1.3", {8002: "management"}, phase="Failed", **{NAME: "ecom-api"})
    groups += pod("storefront", "stranger", "10.0.1.4", {8002: "management"}, **{NAME: "ecom-api"})
    groups += pod("istio-system", "istiod-1", "10.0.1.5", {15012: "tls-xds", 15014: "http-monitoring"}, app="istiod", **{NAME: "istiod"})
    groups += pod("istio-system", "ztunnel-1", "10.0.1.6", {15020: "ztunnel-stats"}, app="ztunnel", **{NAME: "ztunnel"})
    return groups


@contextlib.contextmanager
def running(configuration: Object, folder: Path) -> Iterator[str]:
    """Run Prometheus; yields the address of its API."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    options = {"config.file": f"{folder}/prometheus.yml", "storage.tsdb.path": f"{folder}/data", "web.listen-address": address}
    command = [program("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, env={"GOMAXPROCS": "1"}) as server:
        try:
            yield f"http://{address}"
        finally:
            server.terminate()


def asked(api: str, path: str, deadline: float) -> Any:
    """Return the data of an answer, when the server gives it."""
    while True:
        try:
            with urllib.request.urlopen(f"{api}/api/v1/{path}", timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            assert time.monotonic() < deadline, "Prometheus does not answer"
            time.sleep(0.1)


def test_every_pod_of_the_table_is_scraped_at_its_port_and_path_and_no_other(rendered: Object, tmp_path: Path) -> None:
    (tmp_path / "pods.json").write_text(json.dumps(scene()), encoding="utf-8")
    nodes = [{"targets": ["172.30.0.2:10250"], "labels": {"__meta_kubernetes_node_name": "worker"}}]
    (tmp_path / "nodes.json").write_text(json.dumps(nodes), encoding="utf-8")
    (tmp_path / "token").write_text("none", encoding="utf-8")
    configuration = json.loads(json.dumps(rendered).replace(TOKEN, str(tmp_path / "token")))
    for job in configuration["scrape_configs"]:
        found = job.pop("kubernetes_sd_configs", None)
        if found:
            job["file_sd_configs"] = [{"files": [str(tmp_path / ("nodes.json" if found[0]["role"] == "node" else "pods.json"))]}]
    expected = {
        (row["workload"], f"{row['workload']}{'-istio-1' if row['kind'] == 'Gateway' else '-0'}", row["number"], row["path"])
        for row in workload_table.metrics(WORKLOADS)
    } | {
        ("ecom-api", "ecom-api-1", 8002, "/metrics"), ("istiod", "istiod-1", 15014, "/metrics"),
        ("ztunnel", "ztunnel-1", 15020, "/stats/prometheus"), ("istio-proxy", "ecom-api-1", 15020, "/stats/prometheus"),
        ("prometheus", "prometheus-0", 9090, "/metrics"), ("kubelet", None, 10250, "/metrics/resource"),
        ("cadvisor", None, 10250, "/metrics/cadvisor"),
    }  # fmt: skip
    deadline = time.monotonic() + 60
    with running(configuration, tmp_path) as api:
        while True:
            targets = asked(api, "targets?state=active", deadline)["activeTargets"]
            if len(targets) >= len(expected) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
    found_at = [(target["labels"], urlsplit(target["scrapeUrl"])) for target in targets]
    seen = {(labels["job"], labels.get("pod"), url.port, url.path) for labels, url in found_at}
    assert seen == expected
    workloads = {target["labels"]["job"]: target["labels"] for target in targets if target["labels"]["job"] in WORKLOADS}
    assert all(labels["workload"] == job and labels["namespace"] == WORKLOADS[job]["namespace"] for job, labels in workloads.items())
    (proxy,) = [target["labels"] for target in targets if target["labels"]["job"] == "istio-proxy"]
    assert (proxy["workload"], proxy["instance"], proxy["node"]) == ("ecom-api", "ecom-api-1:15020", "worker")
