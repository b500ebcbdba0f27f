"""No proxy reaches the nodes and their registry: neither the shell's nor that of the engine client's configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.engine import docker
from ansible_collections.bookstore.platform.plugins.module_utils.images import node_registry
from ansible_collections.bookstore.platform.plugins.module_utils.kind import kind_cluster

# Stands for docker and for kind, and writes down what each would read; docker itself puts `proxies` of config.json into containers.
CLIENT = """#!/bin/sh
{
  echo "$(basename "$0") $*"
  env
  echo "config $(cat "$DOCKER_CONFIG/config.json")"
  ls "$DOCKER_CONFIG/contexts"
} >>"$SEEN"
case $* in *"container ls"*) exit 0 ;; esac
"""
PROXIES = {
    "HTTP_PROXY": "http://proxy:1", "http_proxy": "http://proxy:1", "HTTPS_PROXY": "http://proxy:1", "https_proxy": "http://proxy:1",
    "ALL_PROXY": "socks5://proxy:1", "NO_PROXY": "example.org", "no_proxy": "example.org", "ftp_proxy": "http://proxy:1",
}  # fmt: skip


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("docker", "kind"):
        (tmp_path / name).write_text(CLIENT)
        (tmp_path / name).chmod(0o755)
    configuration = tmp_path / "configuration"
    (configuration / "contexts/meta").mkdir(parents=True)
    (configuration / "config.json").write_text(json.dumps({
        "proxies": {"default": {"httpProxy": "http://proxy:1"}}, "currentContext": "other", "auths": {"https://x": {"auth": "secret"}},
    }))
    for name, value in {**PROXIES, "DOCKER_CONFIG": str(configuration), "DOCKER_HOST": "unix:///mine.sock"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


def expect_none(text: str) -> None:
    assert "proxy:1" not in text
    assert not set(PROXIES) & {line.split("=")[0] for line in text.splitlines()}
    assert 'config {"currentContext": "other"}' in text
    assert "\nmeta\n" in text
    assert "DOCKER_HOST=unix:///mine.sock" in text


def test_kind_gets_none_to_hand_on(seen: Path, tmp_path: Path) -> None:
    kind = str(tmp_path / "kind")
    cluster = kind_cluster.KindCluster("shop", kind, "i", "c", 2, "172.30.0.0/16", tmp_path / "kubeconfig", tmp_path / "log")
    cluster._kind([str(tmp_path / "kind"), "create", "cluster"], 30, "")
    expect_none(seen.read_text())
    assert "KIND_EXPERIMENTAL_DOCKER_NETWORK=shop" in seen.read_text()


def test_neither_does_the_registry_nor_a_worker_that_is_replaced(seen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_registry, "ensure_network", lambda *_: False)
    assert node_registry.Registry("shop-registry", "i", "shop", "172.30.0.0/16", 36500, tmp_path / "storage").ensure(check=False)
    expect_none("docker run" + seen.read_text().split("\ndocker run")[1])
    seen.unlink()
    sibling = {"HostConfig": {"Binds": []}, "Config": {"Image": "i"}}
    docker.run_container(*kind_cluster.run_arguments(sibling, "shop-worker", "shop"))
    expect_none(seen.read_text())


def test_the_clients_configuration_is_read_otherwise(seen: Path) -> None:
    docker.docker("build", ".")
    assert "httpProxy" in seen.read_text()
    assert "HTTP_PROXY=http://proxy:1" in seen.read_text()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [([], False), (["PATH=/bin", "NO_PROXY=x"], False), (["HTTP_PROXY="], False), (["https_proxy=http://proxy:1"], True)],
)
def test_nodes_of_before_that_have_one_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: list[str], expected: bool
) -> None:
    monkeypatch.setattr(kind_cluster, "containers", lambda _: {"shop-worker": {"Config": {"Env": variables}}})
    cluster = kind_cluster.KindCluster("shop", "kind", "i", "c", 2, "172.30.0.0/16", tmp_path / "kubeconfig", tmp_path / "log")
    assert cluster.proxied_nodes() == (["shop-worker"] if expected else [])
