"""A token with which a node joins is random, is no setting, and is gone when the node has joined or has failed to."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.kind import bootstrap_tokens, kind_cluster

# In the source code of kind.
KNOWN = "abcdef.0123456789abcdef"
SIBLING = {
    "Name": "/shop-worker",
    "HostConfig": {"Binds": ["/lib/modules:/lib/modules:ro", "/data:/var/lib/bookstore"]},
    "Config": {"Image": "image:1"},
}
# As kind writes it: sorted, and with all documents on every node.
CONFIG = """\
apiVersion: kubeadm.k8s.io/v1beta4
bootstrapTokens:
- token: abcdef.0123456789abcdef
  ttl: 1200s
kind: InitConfiguration
---
apiVersion: kubeadm.k8s.io/v1beta4
discovery:
  bootstrapToken:
    apiServerEndpoint: shop-control-plane:6443
    token: abcdef.0123456789abcdef
    unsafeSkipCAVerification: true
kind: JoinConfiguration
nodeRegistration:
  name: shop-worker
"""

class Engine:
    """The engine and the API server of a cluster: keeps what was done, holds Secrets, lets the join fail on request."""

    def __init__(self, *secrets: str, join: Exception | None = None) -> None:
        self.secrets = set(secrets)
        self.join = join
        self.done: list[str] = []
        self.written: list[str] = []
        self.created: list[Any] = []
        self.valid_at_join: set[str] = set()

    def docker(self, *args: str, stdin: str | None = None, **_: object) -> str:
        self.done.append(" ".join(args))
        words = args[args.index("kubectl") + 2 :] if "kubectl" in args else ()
        if words[:2] == ("get", "secrets"):
            assert f"--field-selector=type={bootstrap_tokens.TYPE}" in words
            return " ".join(sorted(self.secrets))
        if words[:2] == ("delete", "secret"):
            self.secrets -= set(words)
        if words[:1] == ("create",):
            self.created.append(yaml.safe_load(stdin or ""))
            self.secrets.add(self.created[-1]["metadata"]["name"])
        if "cat > /kind/kubeadm.conf" in args[-1]:
            self.written.append(stdin or "")
        if "kubeadm" in args and "join" in args:
            self.valid_at_join = set(self.secrets)
            if self.join:
                raise self.join
        return CONFIG if args[-1] == "/kind/kubeadm.conf" else ""


def joining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(kind_cluster, "docker", engine.docker)
    monkeypatch.setattr(kind_cluster, "run_container", lambda *arguments: engine.docker("run", *arguments))
    cluster = kind_cluster.KindCluster("shop", "kind", "image:1", "config", 2, "172.30.0.0/16", tmp_path / "kubeconfig", tmp_path / "log")
    labels = {"Labels": {kind_cluster.ROLE_LABEL: "worker"}, "Image": "image:1"}
    networks = {"NetworkSettings": {"Networks": {"shop": {"IPAddress": "172.30.0.4"}}}}
    cluster.join_worker("shop-worker2", {"shop-worker": {**SIBLING, "Config": labels, **networks}}, timeout=1)


def test_a_replacement_joins_with_a_token_of_its_own_that_is_deleted_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [Engine(), Engine()]
    for engine in engines:
        joining(tmp_path, monkeypatch, engine)
        (secret,) = engine.created
        data = secret["stringData"]
        token = f"{data['token-id']}.{data['token-secret']}"
        assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token)
        assert engine.valid_at_join == {f"bootstrap-token-{data['token-id']}"}
        assert f"    token: {token}\n" in engine.written[0]
        left = datetime.fromisoformat(data["expiration"]) - datetime.now(UTC)
        assert timedelta(minutes=5) < left < timedelta(minutes=30)
        assert engine.secrets == set()
        assert token not in "\n".join(engine.done), "a secret in an argument"
        assert KNOWN not in engine.written[0]
    assert engines[0].created != engines[1].created


def test_the_token_of_a_join_that_fails_is_deleted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(join=kind_cluster.DockerError("it did not join"))
    with pytest.raises(kind_cluster.DockerError, match="it did not join"):
        joining(tmp_path, monkeypatch, engine)
    assert engine.valid_at_join
    assert engine.secrets == set()


def test_a_new_cluster_never_knows_the_token_of_kinds_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("bootstrap-token-q1w2e3")
    monkeypatch.setattr(kind_cluster, "docker", engine.docker)
    monkeypatch.setattr(kind_cluster, "ensure_network", lambda *_: False)
    given: list[str] = []
    cluster = kind_cluster.KindCluster("shop", "kind", "i", "kind: Cluster\n", 2, "", tmp_path / "kubeconfig", tmp_path / "log")
    monkeypatch.setattr(cluster, "_kind", lambda command, timeout, config: given.append(config))
    before = cluster.fingerprint()
    cluster.create(1)
    assert engine.secrets == set(), "deleted as soon as the workers have joined"
    assert cluster.fingerprint() == before, "the token is no setting"
    cluster.create(1)
    assert given[0] != given[1]
    for config in given:
        assert KNOWN not in config


@pytest.mark.parametrize("config", [
    "kind: Cluster\nname: shop\n",
    "kind: Cluster\nkubeadmConfigPatches:\n  - |\n    kind: ClusterConfiguration\n    imageRepository: s.local\nnodes: [{role: worker}]\n",
])  # fmt: skip
def test_kind_is_told_the_token_for_both_ends(config: str) -> None:
    before, after = yaml.safe_load(config), yaml.safe_load(bootstrap_tokens.in_kind_config(config, "aaaaaa.bbbbbbbbbbbbbbbb"))
    patches = after.pop("kubeadmConfigPatches")
    kept = before.pop("kubeadmConfigPatches", [])
    assert after == before
    assert [yaml.safe_load(patch) for patch in patches if patch not in kept] == [
        {"kind": "InitConfiguration", "bootstrapTokens": [{"token": "aaaaaa.bbbbbbbbbbbbbbbb", "ttl": "1200s"}]},
        {"kind": "JoinConfiguration", "discovery": {"bootstrapToken": {"token": "aaaaaa.bbbbbbbbbbbbbbbb"}}},
    ]
    assert set(kept) <= set(patches)
