"""The door to Flink's REST API: everybody may look, nobody may change anything."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

Ask = Callable[..., tuple[int, bytes]]


JOB, VERTEX = "6f2c8d0e1b7a4f3c9d5e0a1b2c3d4e5f", "bc764cd8ddf7a0cff126f51c16239658"
# One of each address that Flink 2.2 answers to GET and that its interface or a look by hand needs.
SHOWN = [
    "/", "/index.html", "/main.6cd446413e0aff84.js", "/187.01f237e1b14011b6.js", "/styles.25112ea718f4efbe.css",
    "/assets/favicon/safari-pinned-tab.svg", "/assets/vs/editor/editor.main.nls.zh-cn.js",
    "/config", "/overview", "/jobs", "/jobs/overview", "/jobs/metrics?get=uptime,restarts", "/jobs/1", f"/jobs/{JOB}",
    f"/jobs/{JOB}/config", f"/jobs/{JOB}/exceptions?maxExceptions=10", f"/jobs/{JOB}/resource-requirements", f"/jobs/{JOB}/plan",
    f"/jobs/{JOB}/status", f"/jobs/{JOB}/checkpoints", f"/jobs/{JOB}/checkpoints/config", f"/jobs/{JOB}/checkpoints/details/17",
    f"/jobs/{JOB}/checkpoints/details/17/subtasks/{VERTEX}", f"/jobs/{JOB}/jobmanager/log-url",
    f"/jobs/{JOB}/vertices/{VERTEX}", f"/jobs/{JOB}/vertices/{VERTEX}/flamegraph?type=on_cpu&subtaskindex=0",
    f"/jobs/{JOB}/vertices/{VERTEX}/metrics?get=0.Source__orders%5B1%5D.numRecordsIn,0.numRecordsOut",
    f"/jobs/{JOB}/vertices/{VERTEX}/subtasks/metrics?get=a", f"/jobs/{JOB}/vertices/{VERTEX}/subtasks/0/attempts/1",
    f"/jobs/{JOB}/vertices/{VERTEX}/watermarks", f"/jobs/{JOB}/vertices/{VERTEX}/jm-operator-metrics",
    "/jobmanager/config", "/jobmanager/logs/flink--standalonesession-0.log", "/jobmanager/thread-dump", "/jobmanager/stdout",
    "/taskmanagers", "/taskmanagers/flink-taskmanager-0", "/taskmanagers/10.244.1.7:6122-a1b2c3/metrics?get=Status.JVM.CPU.Load",
    "/taskmanagers/flink-taskmanager-0/logs/flink.log", "/taskmanagers/metrics?agg=max",
]  # fmt: skip
CANCEL = f"/jobs/{JOB}/yarn-cancel"
# Ways to name a handler that stops a job, or one that nobody looks at, so that some parser understands them.
REFUSED = [
    CANCEL, f"{CANCEL}#", f"{CANCEL}#/overview", f"{CANCEL}?x", f"{CANCEL}?#", f"{CANCEL}/", f"{CANCEL}//", f"{CANCEL};", f"{CANCEL};x=1",
    f"{CANCEL}\\", f"\\jobs\\{JOB}\\yarn-cancel", f"{CANCEL}%23", f"{CANCEL}%00", f"{CANCEL}%2f", f"{CANCEL}\0", f"{CANCEL}\x85",
    f"{CANCEL}\xa0",
    f"{CANCEL}\xe9", CANCEL.upper(), f"/{CANCEL}", f"//door{CANCEL}", f"http://127.0.0.1:8082{CANCEL}", f"http://127.0.0.1:8082{CANCEL}#",
    f"/v1{CANCEL}", f"/V1{CANCEL}", f"/jobs//{JOB}/yarn-cancel", f"/jobs/./{JOB}/yarn-cancel", f"/jobs/x/../{JOB}/yarn-cancel",
    f"/jobs/{JOB}/%79arn-cancel", f"/jobs/{JOB}/yarn-stop", f"/jobs/{JOB}/yarn-stop#", f"/overview/..{CANCEL}", f"/assets/../..{CANCEL}",
    f"/assets/..{CANCEL}", f"/assets/...{CANCEL}", f"/overview#{CANCEL}", f"/overview?x#{CANCEL}", f"/overview;{CANCEL}",
    f"{CANCEL}\t", f"/overview\t{CANCEL}", f"{CANCEL} ", "*", "overview", "/overview/", "//overview", "/overview%20", "/overview?x;y",
    "/overview?%zz",
    "/assets/.git/config", "/assets/a./b", "/jars", "/jars/x/run", "/datasets", f"/jobs/{JOB}/savepoints/1", f"/jobs/{JOB}/stop",
    "/jobmanager/profiler",
    "/jobmanager/logs/..", "/jobmanager/logs/%2e%2e%2fconf", "/taskmanagers/..", "/taskmanagers/a/../../jobs",
    f"/jobs/{JOB}/vertices/yarn-cancel",
]  # fmt: skip


def understood(target: str) -> str:
    """Return the path that the most generous parser would make of a target: Flink's, a proxy's, a file server's."""
    path = unquote(target).replace("\\", "/")
    for end in "?#;":
        path = path.partition(end)[0]
    return "/".join(part for part in path.lower().split("/") if part not in ("", "."))


@pytest.fixture
def serving(load: Any) -> Iterator[tuple[ModuleType, int]]:
    door = load("rest_door")
    with door.Server(("127.0.0.1", 0), door.Door) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield door, server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(serving: tuple[ModuleType, int]) -> Ask:
    def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", serving[1], timeout=5)
        connection.request(method, path, body)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    return ask


Raw = Callable[[bytes], http.client.HTTPResponse]


@pytest.fixture
def raw(serving: tuple[ModuleType, int]) -> Iterator[Raw]:
    """Send bytes as they are: clients mend or refuse the requests that matter here."""
    sockets: list[socket.socket] = []

    def send(request: bytes) -> http.client.HTTPResponse:
        sock = socket.create_connection(("127.0.0.1", serving[1]), timeout=5)
        sockets.append(sock)
        sock.sendall(request)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        return answer

    yield send
    for sock in sockets:
        sock.close()


def request_for(target: str, method: str = "GET", host: str = "localhost:32200") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1", "ignore")


def test_looking_is_handed_on_with_its_answer(ask: Ask, rest: Any) -> None:
    rest.on("GET", "/jobs/overview?x=1", (200, {"jobs": []}))
    rest.on("GET", "/jobs/1", (404, {"errors": ["Job could not be found"]}))
    assert ask("GET", "/jobs/overview?x=1") == (200, b'{"jobs": []}')
    assert ask("GET", "/jobs/1")[0] == 404
    assert rest.asked == [("GET", "/jobs/overview?x=1", None), ("GET", "/jobs/1", None)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", SHOWN)
def test_what_the_interface_reads_is_handed_on_as_it_was_asked(raw: Raw, rest: Any, method: str, target: str) -> None:
    rest.on(method, target, (200, {}))
    assert raw(request_for(target, method)).status == 200
    assert rest.asked == [(method, target, None)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs"), ("PATCH", "/jobs/1?mode=cancel"), ("POST", "/jobs/1/stop"), ("DELETE", "/cluster"), ("POST", "/jobs/overview"),
        ("PUT", "/jobs/1/resource-requirements"), ("OPTIONS", "/jobs"), ("TRACE", "/"), ("CONNECT", "localhost:8082"), ("get", "/jobs"),
    ],
)  # fmt: skip
def test_no_method_that_changes_anything_comes_through(ask: Ask, rest: Any, method: str, path: str) -> None:
    assert ask(method, path, b"{}" if method in ("POST", "PUT") else None)[0] in (403, 501)
    assert rest.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("target", REFUSED)
def test_no_address_that_stops_a_job_comes_through(raw: Raw, rest: Any, method: str, target: str) -> None:
    assert raw(request_for(target, method)).status in (400, 403, 404)
    assert rest.asked == []


# What differs between parsers, between pieces of real addresses.
PIECES = ["/", "//", "#", "?", ";",
          "\\", "%", "%23", "%2f", "%3F", ".", "..", "...", "\0", "\x85", "\xa0", "*", "&", "=", ":", "@", "~", ",", "é",
          "v1", "jobs", JOB, "1", "yarn-cancel", "yarn-stop", "YARN-CANCEL", "vertices", VERTEX, "overview", "assets", "taskmanagers",
          "logs",
          "http://localhost:8082", "stop", "savepoints", "jars", "config"]  # fmt: skip


@given(pieces=st.lists(st.sampled_from(PIECES) | st.characters(max_codepoint=0x17F), max_size=9))
@example(pieces=["/", "jobs", "/", JOB, "/", "yarn-cancel", "#"])
@example(pieces=["/", "overview", "?", "#", "/", "jobs", "/", JOB, "/", "yarn-cancel"])
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_allowed_means_the_same_to_every_parser(load: Any, pieces: list[str]) -> None:
    target = "".join(pieces)
    door = loaded(load)
    if not door.allowed(target):
        return
    path = target.partition("?")[0]
    assert target.isascii()
    assert target.isprintable()
    assert path.startswith("/")
    assert quote(path, safe="/:") == path, "a path that needs no escapes and has none"
    assert not set("#;\\ ") & set(target)
    assert not {"", ".", ".."} & set(path.strip("/").split("/")) or path == "/"
    assert understood(target) == path.strip("/").lower()
    if not path.startswith(("/assets/", "/taskmanagers/")):
        assert not {"yarn-cancel", "yarn-stop", "savepoints", "stop", "jars"} & set(path.lower().split("/"))


LOADED: list[ModuleType] = []


def loaded(load: Any) -> ModuleType:
    """Return one door for all examples."""
    if not LOADED:
        LOADED.append(load("rest_door"))
    return LOADED[0]


@pytest.mark.parametrize("host", [
    "localhost", "localhost:32200", "127.0.0.1:32200", "LOCALHOST:8081", "[::1]:32200", "flink-jobmanager:8081",
    "flink-jobmanager.analytics.svc.cluster.local:8081", "flink-jobmanager-ui.analytics.svc",
    # As the kubelet and the mesh's proxy name the pod (environment variable POD_IP).
    "10.244.1.9:8081", "10.244.1.9",
])  # fmt: skip
def test_its_own_names_are_answered(raw: Raw, rest: Any, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_IP", "10.244.1.9")
    rest.on("GET", "/overview", (200, {}))
    assert raw(request_for("/overview", host=host)).status == 200


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:32200", "localhost.evil.example", "localhost:32200.evil.example", "localhost@evil.example",
    "127.0.0.1.nip.io:32200",
    "192.0.2.7:32200", "evil.example#localhost", "localhost, evil.example", "localhost evil", "", "flink-jobmanager.other", "[::2]",
    "2130706433", "localhost.",
])  # fmt: skip
@pytest.mark.parametrize("target", ["/overview", "/-/alive", CANCEL])
def test_other_names_are_refused(raw: Raw, rest: Any, host: str, target: str) -> None:
    assert raw(request_for(target, host=host)).status == 421
    assert rest.asked == []


@pytest.mark.parametrize(
    "lines", ["", "Host: localhost\r\nHost: evil.example\r\n", "Host: evil.example\r\nX-Forwarded-Host: localhost\r\n"]
)
def test_one_host_header_and_no_other_counts(raw: Raw, rest: Any, lines: str) -> None:
    assert raw(f"GET /overview HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode()).status == 421
    assert rest.asked == []


@pytest.mark.parametrize("body", [f"Content-Length: {len(CANCEL) + 99}\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\n"])
def test_a_body_is_never_taken_for_the_next_request(raw: Raw, rest: Any, body: str) -> None:
    smuggled = request_for("/overview").decode()
    answer = raw(f"GET /overview HTTP/1.1\r\nHost: localhost\r\n{body}{smuggled}".encode())
    assert answer.status == 400
    answer.read()
    assert rest.asked == []


@pytest.mark.parametrize(("method", "target", "host"), [
    ("GET", "/overview", "localhost"), ("GET", CANCEL, "localhost"), ("GET", "/", "evil.example"), ("POST", "/jobs", "localhost"),
    ("GET", "/-/alive", "localhost"),
])  # fmt: skip
def test_every_answer_forbids_frames_and_guesses_of_its_type(raw: Raw, method: str, target: str, host: str) -> None:
    answer = raw(request_for(target, method, host))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_it_says_that_it_lives_without_asking(ask: Ask, rest: Any) -> None:
    assert ask("GET", "/-/alive") == (200, b"")
    assert rest.asked == []


def test_a_cluster_that_does_not_answer_is_a_bad_gateway(ask: Ask, load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLINK_REST_PORT", "1")
    door = load("rest_door")
    with door.Server(("127.0.0.1", 0), door.Door) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
        connection.request("GET", "/overview")
        answer = connection.getresponse()
        assert answer.status == 502
        assert b"the JobManager does not answer" in answer.read()
        connection.close()
        thread.join()
