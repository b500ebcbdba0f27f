"""What an account that was taken over could do at the API server: asked with its own token."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator

import httpx2
import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from .conftest import STATE
from .tls import Trust

CONFIGMAPS = "/api/v1/namespaces/analytics/configmaps"
OWN = "flink-00000000000000000000000000000000-config-map"


@pytest.fixture
def flink(cluster: Cluster) -> Iterator[httpx2.Client]:
    """A client of the API server that is analytics/flink for ten minutes."""
    asked = {"spec": {"expirationSeconds": 600}}
    answer = yaml.safe_load(cluster.raw("/api/v1/namespaces/analytics/serviceaccounts/flink/token", "POST", asked))
    server = yaml.safe_load((STATE / "kubeconfig").read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    trust = Trust(base64.b64decode(server["certificate-authority-data"]).decode("ascii"))
    headers = {"Authorization": f"Bearer {answer['status']['token']}"}
    with trust.client(base_url=server["server"], headers=headers) as client:
        yield client


def configmap(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"test": "x"}}


def test_flink_writes_its_own_configmaps(flink: httpx2.Client) -> None:
    made = flink.post(CONFIGMAPS, json=configmap(OWN))
    assert made.status_code == 201, made.text
    assert flink.delete(f"{CONFIGMAPS}/{OWN}").status_code == 200


Attack = Callable[[httpx2.Client, str], httpx2.Response]
MERGE = {"Content-Type": "application/merge-patch+json"}
ATTACKS: dict[str, Attack] = {
    "replace": lambda client, name: client.put(f"{CONFIGMAPS}/{name}", json=configmap(name)),
    "patch": lambda client, name: client.patch(f"{CONFIGMAPS}/{name}", headers=MERGE, json={"data": {"test": "x"}}),
    "delete": lambda client, name: client.delete(f"{CONFIGMAPS}/{name}", params={"dryRun": "All"}),
}


@pytest.mark.parametrize("name", ["superset", "analytics-db", "flink", "kube-root-ca.crt"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_flink_does_not_write_others(flink: httpx2.Client, cluster: Cluster, name: str, attack: str) -> None:
    before = cluster.get("ConfigMap", "analytics", name)
    assert before is not None, f"analytics/{name} does not exist"
    answer = ATTACKS[attack](flink, name)
    assert answer.status_code == 403, answer.text
    assert cluster.get("ConfigMap", "analytics", name) == before


@pytest.mark.parametrize("name", ["flink-x", "flink-cluster-config-map2", "x-flink-cluster-config-map"])
def test_flink_makes_no_other_names(flink: httpx2.Client, name: str) -> None:
    assert flink.post(CONFIGMAPS, params={"dryRun": "All"}, json=configmap(name)).status_code == 403


@pytest.mark.parametrize("path", ["/api/v1/namespaces/analytics/secrets", "/api/v1/namespaces/infra/configmaps", "/api/v1/pods"])
def test_flink_reads_nothing_else(flink: httpx2.Client, path: str) -> None:
    assert flink.get(path).status_code == 403
