"""The door to Flink's REST API: everybody may look, nobody may change anything."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Ask = Callable[..., tuple[int, bytes]]


@pytest.fixture
def ask(load: Any) -> Iterator[Ask]:
    door = load("rest_door")
    with door.Server(("127.0.0.1", 0), door.Door) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
            connection.request(method, path, body)
            answer = connection.getresponse()
            found = answer.status, answer.read()
            connection.close()
            return found

        yield ask
        server.shutdown()
        thread.join()


def test_looking_is_handed_on_with_its_answer(ask: Ask, rest: Any) -> None:
    rest.on("GET", "/jobs/overview?x=1", (200, {"jobs": []}))
    rest.on("GET", "/jobs/1", (404, {"errors": ["Job could not be found"]}))
    assert ask("GET", "/jobs/overview?x=1") == (200, b'{"jobs": []}')
    assert ask("GET", "/jobs/1")[0] == 404
    assert rest.asked == [("GET", "/jobs/overview?x=1", None), ("GET", "/jobs/1", None)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/jobs"), ("PATCH", "/jobs/1?mode=cancel"), ("POST", "/jobs/1/stop"), ("DELETE", "/cluster"),
        ("PUT", "/jobs/1/resource-requirements"),
        ("GET", "/jobs/1/yarn-cancel"), ("GET", "/jobs/1/yarn-stop/"), ("GET", "/jobs/1/YARN-cancel?x"), ("HEAD", "/jobs/1/yarn-cancel"),
        ("GET", "/jobs/1/%79arn-cancel"),
    ],
)  # fmt: skip
def test_nothing_that_changes_anything_comes_through(ask: Ask, rest: Any, method: str, path: str) -> None:
    assert ask(method, path, b"{}" if method in ("POST", "PUT") else None)[0] in (403, 501)
    assert rest.asked == []


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
