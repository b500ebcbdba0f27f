"""The combined wait: success, fail-fast, timeout, evidence."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import FakeClock, FakeCluster

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import workloads
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError

NODE = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def deployment(available: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "api", "namespace": "ecom", "uid": "d", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available},
    }


def replica_set(name: str, revision: int) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name, "namespace": "ecom", "uid": name,
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"uid": "d", "controller": True}],
        }
    }  # fmt: skip


def pod(name: str, owner: str, **container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "ecom", "ownerReferences": [{"uid": owner, "controller": True}]},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "app", "ready": False, **container}]},
    }


def crashing(name: str, owner: str) -> dict[str, Any]:
    return pod(name, owner, restartCount=3, state={"waiting": {"reason": "CrashLoopBackOff"}})


def wait(
    cluster: FakeCluster, *entries: dict[str, Any], timeout: float = 5, **options: Any
) -> tuple[list[dict[str, Any]], float]:
    return workloads.wait(cluster, workloads.parse(list(entries)), timeout=timeout, clock=FakeClock(), **options)


API = {"kind": "Deployment", "namespace": "ecom", "name": "api"}


def test_ready_after_two_polls() -> None:
    cluster = FakeCluster({"Deployment": [[deployment(0)], [deployment(1)]], "Node": [NODE]})
    details, elapsed = wait(cluster, API, {"kind": "Node", "name": "n"})
    assert elapsed == 0.5
    assert [(d["kind"], d["state"], d["ready_after"]) for d in details] == [
        ("Deployment", "ready", 0.5),
        ("Node", "ready", 0.0),
    ]
    # What is ready is not looked at again.
    assert cluster.calls.count(("Node", None)) == 1


def test_server_that_restarts_is_waited_for() -> None:
    cluster = FakeCluster({"Node": [ClusterError("connection refused"), ClusterError("starting", 503), [NODE]]})
    assert wait(cluster, {"kind": "Node", "name": "n"})[1] == 1.0


def test_refusal_is_not_waited_for() -> None:
    cluster = FakeCluster({"Node": ClusterError("forbidden", 403)})
    with pytest.raises(ClusterError, match="forbidden"):
        wait(cluster, {"kind": "Node", "name": "n"})


def test_crash_loop_of_the_newest_revision_ends_the_wait_with_evidence() -> None:
    cluster = FakeCluster({
        "Deployment": [deployment(0)],
        "ReplicaSet": [replica_set("rs9", 9), replica_set("rs10", 10)],
        "Pod": [crashing("new", "rs10")],
    })  # fmt: skip
    cluster.log_lines[("new", "app")] = ["KeyError: DATABASE_URL"]
    cluster.event_lines = {"api": ["Normal ScalingReplicaSet: up"], "new": ["Warning BackOff: restarting"]}
    with pytest.raises(workloads.NotReadyError) as caught:
        wait(cluster, API, timeout=300)
    text = str(caught.value)
    assert caught.value.elapsed == 0
    assert "BK-211: 1 of 1 objects cannot become ready" in text
    assert "Deployment ecom/api: pod new: container app: CrashLoopBackOff after 3 restarts" in text
    for part in (
        "log of new/app: KeyError: DATABASE_URL",
        "event: Normal ScalingReplicaSet",
        "event of new: Warning BackOff",
    ):
        assert part in text
    assert caught.value.details[0]["state"] == "failed"


def test_the_others_are_waited_for_and_each_has_a_line() -> None:
    """One that cannot become ready is named first, with what it logged; what was ready at the first look has no line."""
    cluster = FakeCluster({
        "Deployment": [deployment(0)],
        "ReplicaSet": [replica_set("rs10", 10)],
        "Pod": [crashing("new", "rs10")],
        "Node": [[NODE], [NODE], [NODE, {**NODE, "metadata": {"name": "late"}}]],
    })  # fmt: skip
    cluster.log_lines[("new", "app")] = ["KeyError: DATABASE_URL"]
    told: list[dict[str, Any]] = []
    with pytest.raises(workloads.NotReadyError) as caught:
        wait(cluster, {"kind": "Node", "name": "n"}, {"kind": "Node", "name": "late"}, API, timeout=300,
             tell=lambda watch: told.append(workloads.progress(watch)))  # fmt: skip
    assert caught.value.elapsed == 1.0
    assert "BK-211: 1 of 3 objects cannot become ready (after 1 s; 2 are):" in str(caught.value)
    assert "log of new/app: KeyError: DATABASE_URL" in str(caught.value)
    assert told[0]["waiting"] == [{"name": "Node late", "reason": "it does not exist (yet)"}]
    assert (told[0]["ready"], told[0]["total"]) == (1, 3)
    assert [line.split(":")[0] for line in told[-1]["lines"]] == ["Deployment ecom/api cannot become ready", "Node late is ready after 1 s"]


def test_what_cannot_become_ready_is_named_before_what_is_late() -> None:
    cluster = FakeCluster({
        "Deployment": [deployment(0)], "ReplicaSet": [replica_set("rs10", 10)], "Pod": [crashing("new", "rs10")],
    })  # fmt: skip
    with pytest.raises(workloads.NotReadyError) as caught:
        wait(cluster, {"kind": "Node", "name": "gone"}, API, timeout=2)
    first, second, *_ = str(caught.value).splitlines()
    assert first == "BK-212: 2 of 2 objects were not ready within timeout=2 s, 1 of them cannot become so (0 are):"
    assert second.startswith("Deployment ecom/api: pod new:")


def test_one_that_recovers_while_others_are_waited_for_is_ready() -> None:
    cluster = FakeCluster({
        "Deployment": [[deployment(0)], [deployment(1)]], "ReplicaSet": [replica_set("rs10", 10)], "Pod": [crashing("new", "rs10")],
        "Node": [[], [], [NODE]],
    })  # fmt: skip
    assert wait(cluster, API, {"kind": "Node", "name": "n"}, timeout=300)[1] == 1.0


def test_crash_loop_of_an_older_revision_is_no_reason_to_stop() -> None:
    cluster = FakeCluster({
        "Deployment": [[deployment(0)], [deployment(1)]],
        "ReplicaSet": [replica_set("rs9", 9), replica_set("rs10", 10)],
        "Pod": [crashing("old", "rs9")],
    })  # fmt: skip
    assert wait(cluster, API)[1] == 0.5


def test_old_pod_may_crash_again() -> None:
    old = crashing("new", "rs1")
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    cluster = FakeCluster(
        {"Deployment": [[deployment(0)], [deployment(1)]], "ReplicaSet": [replica_set("rs1", 1)], "Pod": [old]}
    )
    assert wait(cluster, API)[1] == 0.5


def test_rejected_statefulset_fails_after_a_second_look() -> None:
    db = {
        "metadata": {"name": "db", "namespace": "ecom", "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1},
    }
    cluster = FakeCluster({"StatefulSet": [db]})
    cluster.event_lines["db"] = ["Warning FailedCreate: create Pod db-0 failed: violates PodSecurity"]
    with pytest.raises(workloads.NotReadyError, match="its pods are rejected: Warning FailedCreate") as caught:
        wait(cluster, {"kind": "StatefulSet", "namespace": "ecom", "name": "db"}, timeout=60)
    assert caught.value.elapsed == workloads.FAILED_CREATE_GRACE


def test_timeout_tells_what_was_seen_last() -> None:
    with pytest.raises(workloads.NotReadyError) as caught:
        wait(FakeCluster({"Deployment": [deployment(0)]}), API, {"kind": "Node", "name": "gone"}, timeout=2)
    assert "BK-212: 2 of 2 objects were not ready within timeout=2 s (0 are):" in str(caught.value)
    assert "Deployment ecom/api: 1/1 updated, 0/1 available" in str(caught.value)
    assert "Node gone: it does not exist (yet)" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "Secret", "name": "x"}, "kind=Secret cannot be waited for; use one of DaemonSet"),
        ({"kind": "Pod", "name": "x"}, r"objects\[0\] \(Pod x\) has no namespace"),
        ({"kind": "Node"}, r"objects\[0\] \(Node\) has no name"),
    ],
)
def test_wrong_entry_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        workloads.parse([entry])


def test_namespace_of_a_cluster_scoped_kind_is_ignored_and_doubles_count_once() -> None:
    assert len(workloads.parse([{"kind": "Node", "name": "n", "namespace": "x"}, {"kind": "Node", "name": "n"}])) == 1
