"""What an administrator gets when a service behind this one fails (SPEC 5.5), for every endpoint."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from admin_testing import ENDPOINTS, Endpoint, book, changes_of, http, problem, script
from conftest import documents, with_csrf

from admin.app import Service
from bookstore_common.testing.answers import operations
from bookstore_common.testing.http_stub import HttpStub
from bookstore_common.testing.logs import LogStream

pytestmark = pytest.mark.anyio
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
Failing = Callable[[Endpoint], tuple[HttpStub, HttpStub]]
PAGE = b"<html><body>upstream connect error</body></html>"


@pytest.fixture
def failing(ecom: HttpStub, inventory: HttpStub) -> Failing:
    """Both peers answer; returns the one whose failure is tested and the other."""
    script(ecom, inventory)
    return lambda endpoint: (ecom, inventory) if endpoint.peer == "ecom" else (inventory, ecom)


def check(response: httpx2.Response, status: int, code: str) -> None:
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == response.headers["x-request-id"]
    assert "127.0.0.1" not in response.text  # nothing about the inside


@every_endpoint
async def test_down(client: httpx2.AsyncClient, failing: Failing, endpoint: Endpoint) -> None:
    peer, other = failing(endpoint)
    peer.stop()
    check(await endpoint.call(client), 502, "bad_gateway")
    assert changes_of(other) == []


@every_endpoint
async def test_slow(hurried: Service, admin: dict[str, str], failing: Failing, endpoint: Endpoint) -> None:
    peer, other = failing(endpoint)
    peer.always(endpoint.peer_method, endpoint.peer_path, 500, "too late", delay=20)
    async with http(hurried.public) as client:
        response = await endpoint.call(client, headers=await with_csrf(hurried, admin))
    check(response, 504, "gateway_timeout")
    assert changes_of(other) == []


def failed(status: int, body: Any, **headers: str) -> dict[str, Any]:
    """Arguments of :meth:`HttpStub.always` for an answer that no endpoint foresees."""
    return {"status": status, "body": body, "headers": {name.replace("_", "-"): text for name, text in headers.items()}}


WRONG = [
    problem(500, "internal_error"),
    failed(404, PAGE, content_type="text/html"),
    failed(409, b'{"code": "isbn_', content_type="application/problem+json"),
    problem(409, "Not A Code\r\n"),
    problem(409, "conflict", detail={"a": 1}),
    problem(429, "rate_limited"),
    failed(302, b"", location="http://203.0.113.1/"),
    failed(202, {}),
    # Last: after so many failures in a row nothing is asked any more.
    problem(503, "dependency_unavailable"),
]
GARBAGE = [b"", b"{", PAGE, b"[]", b"null", b'{"items": 1}', b'{"id": "x", "book_id": 7}']


@every_endpoint
async def test_wrong_answers(client: httpx2.AsyncClient, failing: Failing, endpoint: Endpoint) -> None:
    peer, other = failing(endpoint)
    for wrong in WRONG:
        peer.always(endpoint.peer_method, endpoint.peer_path, **wrong)
        check(await endpoint.call(client), 502, "bad_gateway")
    assert changes_of(other) == []


@every_endpoint
async def test_its_own_time_out(client: httpx2.AsyncClient, failing: Failing, endpoint: Endpoint) -> None:
    peer, other = failing(endpoint)
    peer.always(endpoint.peer_method, endpoint.peer_path, **problem(504, "gateway_timeout"))
    check(await endpoint.call(client), 504, "gateway_timeout")
    assert changes_of(other) == []


@pytest.mark.parametrize("endpoint", [item for item in ENDPOINTS if item.success != 204], ids=str)
async def test_garbage(client: httpx2.AsyncClient, failing: Failing, log_stream: LogStream, endpoint: Endpoint) -> None:
    """A success that cannot be understood; the log says so."""
    peer, other = failing(endpoint)
    for body in GARBAGE:
        peer.always(endpoint.peer_method, endpoint.peer_path, 201 if endpoint.spec == "A-04" else 200, body)
        check(await endpoint.call(client), 502, "bad_gateway")
    assert changes_of(other) == []
    events = [event["event"] for event in log_stream.events()]
    assert events.count("peer_answer_unexpected") == len(GARBAGE)


@every_endpoint
async def test_token_rejected(client: httpx2.AsyncClient, failing: Failing, endpoint: Endpoint) -> None:
    """It expired on the way, for example: the browser renews it and tries again."""
    peer, other = failing(endpoint)
    for status, code in ((401, "unauthenticated"), (403, "forbidden")):
        peer.always(endpoint.peer_method, endpoint.peer_path, **problem(status, "whatever"))
        response = await endpoint.call(client)
        check(response, status, code)
        assert ("www-authenticate" in response.headers) == (status == 401)
    assert changes_of(other) == []


OPERATIONS = list(operations(documents()))
REFUSALS: list[tuple[int, str, dict[str, Any]]] = [
    (404, "not_found", {}),
    (409, "isbn_exists", {}),
    (409, "below_reserved", {"quantity": 5, "reserved": 3}),
    (409, "above_maximum", {"quantity": 5, "reserved": 3}),
    (409, "invalid_transition", {"from": "SHIPPED"}),
    (412, "stale_version", {"version": 9, "quantity": 7, "reserved": 0, "low_stock_threshold": 5}),
    (422, "validation_error", {"errors": [{"field": "isbn", "location": "body", "message": "wrong"}]}),
    (428, "precondition_required", {}),
]


@every_endpoint
async def test_refusals_are_passed_on(client: httpx2.AsyncClient, failing: Failing, endpoint: Endpoint) -> None:
    """Those that the endpoint's document names: word for word, but with this request's id."""
    peer, other = failing(endpoint)
    (promised,) = [
        one.codes for one in OPERATIONS if one.method == endpoint.method and one.matches(endpoint.path.split("?")[0])
    ]
    for status, code, members in [row for row in REFUSALS if row[1] in promised]:
        peer.always(endpoint.peer_method, endpoint.peer_path, **problem(status, code, instance="/internal", **members))
        response = await endpoint.call(client, headers={"x-request-id": "of-this-request"})
        check(response, status, code)
        body = response.json()
        assert body["request_id"] == "of-this-request"
        assert body["detail"] == f"Refused because of {code}."
        assert body["type"] == f"urn:bookstore:problem:{code}"
        assert body["title"] != "Refused"
        assert "instance" not in body
        assert {name: body[name] for name in members} == members
    assert changes_of(other) == []


@every_endpoint
async def test_what_is_repeated(client: httpx2.AsyncClient, failing: Failing, endpoint: Endpoint) -> None:
    """Reads, and changes that may happen twice; never the others."""
    peer, _ = failing(endpoint)
    peer.always(endpoint.peer_method, endpoint.peer_path, drop=True)
    response = await endpoint.call(client)
    check(response, 502, "bad_gateway")
    calls = len(peer.requests_to(endpoint.peer_method, endpoint.peer_path))
    assert calls == (1 if endpoint.spec in {"A-04", "A-05", "A-08", "A-09", "A-12"} else 3)
    assert ("may or may not" in response.json()["detail"]) == endpoint.changes


@every_endpoint
async def test_token_and_request_id_go_along(
    client: httpx2.AsyncClient, failing: Failing, admin: dict[str, str], endpoint: Endpoint
) -> None:
    """The administrator's own token; nothing else of the request's headers."""
    asked, _ = failing(endpoint)
    await endpoint.call(client, headers={"x-request-id": "traced", "cookie": "a=b", "x-forwarded-for": "203.0.113.9"})
    [request] = asked.requests_to(endpoint.peer_method, endpoint.peer_path)
    assert request.headers["authorization"] == admin["authorization"]
    assert request.headers["x-request-id"] == "traced"
    assert not {"cookie", "x-forwarded-for", "x-csrf-token", "origin"} & set(request.headers)


async def test_one_peer_down_leaves_the_other(client: httpx2.AsyncClient, ecom: HttpStub, inventory: HttpStub) -> None:
    """Even after so many failures that the breaker has opened."""
    script(ecom, inventory)
    ecom.stop()
    for _ in range(3):
        check(await client.get("/admin/orders"), 502, "bad_gateway")
    asked_before = len(ecom.requests)
    check(await client.get("/admin/orders"), 502, "bad_gateway")
    assert len(ecom.requests) == asked_before
    assert (await client.put(f"/admin/stock/{book()['id']}", json={"quantity": 1})).status_code == 200


async def test_no_token_in_logs(
    client: httpx2.AsyncClient, failing: Failing, log_stream: LogStream, admin: dict[str, str]
) -> None:
    for endpoint in ENDPOINTS:
        peer, _ = failing(endpoint)
        peer.answer(endpoint.peer_method, endpoint.peer_path, 500)
        await endpoint.call(client)
    text = log_stream.getvalue().decode()
    assert "peer_failed" in text
    assert admin["authorization"].removeprefix("Bearer ") not in text
    assert client.headers["x-csrf-token"] not in text
