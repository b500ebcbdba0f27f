"""Calls to peers that answer, fail, hang and come back."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bookstore_common.context import request_id_var
from bookstore_common.metrics import Metrics
from bookstore_common.outbound import (
    Breaker,
    OutboundClient,
    UpstreamBusyError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    route_of,
)
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError
from bookstore_common.testing.http_stub import HttpStub
from polling import until

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when a test says so."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(upstream: HttpStub, metrics: Metrics, clock: Clock) -> AsyncIterator[OutboundClient]:
    client = OutboundClient("inventory", upstream.url, metrics, read_seconds=0.3, clock=clock)
    yield client
    await client.close()


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, {"peer": "inventory", **labels}) or 0.0


async def test_what_is_sent(client: OutboundClient, upstream: HttpStub) -> None:
    upstream.answer("POST", "/things", 201, {"ok": True}, headers={"X-Kind": "new"})
    context = request_id_var.set("request-7")
    try:
        answer = await client.request(
            "POST",
            "/things",
            json={"id": uuid.UUID(int=1), "name": "ä"},
            params={"page": 2, "q": None, "tag": ["a", "b"]},
            headers={"Idempotency-Key": "k"},
            token="the-token",
        )
    finally:
        request_id_var.reset(context)
    assert (answer.status, answer.json(), answer.headers["x-kind"]) == (201, {"ok": True}, "new")
    (sent,) = upstream.requests
    assert sent.json() == {"id": "00000000-0000-0000-0000-000000000001", "name": "ä"}
    assert sent.query == {"page": ["2"], "tag": ["a", "b"]}
    assert sent.headers["authorization"] == "Bearer the-token"
    assert (sent.headers["x-request-id"], sent.headers["idempotency-key"]) == ("request-7", "k")


@pytest.mark.parametrize("value", ['"\xe9"', "\u0142", "a\r\nx: y", "\x00", "\x7f", "x" * 20_000])
async def test_headers_that_cannot_be_sent(client: OutboundClient, upstream: HttpStub, value: str) -> None:
    """A client's header that is handed on is that client's fault, not ours."""
    with pytest.raises(InvalidInputError) as refused:
        await client.request("PUT", "/things", headers={"if-match": value})
    assert [(error.field, error.location) for error in refused.value.errors] == [("if-match", "header")]
    with pytest.raises(InvalidInputError):
        await client.request("GET", "/things", token=value)
    assert upstream.requests == []


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 409, 422, 429, 500])
async def test_answers_are_the_callers_business(client: OutboundClient, upstream: HttpStub, status: int) -> None:
    upstream.always("GET", "/", status, headers={"Location": "https://evil.test/"})
    assert (await client.request("GET", "/")).status == status
    assert len(upstream.requests) == 1
    assert "x-request-id" not in upstream.requests[0].headers


@pytest.mark.parametrize(
    ("method", "idempotent", "attempts"),
    [("GET", None, 3), ("PUT", None, 3), ("DELETE", None, 3), ("POST", None, 1), ("POST", True, 3), ("GET", False, 1)],
)
async def test_attempts(
    client: OutboundClient, upstream: HttpStub, method: str, idempotent: bool | None, attempts: int
) -> None:
    upstream.always(method, "/", 503)
    with pytest.raises(UpstreamUnavailableError) as caught:
        await client.request(method, "/", idempotent=idempotent)
    assert len(upstream.requests) == attempts
    assert isinstance(caught.value, DependencyUnavailableError)
    assert (caught.value.status, caught.value.code, caught.value.peer) == (503, "dependency_unavailable", "inventory")


@pytest.mark.parametrize("failure", [{"status": 502}, {"status": 503}, {"status": 504}, {"drop": True}, {"delay": 5}])
async def test_a_passing_failure_is_not_seen(
    client: OutboundClient, upstream: HttpStub, metrics: Metrics, failure: dict[str, Any]
) -> None:
    upstream.answer("GET", "/", **failure)
    upstream.answer("GET", "/", **failure)
    upstream.answer("GET", "/", body=[1])
    assert (await client.request("GET", "/")).json() == [1]
    assert count(metrics, "outbound_requests_total", result="200") == 1
    assert count(metrics, "outbound_request_duration_seconds_count") == 3


async def test_time_out(client: OutboundClient, upstream: HttpStub, metrics: Metrics) -> None:
    upstream.always("POST", "/", delay=30)
    started = time.perf_counter()
    with pytest.raises(UpstreamTimeoutError):
        await client.request("POST", "/")
    assert 0.2 < time.perf_counter() - started < 30
    assert count(metrics, "outbound_requests_total", result="timeout") == 1


async def test_gateway_timeout_is_a_timeout(client: OutboundClient, upstream: HttpStub) -> None:
    upstream.always("POST", "/", 504)
    with pytest.raises(UpstreamTimeoutError):
        await client.request("POST", "/")


async def test_waits_are_jittered_and_short(client: OutboundClient, upstream: HttpStub) -> None:
    upstream.always("GET", "/", 502)
    durations = []
    for _ in range(1):
        started = time.perf_counter()
        with pytest.raises(UpstreamUnavailableError):
            await client.request("GET", "/")
        durations.append(time.perf_counter() - started)
    assert 0.05 < durations[0] < 2


async def test_nonsense(client: OutboundClient, upstream: HttpStub) -> None:
    upstream.answer("GET", "/", body="<html>")
    answer = await client.request("GET", "/")
    with pytest.raises(UpstreamUnavailableError, match="unreadable"):
        answer.json()


async def test_endless_answer(client: OutboundClient, upstream: HttpStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bookstore_common.outbound._MAX_BYTES", 1000)
    upstream.always("GET", "/", body="x" * 1001)
    with pytest.raises(UpstreamUnavailableError):
        await client.request("GET", "/")


async def test_breaker(client: OutboundClient, upstream: HttpStub, metrics: Metrics, clock: Clock) -> None:
    upstream.stop()
    for _ in range(5):
        with pytest.raises(UpstreamUnavailableError):
            await client.request("POST", "/")
    assert count(metrics, "outbound_breaker_open") == 1
    upstream.start()
    upstream.always("POST", "/")
    clock.seconds = 9.9
    with pytest.raises(UpstreamUnavailableError):
        await client.request("POST", "/")
    assert upstream.requests == []  # not even tried
    assert count(metrics, "outbound_requests_total", result="breaker_open") == 1
    clock.seconds = 10
    assert (await client.request("POST", "/")).status == 200
    assert count(metrics, "outbound_breaker_open") == 0


async def test_open_breaker_ends_the_retries(client: OutboundClient, upstream: HttpStub) -> None:
    upstream.always("GET", "/", 503)
    for _ in range(3):
        with pytest.raises(UpstreamUnavailableError):
            await client.request("GET", "/")
    assert len(upstream.requests) == 5


@pytest.mark.parametrize("failure", [{"status": 504}, {"status": 503}, {"drop": True}, {"delay": 5}])
async def test_a_failing_route_leaves_the_others(
    client: OutboundClient, upstream: HttpStub, metrics: Metrics, clock: Clock, failure: dict[str, Any]
) -> None:
    """One slow or heavy read opens its own breaker; whatever its ids and parameters are, it is one route."""
    upstream.always("GET", "/orders", body=[])
    ids = [uuid.UUID(int=number) for number in range(6)]
    for one in ids:
        upstream.always("GET", f"/orders/{one}", **failure)
    for one in ids[:5]:
        with pytest.raises(UpstreamUnavailableError):
            await client.request("GET", f"/orders/{one}", idempotent=False)
    sent = len(upstream.requests)
    with pytest.raises(UpstreamUnavailableError):
        await client.request("GET", f"/orders/{ids[5]}")
    assert len(upstream.requests) == sent  # open for the route
    assert count(metrics, "outbound_breaker_open") == 1
    assert (await client.request("GET", "/orders")).status == 200
    assert count(metrics, "outbound_breaker_open") == 1  # another route's success says nothing about this one
    clock.seconds = 11
    upstream.always("GET", f"/orders/{ids[5]}")
    assert (await client.request("GET", f"/orders/{ids[5]}")).status == 200
    assert count(metrics, "outbound_breaker_open") == 0


async def test_admission_is_bounded(
    client: OutboundClient, upstream: HttpStub, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many calls of a slow route are refused at once, with a time to come again; other routes go on."""
    monkeypatch.setattr("bookstore_common.outbound.ROUTE_CALLS", 2)
    upstream.always("GET", "/slow", delay=0.2)
    upstream.always("GET", "/quick")
    calls = [asyncio.create_task(client.request("GET", "/slow")) for _ in range(2)]
    await until(lambda: len(upstream.requests_to("GET", "/slow")) == 2)
    with pytest.raises(UpstreamBusyError) as refused:
        await client.request("GET", "/slow")
    assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "1"})
    assert count(metrics, "outbound_requests_total", result="busy") == 1
    assert (await client.request("GET", "/quick")).status == 200
    await asyncio.gather(*calls)
    assert (await client.request("GET", "/slow")).status == 200


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/orders", "GET /orders"),
        ("/orders?page=9", "GET /orders"),
        ("/orders/7/items", "GET /orders/{}/items"),
        (f"/orders/{uuid.UUID(int=7)}/status", "GET /orders/{}/status"),
        ("/admin/stock", "GET /admin/stock"),
    ],
)
def test_routes(path: str, route: str) -> None:
    assert route_of("GET", path) == route


async def test_one_trial_at_a_time(client: OutboundClient, upstream: HttpStub, clock: Clock) -> None:
    upstream.always("POST", "/", 503)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailableError):
            await client.request("POST", "/")
    clock.seconds = 11
    upstream.always("POST", "/", delay=0.1)
    answers = await asyncio.gather(*(client.request("POST", "/") for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, UpstreamUnavailableError) for answer in answers) == 4
    assert (await client.request("POST", "/")).status == 200


async def test_caller_leaves_during_the_trial(client: OutboundClient, upstream: HttpStub, clock: Clock) -> None:
    """Else the breaker would wait for that trial for ever."""
    upstream.always("POST", "/", 503)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailableError):
            await client.request("POST", "/")
    clock.seconds = 11
    upstream.always("POST", "/", delay=0.25)
    trial = asyncio.create_task(client.request("POST", "/"))
    await asyncio.sleep(0.05)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    upstream.always("POST", "/")
    assert (await client.request("POST", "/")).status == 200


def test_failures_count_only_in_a_row(clock: Clock) -> None:
    changes: list[bool] = []
    breaker = Breaker(clock, changes.append)
    for _ in range(3):
        for _ in range(4):
            breaker.failed()
        breaker.succeeded()
    assert breaker.admit()
    for _ in range(5):
        breaker.failed()
    assert not breaker.admit()
    clock.seconds = 10
    assert breaker.admit()
    breaker.failed()  # the trial failed: another ten seconds
    clock.seconds = 19
    assert not breaker.admit()
    assert changes == [True]


async def test_peer_that_restarted(client: OutboundClient, upstream: HttpStub) -> None:
    """Kept connections are dead; the request is repeated on a new one."""
    upstream.always("GET", "/")
    await client.request("GET", "/")
    upstream.stop()
    upstream.start()
    assert (await client.request("GET", "/")).status == 200


def test_address_needs_a_scheme(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="base_url"):
        OutboundClient("inventory", "inventory-api:8001", metrics)
