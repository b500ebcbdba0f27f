"""The summary of a report that is written into the cluster: what it holds, and what it leaves out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, serving

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.verification import summary

PLACE = "/api/v1/namespaces/observability/configmaps/verify-summary"
RESULT: dict[str, Any] = {
    "started": "2026-11-28T10:00:00+00:00", "seconds": 31.5, "counts": {"passed": 1, "failed": 1, "skipped": 0},
    "measurements": {"memory_mib": 5000}, "lines": ["..."],
    "checks": [
        {"id": "V-NODES", "error": "BK-301", "title": "Nodes ready", "status": "passed", "detail": "3", "faults": [], "hint": "",
         "seconds": 0.1, "data": {}},
        {"id": "V-DLQ", "error": "BK-327", "title": "No dead letters", "status": "failed", "detail": "order of jane@shop.test",
         "faults": ["jane@shop.test: password=hunter2"], "hint": "make replay", "seconds": 0.1, "data": {"who": "jane"}},
    ],
}  # fmt: skip


@pytest.fixture
def api(tmp_path: Path) -> Iterator[tuple[ApiServer, Cluster]]:
    with serving(tmp_path) as (server, kubeconfig):
        yield server, Cluster(kubeconfig)


def test_it_says_how_each_check_ended_and_nothing_of_what_was_found(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    server.objects["/api/v1/namespaces/observability"] = {}
    assert summary.publish(cluster, RESULT, "observability", "verify-summary")
    text = server.objects[PLACE]["data"]["summary"]
    told = json.loads(text)
    assert (told["started"], told["counts"]["failed"]) == ("2026-11-28T10:00:00+00:00", 1)
    assert told["checks"][1] == {
        "id": "V-DLQ", "error": "BK-327", "title": "No dead letters", "status": "failed", "hint": "make replay",
    }  # fmt: skip
    assert "jane" not in text
    assert "hunter2" not in text


def test_a_second_one_takes_the_place_of_the_first(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    server.objects["/api/v1/namespaces/observability"] = {}
    summary.publish(cluster, RESULT, "observability", "verify-summary")
    summary.publish(cluster, {**RESULT, "checks": []}, "observability", "verify-summary")
    assert json.loads(server.objects[PLACE]["data"]["summary"])["checks"] == []


def test_before_the_namespace_is_there_nothing_is_written(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    assert not summary.publish(cluster, RESULT, "observability", "verify-summary")
    assert PLACE not in server.objects


def test_a_refusal_is_an_error(api: tuple[ApiServer, Cluster]) -> None:
    server, cluster = api
    server.refused[PLACE] = (403, "configmaps is forbidden")
    with pytest.raises(ClusterError, match="forbidden"):
        summary.publish(cluster, RESULT, "observability", "verify-summary")
