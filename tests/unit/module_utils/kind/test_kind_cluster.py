"""The kind cluster's decisions, with the engine replaced by a record of what it was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kind import kind_cluster

NODES = ["shop-control-plane", "shop-worker", "shop-worker2"]


class Recorder(kind_cluster.KindCluster):
    """A cluster that records instead of acting."""

    def __init__(self, tmp_path: Path) -> None:
        super().__init__("shop", "kind", "image:1", "config", 2, "172.30.0.0/16", tmp_path / "kubeconfig", tmp_path / "log")
        self.done: list[str] = []
        self.stored: str | None = self.fingerprint()
        self.joined = set(NODES)
        self.alive: set[str] = set()
        self.tokens: list[str] = []
        self.unschedulable: list[str] = []
        self.ending: list[str] = []

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

    def bootstrap_tokens(self) -> list[str]:
        return self.tokens

    def renew_certificates(self, nodes: Iterable[str], check: bool = False) -> list[str]:
        if self.ending and not check:
            self.done.append(f"renew {' '.join(nodes)}")
        return self.ending

    def cordoned_nodes(self) -> list[str]:
        return self.unschedulable

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


@pytest.mark.parametrize("check", [True, False])
def test_tokens_of_a_running_cluster_are_ended_once(cluster: Recorder, nodes: dict[str, Any], check: bool) -> None:
    cluster.tokens = ["bootstrap-token-abcdef", "bootstrap-token-zzzzzz"]
    outcome = cluster.ensure(rebuild=False, timeout=1, check=check)
    assert outcome.tokens_ended == ["bootstrap-token-abcdef", "bootstrap-token-zzzzzz"]
    assert outcome.changed
    deleted = [line for line in cluster.done if "delete secret" in line]
    assert bool(deleted) is not check
    assert all("bootstrap-token-abcdef" in line and "bootstrap-token-zzzzzz" in line for line in deleted)
    cluster.tokens = []
    assert not cluster.ensure(rebuild=False, timeout=1).changed


def test_what_a_killed_replacement_left_is_ended_before_the_next_one(cluster: Recorder, nodes: dict[str, Any]) -> None:
    del nodes["shop-worker2"]
    cluster.tokens = ["bootstrap-token-a1b2c3"]
    cluster.ensure(rebuild=False, timeout=1)
    ended = next(at for at, line in enumerate(cluster.done) if "delete secret" in line)
    assert ended < cluster.done.index("join shop-worker2")


@pytest.mark.parametrize("check", [True, False])
def test_certificates_are_renewed_before_the_api_server_is_asked(cluster: Recorder, nodes: dict[str, Any], check: bool) -> None:
    cluster.ending = ["shop-control-plane: /etc/kubernetes/pki/apiserver.crt"]
    nodes["shop-worker"]["State"]["Running"] = False
    outcome = cluster.ensure(rebuild=False, timeout=1, check=check)
    assert outcome.renewed == cluster.ending
    assert outcome.changed
    if not check:
        assert cluster.done[:4] == ["container start shop-worker", f"renew {' '.join(NODES)}", "kubeconfig", "api"]


def test_a_node_that_cannot_be_started_has_no_certificates_to_renew(
    cluster: Recorder, nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes["shop-worker2"]["State"]["Running"] = False
    cluster.joined.remove("shop-worker2")
    cluster.ending = ["x"]
    monkeypatch.setattr(cluster, "_start", lambda names: {"shop-worker2": kind_cluster.DockerError("no")})
    cluster.ensure(rebuild=False, timeout=1)
    assert "renew shop-control-plane shop-worker" in cluster.done


def test_cordoned_nodes_are_reported_and_left_so(cluster: Recorder, nodes: dict[str, Any]) -> None:
    cluster.unschedulable = ["shop-worker"]
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert outcome.cordoned == ["shop-worker"]
    assert not outcome.changed
    assert not [line for line in cluster.done if "uncordon" in line]


def test_other_settings_are_reported_not_applied(cluster: Recorder, nodes: dict[str, Any]) -> None:
    cluster.stored = "older"
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert outcome.settings_differ
    assert not outcome.changed


@pytest.mark.parametrize("image", ["shop.local/node:2", "shop.local/node:2@sha256:ab"])
@pytest.mark.parametrize("marker", ["of today", "with the tag"])
def test_an_older_node_image_is_no_other_setting(cluster: Recorder, nodes: dict[str, Any], image: str, marker: str) -> None:
    made_with = "shop.local/node:1"
    for node in nodes.values():
        node["Config"] = {"Image": made_with}
    cluster.image = made_with
    # An earlier version took the image's tag for a setting.
    with_tag = hashlib.sha256(f"{made_with}\n{cluster.config}".encode()).hexdigest()[:16]
    cluster.stored = cluster.fingerprint() if marker == "of today" else with_tag
    assert cluster.ensure(rebuild=False, timeout=1).older == []
    cluster.image = image
    outcome = cluster.ensure(rebuild=False, timeout=1)
    assert not outcome.settings_differ
    assert outcome.older == NODES
    assert not outcome.changed
    cluster.config = "other config"
    assert cluster.ensure(rebuild=False, timeout=1).settings_differ


def test_another_kind_of_node_image_is_another_setting(cluster: Recorder, nodes: dict[str, Any]) -> None:
    cluster.image = "kindest/node:1"
    assert cluster.ensure(rebuild=False, timeout=1).settings_differ


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
    cluster = kind_cluster.KindCluster("shop", "kind", "image:1", "config", 2, "", tmp_path, tmp_path, "registry", "shop.local", HOSTS)
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
    cluster = kind_cluster.KindCluster("shop", "kind", "i", "c", 2, "", tmp_path / "kubeconfig", tmp_path / "log", "registry")
    monkeypatch.setattr(cluster, "_kind", lambda *_: None)
    cluster.create(1)
    assert done[-1].endswith(f"echo registry > {kind_cluster.SOURCE} && echo {cluster.fingerprint()} > {kind_cluster.MARKER}")
