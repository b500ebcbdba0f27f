"""The kind cluster's decisions, with the engine replaced by a record of what it was asked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils import kind_cluster

NODES = ["shop-control-plane", "shop-worker", "shop-worker2"]


class Recorder(kind_cluster.Cluster):
    """A cluster that records instead of acting."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__("shop", "kind", "image:1", "config", 2, "172.30.0.0/16", tmp_path / "kubeconfig", tmp_path / "log")
        self.done: list[str] = []
        self.stored: str | None = self.fingerprint()
        self.joined = set(NODES)
        self.alive: set[str] = set()

    def marker(self, nodes: dict[str, dict[str, Any]]) -> str | None:
        return self.stored if self.control_plane() in nodes else None

    def create(self, timeout: float) -> None:
        self.done.append("create")

    def delete(self) -> None:
        self.done.append("delete")

    def write_kubeconfig(self) -> None:
        self.done.append("kubeconfig")

    def wait_for_api(self, timeout: float) -> None:
        self.done.append("api")

    def wait_for_kubelets(self, names: Iterable[str], timeout: float) -> None:
        self.done.append("kubelets")

    def node_names(self) -> set[str]:
        return self.joined

    def join_worker(self, name: str, nodes: dict[str, dict[str, Any]], timeout: float) -> None:
        self.done.append(f"join {name}")
        self.alive = set(nodes)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    found = {name: {"State": {"Running": True}} for name in NODES}
    monkeypatch.setattr(kind_cluster, "containers", lambda label: found)
    return found


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(tmp_path)
    monkeypatch.setattr(kind_cluster, "docker", lambda *args, **kwargs: recorder.done.append(" ".join(args)) or "")
    return recorder


def test_healthy_cluster_is_left_alone(cluster: Recorder, nodes: dict[str, Any]) -> None:
    assert not cluster.ensure(rebuild=False, timeout=1).changed
    assert cluster.done == ["kubeconfig", "api", "kubelets"]


def test_nothing_there_is_created(cluster: Recorder, nodes: dict[str, Any]) -> None:
    nodes.clear()
    assert cluster.ensure(rebuild=False, timeout=1).created
    assert cluster.done == ["create"]


def test_interrupted_creation_is_made_again(cluster: Recorder, nodes: dict[str, Any]) -> None:
    cluster.stored = None
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert (outcome.removed, outcome.created) == (True, True)
    assert cluster.done == ["delete", "create"]


def test_rebuild_is_made_again(cluster: Recorder, nodes: dict[str, Any]) -> None:
    cluster.ensure(rebuild=True, timeout=1)
    assert cluster.done == ["delete", "create"]


def test_lost_control_plane_is_made_again(cluster: Recorder, nodes: dict[str, Any]) -> None:
    del nodes["shop-control-plane"]
    cluster.ensure(rebuild=False, timeout=1)
    assert cluster.done == ["delete", "create"]


def test_stopped_nodes_are_started_before_the_api_is_waited_for(cluster: Recorder, nodes: dict[str, Any]) -> None:
    nodes["shop-worker"]["State"]["Running"] = False
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert outcome.started == ["shop-worker"]
    assert cluster.done == ["container start shop-worker", "kubeconfig", "api", "kubelets"]


def test_lost_worker_is_replaced(cluster: Recorder, nodes: dict[str, Any]) -> None:
    del nodes["shop-worker2"]
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert outcome.joined == ["shop-worker2"]
    assert cluster.done[-1] == "join shop-worker2"


def test_container_that_never_joined_is_replaced(cluster: Recorder, nodes: dict[str, Any]) -> None:
    """What a kill between `docker run` and the end of `kubeadm join` leaves."""
    cluster.joined.remove("shop-worker2")
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert outcome.joined == ["shop-worker2"]
    assert cluster.done == ["kubeconfig", "api", "kubelets", "join shop-worker2"]
    assert "shop-worker2" not in cluster.alive


def test_stopped_container_that_never_joined_is_not_reported_as_started(cluster: Recorder, nodes: dict[str, Any]) -> None:
    cluster.joined.remove("shop-worker2")
    nodes["shop-worker2"]["State"]["Running"] = False
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert (outcome.started, outcome.joined) == ([], ["shop-worker2"])


@pytest.mark.parametrize("joined", [True, False])
def test_a_worker_that_cannot_be_started_stops_the_run_only_if_it_had_joined(
    cluster: Recorder, nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    nodes["shop-worker2"]["State"]["Running"] = False
    if not joined:
        cluster.joined.remove("shop-worker2")

    def refuse(*args: str, **kwargs: object) -> str:
        raise kind_cluster.DockerError(" ".join(args))

    monkeypatch.setattr(kind_cluster, "docker", refuse)
    if joined:
        with pytest.raises(kind_cluster.DockerError, match="container start shop-worker2"):
            cluster.ensure(rebuild=False, timeout=1)
    else:
        assert cluster.ensure(rebuild=False, timeout=1).joined == ["shop-worker2"]


def test_join_works_when_the_token_of_before_has_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def answer(*args: str, **kwargs: object) -> str:
        done.append(" ".join(args))
        if "token delete" in done[-1]:
            raise kind_cluster.DockerError("failed to delete bootstrap token: not found")
        return CONFIG if args[-1] == "/kind/kubeadm.conf" else ""

    monkeypatch.setattr(kind_cluster, "docker", answer)
    monkeypatch.setattr(kind_cluster, "run_container", answer)
    cluster = kind_cluster.Cluster("shop", "kind", "image:1", "config", 2, "172.30.0.0/16", tmp_path / "kubeconfig", tmp_path / "log")
    labels = {"Labels": {kind_cluster.ROLE_LABEL: "worker"}, "Image": "image:1"}
    networks = {"NetworkSettings": {"Networks": {"shop": {"IPAddress": "172.30.0.4"}}}}
    cluster.join_worker("shop-worker2", {"shop-worker": {**SIBLING, "Config": labels, **networks}}, timeout=1)
    assert [line for line in done if "bootstrap-token-abcdef" in line and "--ignore-not-found" in line]
    assert "kubeadm join" in done[-1]


def test_other_settings_are_reported_not_applied(cluster: Recorder, nodes: dict[str, Any]) -> None:
    cluster.stored = "older"
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert outcome.settings_differ
    assert not outcome.changed


@pytest.mark.parametrize("remove", [[], ["shop-worker"], NODES])
def test_check_mode_acts_on_nothing(cluster: Recorder, nodes: dict[str, Any], remove: list[str]) -> None:
    for name in remove:
        del nodes[name]
    outcome = cluster.ensure(rebuild=False, timeout=1, check=True)
    assert outcome.changed is bool(remove)
    assert cluster.done == []


SIBLING = {
    "Name": "/shop-worker",
    "HostConfig": {"Binds": ["/lib/modules:/lib/modules:ro", "/data:/var/lib/bookstore"]},
    "Config": {"Image": "image:1"},
}


def test_replacement_has_the_siblings_mounts_and_image() -> None:
    arguments = kind_cluster.run_arguments(SIBLING, "shop-worker2", "shop")
    assert arguments[-1] == "image:1"
    assert "/data:/var/lib/bookstore" in arguments
    assert arguments.count("/lib/modules:/lib/modules:ro") == 1


CONFIG = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
nodeRegistration:
  name: shop-worker
  kubeletExtraArgs:
    - name: node-ip
      value: 172.30.0.4
    - name: provider-id
      value: kind://docker/shop/shop-worker
    - name: other
      value: 172.30.0.41
"""


def test_join_configuration_takes_name_and_address_of_the_new_node() -> None:
    text = kind_cluster.join_config(CONFIG, "shop-worker", "shop-worker2", "172.30.0.4", "172.30.0.9")
    assert "name: shop-worker2\n" in text
    assert "value: 172.30.0.9\n" in text
    assert "kind://docker/shop/shop-worker2\n" in text
    assert "172.30.0.41" in text
    assert text.count("shop-worker22") == 0


def pod(name: str, node: str | None, *started: str | None) -> dict[str, Any]:
    states = [{"state": {"running": {"startedAt": at}} if at else {"waiting": {}}} for at in started]
    spec = {"nodeName": node} if node else {}
    return {"metadata": {"namespace": "n", "name": name}, "spec": spec, "status": {"containerStatuses": states}}


def test_pods_of_before_the_nodes_start_are_stale() -> None:
    started = {"shop-worker": "2026-11-23T06:00:00.123456789Z"}
    pods = [
        pod("old", "shop-worker", "2026-11-23T05:59:59Z"),
        pod("half", "shop-worker", "2026-11-23T06:00:09Z", "2026-11-23T05:00:00Z"),
        pod("new", "shop-worker", "2026-11-23T06:00:00Z"),
        pod("waiting", "shop-worker", None),
        pod("elsewhere", "other", "2026-11-23T05:00:00Z"),
        pod("unscheduled", None),
    ]
    assert kind_cluster.stale_pods(pods, started) == ["n/old", "n/half"]


# What a cluster remembers, and what its nodes are told ----------------------------------------------------------


class Nodes:
    """Files of node containers; `docker exec` reads and writes them."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], str] = {}

    def docker(self, *args: str, stdin: str | None = None, **_: object) -> str:
        command, key = args[-2], (args[-5], args[-1])
        if stdin is not None:
            assert "mkdir -p" in command
            self.files[key] = stdin
            return ""
        return self.files.get(key, "")


HOSTS = '[host."http://bookstore-registry:5000"]\n'


def test_each_node_is_told_once_where_the_registry_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kind's own node image does not know it, and neither does a node that has just joined."""
    nodes = Nodes()
    monkeypatch.setattr(kind_cluster, "docker", nodes.docker)
    cluster = kind_cluster.Cluster("shop", "kind", "image:1", "config", 2, "", tmp_path, tmp_path, "registry", "shop.local", HOSTS)
    nodes.files["shop-worker", "/etc/containerd/certs.d/shop.local/hosts.toml"] = HOSTS
    assert cluster.configure(NODES) == ["shop-control-plane", "shop-worker2"]
    assert set(nodes.files.values()) == {HOSTS}
    assert cluster.configure(NODES) == []


@pytest.mark.parametrize("missing", [None, "shop-worker2", "all"])
def test_nodes_are_configured_after_creation_and_join(cluster: Recorder, nodes: dict[str, Any], missing: str | None) -> None:
    if missing == "all":
        nodes.clear()
    elif missing:
        del nodes[missing]
    told: list[str] = []
    cluster.configure = lambda names: told.extend(names) or []  # type: ignore[method-assign, assignment, func-returns-value]
    cluster.ensure(rebuild=False, timeout=1)
    assert told == NODES


@pytest.mark.parametrize(
    ("marker", "stored", "source"),
    [(None, "registry", None), ("f", "registry", "registry"), ("f", "packages", "packages"), ("f", None, "packages")],
)
def test_a_finished_cluster_remembers_its_image_source(
    monkeypatch: pytest.MonkeyPatch, nodes: dict[str, Any], marker: str | None, stored: str | None, source: str | None
) -> None:
    files = {kind_cluster.MARKER: marker, kind_cluster.SOURCE: stored}
    monkeypatch.setattr(kind_cluster, "read_file", lambda container, path: files[path])
    assert kind_cluster.recorded_source("shop") == source
    nodes.clear()
    assert kind_cluster.recorded_source("shop") is None


def test_creation_remembers_the_source_before_it_counts_as_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(kind_cluster, "docker", lambda *args, **_: done.append(" ".join(args)) or "")
    monkeypatch.setattr(kind_cluster, "ensure_network", lambda *_: False)
    cluster = kind_cluster.Cluster("shop", "kind", "i", "c", 2, "", tmp_path / "kubeconfig", tmp_path / "log", "registry")
    monkeypatch.setattr(cluster, "_kind", lambda *_: None)
    cluster.create(1)
    assert done[-1].endswith(f"echo registry > {kind_cluster.SOURCE} && echo {cluster.fingerprint()} > {kind_cluster.MARKER}")
