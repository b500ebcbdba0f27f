"""What every listener does around its endpoints: errors, ids, CORS, HEAD, metrics."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import StreamingResponse
from prometheus_client import generate_latest
from sqlalchemy import exc as sa_exc
from starlette.exceptions import HTTPException

from bookstore_common.application import create_app
from bookstore_common.metrics import Metrics
from bookstore_common.problem import DependencyUnavailableError, NotFoundError, Problem, responses
from bookstore_common.testing.logs import LogStream

pytestmark = pytest.mark.anyio
SHOP = "https://shop.bookstore.test:30000"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def app(metrics: Metrics) -> FastAPI:
    inner, outer = APIRouter(prefix="/items"), APIRouter(prefix="/shop")

    @inner.get("/{item_id}", responses=responses(NotFoundError))
    async def item(item_id: int, size: Annotated[int, Query(le=100)] = 1) -> dict[str, int]:
        return {"id": item_id, "size": size}

    @inner.get("/{item_id}/raise/{kind}")
    async def fail(item_id: int, kind: str) -> None:
        raise {
            "unforeseen": RuntimeError(f"secret inside {item_id}"),
            "missing": NotFoundError("No such item.", hint="look elsewhere"),
            "down": DependencyUnavailableError("The stock service does not answer."),
            "database": sa_exc.OperationalError("SELECT secret", {}, Exception("refused\nSELECT secret")),
            "pool": sa_exc.TimeoutError("no connection"),
            "twice": HTTPException(409, "twice"),
        }[kind]

    @inner.get("/{item_id}/broken-stream")
    async def broken(item_id: int) -> StreamingResponse:
        async def stream() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("the other half")

        return StreamingResponse(stream())

    outer.include_router(inner)
    app = create_app("test", listener="public", metrics=metrics, cors_origins=[SHOP])
    app.include_router(outer)
    app.include_router(inner, prefix="/again")
    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://api.test") as client:
        yield client


def problem(response: httpx2.Response) -> dict[str, object]:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, object] = response.json()
    Problem.model_validate(body)
    assert body["status"] == response.status_code
    assert body["type"] == f"urn:bookstore:problem:{body['code']}"
    assert body["request_id"] == response.headers["x-request-id"]
    return body


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nowhere", 404, "not_found"),
        ("/shop/items/1/", 404, "not_found"),
        ("/openapi.json", 404, "not_found"),
        ("/docs", 404, "not_found"),
        ("/shop/items/1/raise/missing", 404, "not_found"),
        ("/shop/items/x", 422, "validation_error"),
        ("/shop/items/1/raise/unforeseen", 500, "internal_error"),
        ("/shop/items/1/raise/down", 503, "dependency_unavailable"),
        ("/shop/items/1/raise/database", 503, "dependency_unavailable"),
        ("/shop/items/1/raise/pool", 503, "dependency_unavailable"),
        ("/shop/items/1/raise/twice", 409, "conflict"),
    ],
)
async def test_every_error_is_a_problem(client: httpx2.AsyncClient, path: str, status: int, code: str) -> None:
    response = await client.get(path, headers={"origin": SHOP})
    assert response.status_code == status
    assert problem(response)["code"] == code
    assert "secret" not in response.text
    # Else a browser could not read the error.
    assert response.headers["access-control-allow-origin"] == SHOP


async def test_validation_problem_names_the_fields(client: httpx2.AsyncClient) -> None:
    body = problem(await client.get("/shop/items/x?size=101"))
    assert body["title"] == "Unprocessable Content"
    assert body["detail"] == "Invalid input: item_id, size."
    errors = body["errors"]
    assert isinstance(errors, list)
    assert [(error["location"], error["field"]) for error in errors] == [("path", "item_id"), ("query", "size")]


async def test_extension_members_are_kept(client: httpx2.AsyncClient) -> None:
    assert problem(await client.get("/shop/items/1/raise/missing"))["hint"] == "look elsewhere"


async def test_wrong_method_names_the_right_ones(client: httpx2.AsyncClient) -> None:
    response = await client.post("/shop/items/1")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
    assert problem(response)["code"] == "method_not_allowed"


async def test_half_an_answer_breaks_the_connection(client: httpx2.AsyncClient) -> None:
    with pytest.raises(RuntimeError, match="the other half"):
        await client.get("/shop/items/1/broken-stream")


async def test_unknown_query_parameters_are_tolerated(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/shop/items/1?utm_source=letter")).json() == {"id": 1, "size": 1}


@pytest.mark.parametrize("path", ["/shop/items/7", "/shop/items/x", "/nowhere"])
async def test_head_is_get_without_a_body(client: httpx2.AsyncClient, path: str) -> None:
    got, head = await client.get(path), await client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_request_id_is_kept_if_harmless(client: httpx2.AsyncClient) -> None:
    response = await client.get("/shop/items/1", headers={"x-request-id": "abc-1.2_3"})
    assert response.headers["x-request-id"] == "abc-1.2_3"


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, 'a"b', "{}", "é"])
async def test_other_request_ids_are_replaced(client: httpx2.AsyncClient, offered: str) -> None:
    response = await client.get("/shop/items/1", headers=[(b"x-request-id", offered.encode("latin-1"))])
    assert len(response.headers["x-request-id"]) == 32
    assert response.headers["x-request-id"] != offered


async def test_preflight_allows_what_the_spec_lists(client: httpx2.AsyncClient) -> None:
    asked = "Authorization, Content-Type, X-CSRF-Token, Idempotency-Key, If-Match"
    response = await client.options(
        "/shop/items/1",
        headers={"origin": SHOP, "access-control-request-method": "PATCH", "access-control-request-headers": asked},
    )
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == SHOP
    assert response.headers["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in response.headers
    allowed = {name.strip() for name in response.headers["access-control-allow-headers"].lower().split(",")}
    assert {name.strip() for name in asked.lower().split(",")} <= allowed
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert method in response.headers["access-control-allow-methods"]


@pytest.mark.parametrize("origin", ["https://evil.test", "http://shop.bookstore.test:30000", "null"])
async def test_foreign_origin_gets_no_permission(client: httpx2.AsyncClient, origin: str) -> None:
    preflight = await client.options(
        "/shop/items/1", headers={"origin": origin, "access-control-request-method": "GET"}
    )
    plain = await client.get("/shop/items/1", headers={"origin": origin})
    for response in (preflight, plain):
        assert "access-control-allow-origin" not in response.headers
    assert preflight.status_code == 400


async def test_exposed_headers_and_vary(client: httpx2.AsyncClient) -> None:
    response = await client.get("/shop/items/1", headers={"origin": SHOP})
    exposed = {name.strip() for name in response.headers["access-control-expose-headers"].split(",")}
    assert {
        "ETag",
        "Retry-After",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "X-Request-ID",
    } == exposed
    # Also without an origin: a cache must not give that answer to the shop.
    assert (await client.get("/shop/items/1")).headers["vary"] == "Origin"


async def test_metrics_label_is_the_whole_template(client: httpx2.AsyncClient, metrics: Metrics) -> None:
    for path in ("/shop/items/1", "/shop/items/2", "/shop/items/x", "/again/items/3", "/nowhere/1", "/nowhere/2"):
        await client.get(path)
    await client.head("/shop/items/1")
    await client.request("BREW", "/shop/items/1")
    text = generate_latest(metrics.registry).decode()
    series = {
        line.rsplit(" ", 1)[0]: line.rsplit(" ", 1)[1]
        for line in text.splitlines()
        if line.startswith("http_requests_total")
    }

    def label(method: str, route: str, status: int) -> str:
        return f'http_requests_total{{listener="public",method="{method}",route="{route}",status="{status}"}}'

    assert series == {
        label("GET", "/shop/items/{item_id}", 200): "2.0",
        label("GET", "/shop/items/{item_id}", 422): "1.0",
        label("GET", "/again/items/{item_id}", 200): "1.0",
        label("GET", "unmatched", 404): "2.0",
        label("HEAD", "/shop/items/{item_id}", 200): "1.0",
        label("OTHER", "/shop/items/{item_id}", 405): "1.0",
    }
    assert (
        'http_request_duration_seconds_count{listener="public",method="GET",route="/shop/items/{item_id}"} 3.0' in text
    )
    assert 'http_requests_in_progress{listener="public"} 0.0' in text


async def test_access_log_has_template_and_id_but_no_query(client: httpx2.AsyncClient, log_stream: LogStream) -> None:
    await client.get("/shop/items/5?size=3&q=private", headers={"x-request-id": "trace-1"})
    (line,) = (line for line in log_stream.events() if line["event"] == "request")
    assert line["request_id"] == "trace-1"
    assert line["route"] == "/shop/items/{item_id}"
    assert line["status"] == 200
    assert b"private" not in log_stream.getvalue()


async def test_unforeseen_error_is_logged_with_its_traceback(client: httpx2.AsyncClient, log_stream: LogStream) -> None:
    response = await client.get("/shop/items/9/raise/unforeseen")
    (logged,) = (line for line in log_stream.events() if line["event"] == "unhandled_error")
    assert logged["request_id"] == response.json()["request_id"]
    assert logged["exception"][0]["exc_type"] == "RuntimeError"
