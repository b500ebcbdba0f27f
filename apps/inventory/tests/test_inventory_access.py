"""Who may call what: for each endpoint first anonymous, then the wrong role, then the wrong client."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from inventory_testing import book, http, order, running, settings_of

from bookstore_common.testing.tokens import Issuer
from inventory.app import Service
from inventory.openapi import document

pytestmark = pytest.mark.anyio
SHOP = "https://shop.bookstore.test:30000"
HOLD = {"order_id": order(1), "items": [{"book_id": book(1), "quantity": 1}]}
# SPEC 5.4: method, path, body, role, status for who may.
GUARDED: dict[str, tuple[str, str, Any, str, int]] = {
    "reserve": ("POST", "/internal/reservations", HOLD, "service", 201),
    "getReservation": ("GET", f"/internal/reservations/{order(1)}", None, "service", 404),
    "release": ("DELETE", f"/internal/reservations/{order(1)}", None, "service", 204),
    "listStock": ("GET", "/internal/admin/stock", None, "admin", 200),
    "getStockForAdmin": ("GET", f"/internal/admin/stock/{book(1)}", None, "admin", 200),
    "setStock": ("PUT", f"/internal/admin/stock/{book(1)}", {"quantity": 7}, "admin", 200),
    "adjustStock": ("POST", f"/internal/admin/stock/{book(1)}/adjust", {"delta": 1, "reason": "r"}, "admin", 200),
    "listStockMovements": ("GET", f"/internal/admin/stock/{book(1)}/movements", None, "admin", 200),
}
ROLES = ("customer", "admin", "service")
Headers = Callable[..., dict[str, str]]
each = pytest.mark.parametrize("operation", GUARDED)


def trace(rows: Any) -> Any:
    return rows.execute(
        "SELECT (SELECT count(*) FROM reservations), (SELECT count(*) FROM stock_movements),"
        " (SELECT count(*) FROM outbox_events), (SELECT sum(version) FROM inventory)"
    ).fetchone()


async def call(client: httpx2.AsyncClient, operation: str, headers: dict[str, str]) -> httpx2.Response:
    method, path, body, _role, _status = GUARDED[operation]
    # The version that the seed gives each stock; nothing but I-08 asks for one.
    versioned = {**headers, "if-match": '"1"'} if operation == "setStock" else headers
    return await client.request(method, path, json=body, headers=versioned)


def test_no_endpoint_is_forgotten() -> None:
    """Each operation of the internal listener stands in the table above, and says which role it wants."""
    found = {
        operation["operationId"]: operation["x-roles"]
        for path in json.loads(document("internal"))["paths"].values()
        for operation in path.values()
    }
    assert found == {name: [role] for name, (_method, _path, _body, role, _status) in GUARDED.items()}


@each
async def test_anonymous(internal: httpx2.AsyncClient, rows: Any, operation: str) -> None:
    before = trace(rows)
    for headers in (
        {},
        {"authorization": "Basic eDp5"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer x.y.z"},
    ):
        response = await call(internal, operation, headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert trace(rows) == before


@each
async def test_identity_headers_count_for_nothing(internal: httpx2.AsyncClient, rows: Any, operation: str) -> None:
    before = trace(rows)
    claimed = {"x-forwarded-user": "admin1", "x-user": "admin1", "x-roles": "admin,service", "cookie": "token=x"}
    assert (await call(internal, operation, claimed)).status_code == 401
    assert trace(rows) == before


@each
async def test_wrong_role(internal: httpx2.AsyncClient, headers: Headers, rows: Any, operation: str) -> None:
    before = trace(rows)
    wanted = GUARDED[operation][3]
    azp = "ecom-service" if wanted == "service" else "ui-client"
    for role in ROLES:
        if role != wanted:
            response = await call(internal, operation, headers(role, azp=azp))
            assert (response.status_code, response.json()["code"]) == (403, "forbidden"), role
    response = await call(internal, operation, headers(azp=azp))
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert trace(rows) == before


@pytest.mark.parametrize("operation", [name for name, row in GUARDED.items() if row[3] == "service"])
@pytest.mark.parametrize("azp", ["ui-client", "smoke-admin", "smoke-customer"])
async def test_wrong_client(
    internal: httpx2.AsyncClient, headers: Headers, rows: Any, operation: str, azp: str
) -> None:
    """Only the E-Commerce API reserves, whatever role another client's token has."""
    before = trace(rows)
    response = await call(internal, operation, headers("service", azp=azp))
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert trace(rows) == before


@each
async def test_foreign_client_audience_issuer_and_time(
    internal: httpx2.AsyncClient, headers: Headers, rows: Any, operation: str
) -> None:
    before = trace(rows)
    role = GUARDED[operation][3]
    azp = "ecom-service" if role == "service" else "ui-client"
    for claims in (
        {"azp": "stranger"},
        {"azp": "e2e-provisioner"},
        {"azp": azp, "audience": "account"},
        {"azp": azp, "iss": "https://id.evil.test/realms/bookstore"},
        {"azp": azp, "lifetime": -60},
    ):
        response = await call(internal, operation, headers(role, **claims))
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated"), claims
    assert trace(rows) == before


@each
async def test_the_right_caller(internal: httpx2.AsyncClient, headers: Headers, operation: str) -> None:
    _method, _path, _body, role, status = GUARDED[operation]
    response = await call(internal, operation, headers(role))
    assert response.status_code == status


@each
@pytest.mark.parametrize("origin", [None, SHOP, "https://evil.test", "null"])
async def test_neither_csrf_token_nor_origin_counts_on_the_internal_listener(
    internal: httpx2.AsyncClient, headers: Headers, operation: str, origin: str | None
) -> None:
    """SPEC 5.1: no browser reaches port 8001. The admin's own token comes from the SPA, by way of admin-api."""
    _method, _path, _body, role, status = GUARDED[operation]
    sent = headers(role, azp="ui-client" if role == "admin" else "ecom-service")
    if origin is not None:
        sent |= {"origin": origin, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    response = await call(internal, operation, sent)
    assert response.status_code == status
    # And no page is told that it may read the answer.
    assert [name for name in response.headers if name.startswith("access-control-")] == []


@each
async def test_revoked_session(
    internal: httpx2.AsyncClient, service: Service, headers: Headers, rows: Any, operation: str
) -> None:
    role = GUARDED[operation][3]
    sid = f"sid-{operation}"
    await service.redis.raw.set(f"revoked:{sid}", "1", ex=360)
    before = trace(rows)
    response = await call(internal, operation, headers(role, sid=sid))
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert trace(rows) == before


@each
async def test_works_while_redis_is_down(
    environment: Any, fresh: str, headers: Headers, operation: str, free_tcp_port: int
) -> None:
    """Revocation marks and limits fail open (SPEC 3.1, 5.1); nothing else here needs Redis."""
    settings = settings_of({**environment(fresh), "REDIS_PORT": str(free_tcp_port)})
    _method, _path, _body, role, status = GUARDED[operation]
    async with running(settings) as service, http(service.internal) as client:
        assert (await call(client, operation, headers(role))).status_code == status


async def test_public_reads_while_redis_is_down(environment: Any, fresh: str, free_tcp_port: int) -> None:
    settings = settings_of({**environment(fresh), "REDIS_PORT": str(free_tcp_port)})
    async with running(settings) as service, http(service.public) as client:
        assert (await client.get(f"/inven/stock/{book(1)}")).status_code == 200
        assert (await client.get(f"/inven/stock/bulk?book_ids={book(1)}")).status_code == 200
        async with http(service.management) as management:
            ready = await management.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["checks"]["redis"]["status"] == "degraded"


async def test_public_reads_while_the_issuer_is_down(environment: Any, fresh: str, issuer: Issuer) -> None:
    issuer.stop()
    try:
        async with running(settings_of(environment(fresh))) as service, http(service.public) as client:
            assert (await client.get(f"/inven/stock/{book(1)}")).status_code == 200
            async with http(service.management) as management:
                ready = await management.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["checks"]["tokens"]["status"] == "failed"
    finally:
        issuer.start()


async def test_limit_of_anonymous_reads(public: httpx2.AsyncClient, redis_server: Any) -> None:
    """SPEC 5.1: 1200 a minute; told in headers. What happens beyond it is tested in apps/common."""
    redis_server.flush()
    for path in (f"/inven/stock/{book(1)}", f"/inven/stock/bulk?book_ids={book(1)}"):
        response = await public.get(path)
        assert response.headers["ratelimit-limit"] == "1200"
        assert 0 < int(response.headers["ratelimit-remaining"]) < 1200
    assert "ratelimit-limit" not in (await public.get("/inven/health")).headers
