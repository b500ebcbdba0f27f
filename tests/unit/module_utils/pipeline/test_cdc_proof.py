"""That changes arrive is taken over exactly as long as nothing that they go through has changed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeCluster
from flink_rest import FlinkRest

from ansible_collections.bookstore.platform.plugins.module_utils.base.proof_store import Store
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline import cdc_proof
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.cdc_convergence import Result

HOUR = 3600.0
JOBS = [{"jid": "a1", "name": "cdc-dim-books", "state": "RUNNING", "duration": 17}]


@pytest.fixture
def flink() -> Iterator[FlinkRest]:
    made = FlinkRest({"/jobs/overview": {"jobs": copy.deepcopy(JOBS)}})
    yield made
    made.close()


def pod(namespace: str, name: str, **meta: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": f"u-{name}", **meta}, "spec": {"nodeName": "worker"},
        "status": {"phase": "Running", "containerStatuses": [{"name": "c", "containerID": f"c-{name}", "imageID": "i"}]},
    }  # fmt: skip


@pytest.fixture
def cluster() -> FakeCluster:
    policy = {"metadata": {"namespace": "infra", "name": "kafka-in"}, "spec": {"ingress": []}}
    return FakeCluster({
        "Node": [{"metadata": {"name": "worker", "uid": "n1"}, "status": {"nodeInfo": {"bootID": "b1"}}}],
        "Pod": [pod("infra", "kafka-0"), pod("storefront", "web"), pod("analytics", "flink-taskmanager-0")],
        "NetworkPolicy": [policy],
    })  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "reports/change-proof.json", 12, lambda: 1000.0)


def arrives() -> tuple[Result, dict[str, Any]]:
    return Result(True, 1.0, "view"), {"operations": {"insert": {"books": 0.4}}}


def test_what_arrived_counts_until_something_changes(cluster: FakeCluster, store: Store, flink: FlinkRest) -> None:
    assert cdc_proof.recall(cluster, store, flink.port) is None
    cdc_proof.prove(cluster, store, flink.port, arrives)
    kept = cdc_proof.recall(cluster, store, flink.port)
    assert kept is not None
    assert kept["result"] == {"operations": {"insert": {"books": 0.4}}}
    assert "nothing that it went through has changed since" in cdc_proof.told(kept)


def _restarted(cluster: FakeCluster, _: FlinkRest) -> None:
    cluster.store["Pod"][0]["status"]["containerStatuses"][0]["containerID"] = "c2"


def _booted(cluster: FakeCluster, _: FlinkRest) -> None:
    cluster.store["Node"][0]["status"]["nodeInfo"]["bootID"] = "b2"


def _policy(cluster: FakeCluster, _: FlinkRest) -> None:
    cluster.store["NetworkPolicy"][0]["spec"]["ingress"] = [1]


def _gone(cluster: FakeCluster, _: FlinkRest) -> None:
    del cluster.store["Pod"][2]


def _job(_: FakeCluster, flink: FlinkRest) -> None:
    flink.answers["/jobs/overview"] = {"jobs": [{**JOBS[0], "jid": "a2"}]}


def _failing(_: FakeCluster, flink: FlinkRest) -> None:
    flink.answers["/jobs/overview"] = {"jobs": [{**JOBS[0], "state": "RESTARTING"}]}


def _silent(_: FakeCluster, flink: FlinkRest) -> None:
    flink.answers = {}


@pytest.mark.parametrize("change", [_restarted, _booted, _policy, _gone, _job, _failing, _silent])
def test_whatever_a_change_goes_through_ends_it(
    cluster: FakeCluster, store: Store, flink: FlinkRest, change: Callable[[FakeCluster, FlinkRest], None]
) -> None:
    cdc_proof.prove(cluster, store, flink.port, arrives)
    change(cluster, flink)
    assert cdc_proof.recall(cluster, store, flink.port) is None


def test_what_no_change_goes_through_does_not_end_it(cluster: FakeCluster, store: Store, flink: FlinkRest) -> None:
    cdc_proof.prove(cluster, store, flink.port, arrives)
    cluster.store["Pod"][1]["metadata"]["uid"] = "another"
    cluster.store["Pod"].append(pod("ecom", "backup-1", ownerReferences=[{"kind": "Job"}]))
    flink.answers["/jobs/overview"] = {"jobs": [{**JOBS[0], "duration": 99}]}
    assert cdc_proof.recall(cluster, store, flink.port) is not None


@pytest.mark.parametrize("hours", [0, 1])
def test_it_ends_with_its_hours(cluster: FakeCluster, tmp_path: Path, flink: FlinkRest, hours: float) -> None:
    cdc_proof.prove(cluster, Store(tmp_path / "p", 0, lambda: 1e6), flink.port, arrives)
    assert cdc_proof.recall(cluster, Store(tmp_path / "p", 2, lambda: 1e6 + HOUR), flink.port) is not None
    assert cdc_proof.recall(cluster, Store(tmp_path / "p", hours, lambda: 1e6 + HOUR), flink.port) is None


def test_what_did_not_arrive_ends_the_proof_of_before(cluster: FakeCluster, store: Store, flink: FlinkRest) -> None:
    cdc_proof.prove(cluster, store, flink.port, arrives)
    late = Result(False, 60.0, "kafka", {"flink": "lags"})
    assert cdc_proof.prove(cluster, store, flink.port, lambda: (late, {"operations": {}})) == (late, {"operations": {}})
    assert not store.path.exists()


def test_what_changed_meanwhile_is_not_kept(cluster: FakeCluster, store: Store, flink: FlinkRest) -> None:
    def follow() -> tuple[Result, dict[str, Any]]:
        _restarted(cluster, flink)
        return arrives()

    assert cdc_proof.prove(cluster, store, flink.port, follow)[0].converged
    assert not store.path.exists()
