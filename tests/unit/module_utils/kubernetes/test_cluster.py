"""Paths, messages and the small decisions of the API client; no server but one of our own on the loopback."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes import cluster
from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.flink_jobs import Tool
from ansible_collections.bookstore.platform.plugins.module_utils.pipeline.kafka_topics import Broker

ANSWERS = {
    "/api/v1/namespaces/ecom/pods": (200, {"items": [{"metadata": {"name": "p"}}]}),
    "/api/v1/nodes": (200, {"items": None}),
    "/api/v1/namespaces/ecom/secrets/s": (403, {"message": "secrets is forbidden"}),
    "/api/v1/namespaces/ecom/secrets/ended": (401, {"message": "Unauthorized"}),
}


# A server that is starting: so many requests are told to come again.
BUSY = {"left": 0, "asked": 0}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/busy":
            BUSY["asked"] += 1
            BUSY["left"] -= 1
            status = 429 if BUSY["left"] >= 0 else 200
            text = b'{"message": "storage is (re)initializing"}' if status == 429 else b"{}"
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return
        status, body = ANSWERS.get(self.path.split("?")[0], (404, {"message": "not found"}))
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_DELETE(self) -> None:
        self.do_GET()

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield write_kubeconfig(tmp_path, server.server_address[1])
        server.shutdown()


def write_kubeconfig(folder: Path, port: int) -> str:
    file = folder / "kubeconfig"
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(file)


def test_requests(kubeconfig: str) -> None:
    api = Cluster(kubeconfig)
    assert api.objects("Pod", "ecom") == [{"kind": "Pod", "metadata": {"name": "p"}}]
    assert api.objects("Node") == []
    assert api.objects("HTTPRoute") == []  # the kind is not installed
    assert api.get("Pod", "ecom", "gone") is None
    assert api.delete("Pod", "ecom", "gone") is False
    assert api.logs("ecom", "gone", "app") == []
    with pytest.raises(
        ClusterError, match="BK-203: GET .*/secrets/s was refused with 403: secrets is forbidden"
    ) as caught:
        api.get("Secret", "ecom", "s")
    assert caught.value.status == 403
    with pytest.raises(ClusterError, match=r"BK-201: .* does not know who asks \(401: Unauthorized\).*kubeconfig=.* `make up`") as caught:
        api.get("Secret", "ecom", "ended")
    assert caught.value.status == 401


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_server_that_is_busy_is_asked_again_and_not_for_ever(kubeconfig: str, method: str) -> None:
    api = Cluster(kubeconfig)
    BUSY.update(left=3, asked=0)
    assert api.raw("/busy", method, {}) == "{}"
    assert BUSY["asked"] == 4
    BUSY.update(left=1000, asked=0)
    with pytest.raises(ClusterError, match=r"BK-203: .* refused with 429: storage is \(re\)initializing"):
        api.raw("/busy", method, {})
    assert BUSY["asked"] == cluster.BUSY + 1


def test_silent_server(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="BK-202: the API server http://127.0.0.1:9 does not answer") as caught:
        Cluster(write_kubeconfig(tmp_path, 9), request_timeout=1).objects("Node")
    assert caught.value.status == 0


def test_missing_and_broken_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="BK-201: kubeconfig=.*none does not exist; `make up` writes it"):
        Cluster(str(tmp_path / "none"))
    (tmp_path / "bad").write_text("clusters: []", encoding="utf-8")
    with pytest.raises(ClusterError, match="BK-201: kubeconfig=.*bad cannot be used"):
        Cluster(str(tmp_path / "bad"))


def test_paths() -> None:
    assert cluster.path_of("Deployment", "ecom", "api") == "/apis/apps/v1/namespaces/ecom/deployments/api"
    assert cluster.path_of("Node", "ignored", "n") == "/api/v1/nodes/n"
    assert cluster.path_of("Pod") == "/api/v1/pods"
    with pytest.raises(ValueError, match="kind=Podd is not known; use one of .*ClusterRole, "):
        cluster.path_of("Podd")
    with pytest.raises(ValueError, match="Pod p needs a namespace"):
        cluster.path_of("Pod", None, "p")


@pytest.mark.parametrize("printed", ["", "\n", '{"topics": {"a', "a warning\n"])
@pytest.mark.parametrize("ask", [lambda api: Broker(api, 1).call("describe"), lambda api: Tool(api, 1).call("describe")])
def test_an_answer_of_a_tool_that_got_lost_is_told(kubeconfig: str, ask: Callable[[Cluster], Any], printed: str) -> None:
    class Losing(Cluster):
        def execute(self, *_: Any, **__: Any) -> str:
            return printed

    with pytest.raises(ClusterError, match="BK-204: a command in (infra/kafka-0|analytics/flink-jobmanager-0) succeeded and printed no"):
        ask(Losing(kubeconfig))


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ('{"status": "Success"}', ""),
        ('{"status": "Failure", "message": "command terminated with non-zero exit code"}', "non-zero exit code"),
        ("", "the connection ended before the command did"),
    ],
)
def test_exec_status(status: str, fault: str) -> None:
    assert fault in cluster.exec_fault(status)
    assert bool(fault) is bool(cluster.exec_fault(status))


def test_event_times() -> None:
    assert cluster.event_time({"lastTimestamp": "a", "eventTime": "b"}) == "a"
    assert cluster.event_time({"eventTime": "b", "series": {"lastObservedTime": "c"}}) == "c"
    assert cluster.event_time({}) == ""
