"""`make up` after the engine, a node or `make up` itself was killed: nothing is made anew that is there, and no row is lost."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from ansible_collections.bookstore.platform.plugins.module_utils.mesh.mesh_plan import PROBE_LABEL

from ..conftest import STATE
from ..goods import Sql
from ..waiting import until
from .conftest import report
from .operating import CHECKOUT, NODES, log_of, operator

pytestmark = pytest.mark.timeout(3600)

UP_S = 1500.0
ENGINE_PID = Path("/var/run/docker.pid")
WORKER = "bookstore-worker2"
# Text in the output of `make up`: while or after the nodes start, the databases are applied, the services are applied.
MOMENTS = ("bring it back", "== databases", "== apps")


@pytest.fixture
def kept(ecom_sql: Sql) -> Iterator[Callable[[], None]]:
    """Writes a row that nobody has time to save elsewhere; called afterwards, it looks for it and for every order of before."""
    marker = secrets.token_hex(8)
    orders = "SELECT count(*) || ' ' || coalesce(md5(string_agg(id::text || status, ',' ORDER BY id)), '') FROM orders"
    ecom_sql("DROP TABLE IF EXISTS bringup_marker; CREATE TABLE bringup_marker (value text)")
    before = ecom_sql(orders)
    ecom_sql(f"INSERT INTO bringup_marker VALUES ('{marker}')")

    def check() -> None:
        assert ecom_sql("SELECT value FROM bringup_marker") == marker
        assert ecom_sql(orders) == before

    yield check
    ecom_sql("DROP TABLE bringup_marker")


def uids(cluster: Cluster) -> dict[str, str]:
    """Uids of the pods that run.

    Probes of `verify` come and go. The control plane's own pods are files on its node: kind writes the node's new address into
    two of them, and the kubelet then mirrors them anew.
    """
    return {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod["metadata"]["uid"]
        for pod in cluster.objects("Pod")
        if pod["status"].get("phase") == "Running"
        and PROBE_LABEL not in (pod["metadata"].get("labels") or {})
        and "kubernetes.io/config.mirror" not in (pod["metadata"].get("annotations") or {})
    }


def ready_nodes(cluster: Cluster) -> dict[str, str]:
    """Name to uid of the nodes that are Ready."""
    return {
        node["metadata"]["name"]: node["metadata"]["uid"]
        for node in cluster.objects("Node")
        if any(fact["type"] == "Ready" and fact["status"] == "True" for fact in node["status"]["conditions"])
    }


def verified_since(moment: float) -> None:
    """The report of `verify` is of a run after ``moment`` (seconds since 1970), and nothing failed in it."""
    path = STATE / "reports/verify.json"
    assert path.stat().st_mtime >= moment, f"{path} was not written again"
    checks: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["checks"]
    assert checks, f"{path} holds no check"
    assert [check for check in checks if check["status"] == "failed"] == []


def inspect(what: str, *containers: str) -> list[str]:
    """A field of each container."""
    command = ["docker", "container", "inspect", "--format", what, *containers]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()


def engine() -> int:
    """Process id of the engine on this host; the test is skipped where it is somewhere else."""
    if os.geteuid() != 0 or not ENGINE_PID.is_file():
        pytest.skip(f"needs root and an engine on this host ({ENGINE_PID})")
    pid = int(ENGINE_PID.read_text("ascii"))
    assert Path(f"/proc/{pid}/comm").read_text("utf-8").strip() == "dockerd", f"{ENGINE_PID} is stale: {pid}"
    return pid


def test_engine_and_nodes_killed(cluster: Cluster, kept: Callable[[], None], request: pytest.FixtureRequest) -> None:
    """As when the machine loses its power: first the engine, so that it sees none of its containers end."""
    daemon, processes, before = engine(), [int(pid) for pid in inspect("{{.State.Pid}}", *NODES)], uids(cluster)
    assert all(pid > 1 for pid in processes), f"a node does not run: {processes}"
    began = time.time()
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "kill", "--signal=KILL", "docker.service"], check=True, timeout=60)
    else:
        os.kill(daemon, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{daemon}/cmdline").is_file() or not Path(f"/proc/{daemon}/cmdline").read_bytes(), "dockerd to end")
    for pid in processes:
        # systemd may have taken them along with its service.
        if Path(f"/proc/{pid}").is_dir():
            os.kill(pid, signal.SIGKILL)
    seconds = operator("engine", "make", "up", timeout=UP_S)
    report(request.node.name, {"make_up_seconds": round(seconds, 1)})
    verified_since(began)
    kept()
    assert uids(cluster) == before


def test_worker_removed(cluster: Cluster, kept: Callable[[], None], request: pytest.FixtureRequest) -> None:
    """A worker's container and its anonymous volume are gone; it comes back as a new Node of the same name."""
    before, [old] = ready_nodes(cluster), inspect("{{.Id}}", WORKER)
    assert set(before) == set(NODES)
    began = time.time()
    subprocess.run(["docker", "rm", "--force", "--volumes", WORKER], check=True, capture_output=True, timeout=120)
    seconds = operator("worker", "make", "up", timeout=UP_S)
    report(request.node.name, {"make_up_seconds": round(seconds, 1)})
    after = ready_nodes(cluster)
    assert set(after) == set(NODES)
    assert {name for name in NODES if after[name] != before[name]} == {WORKER}, "exactly the removed worker joins anew"
    assert inspect("{{.Id}}", WORKER) != [old]
    verified_since(began)
    kept()


def kill_at(moment: str, number: int) -> float:
    """Start `make up` and kill -9 its process group once it has printed ``moment``; returns the seconds until then.

    Ansible's workers have sessions of their own: the task that runs goes on, and the next `make up` meets it.
    """
    log, began = log_of(f"killed-{number}"), time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        running = subprocess.Popen(["make", "up"], cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        until(lambda: moment in log.read_text("utf-8") or running.poll() is not None, f"{moment!r} in {log}", UP_S, pause=0.1)
        assert running.poll() is None, f"`make up` ended with {running.returncode} before it could be killed at {moment!r}, see {log}"
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(30)
    assert running.returncode == -signal.SIGKILL
    return time.monotonic() - began


def test_make_up_killed(cluster: Cluster, kept: Callable[[], None], request: pytest.FixtureRequest) -> None:
    """The nodes were stopped hard, and the bring-up after it is killed three times, each time further on."""
    subprocess.run(["docker", "kill", *NODES], check=True, capture_output=True, timeout=60)
    began = time.time()
    killed: dict[str, object] = {}
    for number, moment in enumerate(MOMENTS, 1):
        killed[f"killed at {moment!r} after seconds"] = round(kill_at(moment, number), 1)
        print(f"killed at {moment!r}")
    seconds = operator("after-kills", "make", "up", timeout=UP_S)
    report(request.node.name, {**killed, "make_up_seconds": round(seconds, 1)})
    assert set(ready_nodes(cluster)) == set(NODES)
    verified_since(began)
    kept()
