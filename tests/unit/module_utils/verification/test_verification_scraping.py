"""Whether everything is scraped: what is expected, how Prometheus is asked, and what a fault is called."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

import pytest
from fakes import FakeClock

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.verification import scraping
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Context, Finding, Web

Object = dict[str, Any]
WORKLOADS = [{"workload": "ecom-api", "namespace": "ecom"}, {"workload": "gate", "namespace": "gateway"}]
ECOM, NODE = ("ecom-api", "ecom-api-1"), ("kubelet", "n1")


def pod(namespace: str, name: str, ready: str = "True", **labels: str) -> Object:
    metadata = {"namespace": namespace, "name": name, "labels": {key.replace("__", "/"): value for key, value in labels.items()}}
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_what_runs_and_is_declared_is_expected_and_nothing_else() -> None:
    name, gateway = "app.kubernetes.io__name", "gateway.networking.k8s.io__gateway-name"
    pods = [
        pod("ecom", "ecom-api-1", **{name: "ecom-api"}), pod("ecom", "ecom-api-2", **{name: "ecom-api"}),
        pod("ecom", "starting", "False", **{name: "ecom-api"}),
        pod("ecom", "probe", **{name: "ecom-api", "platform.bookstore__probe": "x"}),
        pod("infra", "other", **{name: "ecom-api"}), pod("gateway", "gate-istio-1", **{gateway: "gate"}),
        pod("istio-system", "istiod-1", app="istiod", **{name: "istiod"}), pod("istio-system", "ztunnel-1", app="ztunnel"),
        pod("ecom", "redis-0", **{name: "redis"}), pod("ecom", "bare"),
    ]  # fmt: skip
    assert scraping.expected(WORKLOADS, pods, [{"metadata": {"name": "n1"}}]) == {
        ECOM, ("ecom-api", "ecom-api-2"), ("gate", "gate-istio-1"), ("istiod", "istiod-1"), ("ztunnel", "ztunnel-1"), NODE,
        ("cadvisor", "n1"),
    }  # fmt: skip


class Server:
    """Answers as Prometheus does; ``rounds`` are what ``up`` is each time it is asked, the last one for good."""

    def __init__(self, *rounds: dict[tuple[str, str], int]) -> None:
        self.rounds = list(rounds)
        self.asked: list[str] = []

    def __call__(self, path: str) -> Any:
        self.asked.append(path)
        if path == "query?query=up":
            up = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
            return {"result": [{"metric": self.labels(*target), "value": [1, str(value)]} for target, value in up.items()]}
        if path.startswith("query?"):
            return {"result": [{"metric": self.labels(*ECOM), "value": [1, "1000"]}]}
        return {"activeTargets": [{"labels": self.labels(*ECOM), "lastError": "connection refused"}]}

    @staticmethod
    def labels(job: str, name: str) -> Object:
        return {"job": job, "instance": name} if job == "kubelet" else {"job": job, "pod": name, "instance": f"{name}:8002"}


def test_the_first_scrapes_are_waited_for() -> None:
    server, clock = Server({}, {ECOM: 0, NODE: 1}, {ECOM: 1, NODE: 1}), FakeClock()
    seen = scraping.observe(server, {ECOM, NODE}, clock.monotonic() + 60, clock)
    assert seen == {"scraped": [ECOM, NODE], "down": []}
    assert len(server.asked) == 3


def test_what_stays_down_is_told_with_its_reason_and_since_when() -> None:
    clock = FakeClock()
    seen = scraping.observe(Server({ECOM: 0, NODE: 0}), {ECOM}, clock.monotonic() + 10, clock)
    assert seen["down"] == [
        {"job": "ecom-api", "name": "ecom-api-1", "since": 1000.0, "error": "connection refused"},
        {"job": "kubelet", "name": "n1", "since": None, "error": ""},
    ]  # fmt: skip


def ask(wanted: set[tuple[str, str]], seen: Object) -> Finding:
    future: Future[Object] = Future()
    future.set_result(seen)
    return scraping.targets(Context({}, {}, Web(), None, None, scraping=(wanted, future)))


def test_the_check_names_what_is_down_and_what_is_no_target() -> None:
    assert ask({ECOM}, {"scraped": [ECOM, NODE], "down": []}) == Finding("passed", "2 targets up", [], {"targets": 2})
    found = ask({ECOM, NODE}, {"scraped": [ECOM], "down": [{"job": "ecom-api", "name": "ecom-api-1", "since": 1000.0, "error": "refused"}]})
    assert found.faults == [
        "ecom-api ecom-api-1: down since 1970-01-01T00:16:40+00:00: refused", "kubelet n1: is no target",
    ]  # fmt: skip
    found = ask({ECOM}, {"scraped": [ECOM], "down": [{"job": "ecom-api", "name": "ecom-api-1", "since": None, "error": ""}]})
    assert found.faults == ["ecom-api ecom-api-1: down since more than a day ago, or always: no reason told"]


def test_nothing_is_claimed_where_nobody_asked() -> None:
    assert scraping.targets(Context({}, {}, Web(), None, None)).status == "skipped"


class Pods:
    """A cluster whose pods print one text."""

    def __init__(self, printed: str) -> None:
        self.printed = printed
        self.commands: list[list[str]] = []

    def execute(self, namespace: str, name: str, container: str, command: list[str], timeout: float) -> str:
        assert (namespace, name, container) == ("observability", "prometheus-0", "prometheus")
        self.commands.append(command)
        return self.printed


WANTED = {"namespace": "observability", "workload": "prometheus", "port": 9090}


def test_prometheus_is_asked_in_its_own_pod() -> None:
    pods: Any = Pods('{"status":"success","data":{"result":[]}}\n')
    assert scraping.asker(pods, WANTED)("query?query=up") == {"result": []}
    assert pods.commands[0][3:] == ["9090", "/api/v1/query?query=up"]


@pytest.mark.parametrize("printed", ["no JSON", '{"status":"error","error":"bad query"}'])
def test_another_answer_is_quoted(printed: str) -> None:
    pods: Any = Pods(printed)
    with pytest.raises(ClusterError, match="BK-465: observability/prometheus-0 answered query with"):
        scraping.asker(pods, WANTED)("query?query=up")


def test_the_deadline_is_of_a_clock_that_never_goes_back() -> None:
    assert scraping.observe(Server({ECOM: 1}), {ECOM}, time.monotonic() - 1)["down"] == []
