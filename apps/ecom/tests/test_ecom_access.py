"""Who may call what: for each endpoint first anonymous, then the wrong role, then another user's row."""

import json
from typing import Any

import httpx2
import pytest
from ecom_testing import SHIPPING, Caller, book, problem_of

from bookstore_common.testing.tokens import Issuer
from ecom.app import Service
from ecom.openapi import document

pytestmark = pytest.mark.anyio
LINE = "30000000-0000-4000-8000-000000000001"
ORDER = "20000000-0000-4000-8000-000000000001"
FIELDS = {"title": "New", "author": "Anon", "price": "5.00"}
BOTH = ["customer", "admin"]
# SPEC 5.3: method, path, body, roles. The paths name another user's rows.
GUARDED: dict[str, tuple[str, str, Any, list[str]]] = {
    "issueCsrfToken": ("GET", "/ecom/csrf-token", None, BOTH),
    "getCart": ("GET", "/ecom/cart", None, ["customer"]),
    "addCartItem": ("POST", "/ecom/cart/items", {"book_id": book(1), "quantity": 1}, ["customer"]),
    "setCartItemQuantity": ("PUT", f"/ecom/cart/items/{LINE}", {"quantity": 2}, ["customer"]),
    "removeCartItem": ("DELETE", f"/ecom/cart/items/{LINE}", None, ["customer"]),
    "clearCart": ("DELETE", "/ecom/cart", None, ["customer"]),
    "mergeCart": ("POST", "/ecom/cart/merge", {"items": []}, ["customer"]),
    "checkout": ("POST", "/ecom/checkout", {"shipping": SHIPPING, "expected_total": "1.00"}, ["customer"]),
    "listOrders": ("GET", "/ecom/orders", None, ["customer"]),
    "getOrder": ("GET", f"/ecom/orders/{ORDER}", None, ["customer"]),
    "cancelOrder": ("POST", f"/ecom/orders/{ORDER}/cancel", None, ["customer"]),
    "listBooksForAdmin": ("GET", "/internal/admin/books", None, ["admin"]),
    "getBookForAdmin": ("GET", f"/internal/admin/books/{book(1)}", None, ["admin"]),
    "createBook": ("POST", "/internal/admin/books", FIELDS, ["admin"]),
    "editBook": ("PUT", f"/internal/admin/books/{book(1)}", FIELDS, ["admin"]),
    "withdrawBook": ("DELETE", f"/internal/admin/books/{book(1)}", None, ["admin"]),
    "listOrdersForAdmin": ("GET", "/internal/admin/orders", None, ["admin"]),
    "getOrderForAdmin": ("GET", f"/internal/admin/orders/{ORDER}", None, ["admin"]),
    "setOrderStatus": ("PATCH", f"/internal/admin/orders/{ORDER}/status", {"status": "SHIPPED"}, ["admin"]),
}
OPEN = {"getHealth", "listBooks", "searchBooks", "getBook", "listGenres", "backchannelLogout"}
PUBLIC = [name for name, row in GUARDED.items() if row[1].startswith("/ecom")]
CHANGING = [name for name in PUBLIC if GUARDED[name][0] != "GET"]
# What another customer gets for rows that are not theirs.
FOREIGN = {
    "getCart": 200,
    "setCartItemQuantity": 404,
    "removeCartItem": 204,
    "clearCart": 204,
    "checkout": 400,
    "listOrders": 200,
    "getOrder": 404,
    "cancelOrder": 404,
}
each = pytest.mark.parametrize("operation", GUARDED)


@pytest.fixture
def rows(books: Any) -> Any:
    """Connection to a database that holds a line and an order of the user ``owner``."""
    books.execute(
        "INSERT INTO cart_items (id, user_id, book_id, quantity) VALUES (%s, 'owner', %s, 1)", [LINE, book(1)]
    )
    books.execute(
        "INSERT INTO orders (id, user_id, status, total, shipping) VALUES (%s, 'owner', 'CONFIRMED', 1, '{}')", [ORDER]
    )
    books.execute(
        "INSERT INTO order_items (order_id, book_id, title_at_purchase, quantity, price_at_purchase)"
        " VALUES (%s, %s, 'Pride and Prejudice', 1, 1)",
        [ORDER, book(1)],
    )
    return books


TRACE = """
SELECT (SELECT sum(version) FROM books), (SELECT count(*) FROM books),
       (SELECT array_agg(cart_items.*::text) FROM cart_items), (SELECT array_agg(orders.*::text) FROM orders),
       (SELECT count(*) FROM outbox_events), (SELECT count(*) FROM idempotency_keys)
"""


async def call(service: Service, operation: str, headers: dict[str, str]) -> httpx2.Response:
    method, path, body, _roles = GUARDED[operation]
    app = service.public if path.startswith("/ecom") else service.internal
    sent = {"idempotency-key": "k", "if-match": '"1"', **headers}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://ecom.test") as client:
        return await client.request(method, path, json=body, headers=sent)


async def csrf(service: Service, headers: dict[str, str]) -> dict[str, str]:
    issued = await call(service, "issueCsrfToken", headers)
    return {"x-csrf-token": issued.json()["token"]}


def test_no_endpoint_is_forgotten() -> None:
    """Each operation stands in the table above, or is open, and its document says which role it wants."""
    found: dict[str, list[str] | None] = {
        operation["operationId"]: operation.get("x-roles")
        for listener in ("public", "internal")
        for path in json.loads(document(listener))["paths"].values()
        for operation in path.values()
    }
    assert found == {**{name: row[3] for name, row in GUARDED.items()}, **dict.fromkeys(OPEN)}


@each
async def test_anonymous(service: Service, rows: Any, operation: str) -> None:
    before = rows.execute(TRACE).fetchone()
    for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer x.y.z"}, {"x-user": "owner"}):
        response = await call(service, operation, headers)
        assert problem_of(response) == (401, "unauthenticated")
        assert response.headers["www-authenticate"].startswith("Bearer")
    assert rows.execute(TRACE).fetchone() == before


@each
async def test_wrong_role(service: Service, issuer: Issuer, rows: Any, operation: str) -> None:
    before = rows.execute(TRACE).fetchone()
    allowed = GUARDED[operation][3]
    for role in {"customer", "admin", "service", "other"} - set(allowed):
        headers = issuer.headers(roles=[role], sub="owner")
        response = await call(service, operation, headers)
        assert problem_of(response) == (403, "forbidden"), role
    assert rows.execute(TRACE).fetchone() == before


@each
async def test_foreign_client_audience_issuer_and_time(
    service: Service, issuer: Issuer, rows: Any, operation: str
) -> None:
    before = rows.execute(TRACE).fetchone()
    roles = GUARDED[operation][3]
    for claims in (
        {"azp": "stranger"},
        {"audience": "account"},
        {"iss": "https://id.evil.test/realms/bookstore"},
        {"lifetime": -60},
    ):
        response = await call(service, operation, issuer.headers(roles=roles, **claims))
        assert problem_of(response) == (401, "unauthenticated"), claims
    assert rows.execute(TRACE).fetchone() == before


@each
async def test_revoked_session(service: Service, issuer: Issuer, rows: Any, operation: str) -> None:
    before = rows.execute(TRACE).fetchone()
    await service.redis.raw.set("revoked:gone", "1", ex=360)
    response = await call(service, operation, issuer.headers(roles=GUARDED[operation][3], sid="gone", sub="owner"))
    assert problem_of(response) == (401, "unauthenticated")
    assert rows.execute(TRACE).fetchone() == before


@pytest.mark.parametrize("operation", FOREIGN)
async def test_rows_of_others_do_not_exist(service: Service, issuer: Issuer, rows: Any, operation: str) -> None:
    before = rows.execute(TRACE).fetchone()
    headers = issuer.headers(sub="someone-else", roles=["customer", "admin"])
    response = await call(service, operation, {**headers, **await csrf(service, headers)})
    assert response.status_code == FOREIGN[operation]
    for trace in (LINE, ORDER, "Pride"):
        assert trace not in response.text.replace(f"No order has the id {ORDER}", "").replace(f"the id {LINE}", "")
    assert rows.execute(TRACE).fetchone() == before


@pytest.mark.parametrize("operation", CHANGING)
async def test_csrf(service: Service, issuer: Issuer, rows: Any, operation: str) -> None:
    before = rows.execute(TRACE).fetchone()
    headers = issuer.headers(sub="owner", sid="mine")
    foreign = await csrf(service, issuer.headers(sub="other", sid="theirs"))
    for offered in ({}, {"x-csrf-token": "x"}, foreign):
        assert problem_of(await call(service, operation, {**headers, **offered})) == (403, "csrf_invalid")
    own = await csrf(service, headers)
    response = await call(service, operation, {**headers, **own, "origin": "https://evil.test"})
    assert problem_of(response) == (403, "origin_mismatch")
    assert rows.execute(TRACE).fetchone() == before


@pytest.mark.parametrize("operation", CHANGING)
async def test_nothing_changes_while_redis_is_down(
    service: Service, issuer: Issuer, redis_server: Any, rows: Any, operation: str
) -> None:
    before = rows.execute(TRACE).fetchone()
    headers = issuer.headers(sub="owner")
    token = await csrf(service, headers)
    redis_server.stop()
    response = await call(service, operation, {**headers, **token})
    assert problem_of(response) == (503, "dependency_unavailable")
    assert rows.execute(TRACE).fetchone() == before


@pytest.mark.parametrize("operation", [name for name in GUARDED if name not in CHANGING and name != "issueCsrfToken"])
async def test_everything_else_works_while_redis_is_down(
    service: Service, issuer: Issuer, redis_server: Any, rows: Any, operation: str
) -> None:
    redis_server.stop()
    response = await call(service, operation, issuer.headers(sub="owner", roles=GUARDED[operation][3]))
    assert response.is_success, response.text


async def test_admins_work_without_csrf_token_and_limits(admin: Caller, rows: Any) -> None:
    """SPEC 5.1: no browser reaches port 8001."""
    response = await admin.send("POST", "/internal/admin/books", FIELDS, origin="https://elsewhere.test")
    assert response.status_code == 201
    assert "ratelimit-limit" not in response.headers


async def test_limits_are_told(environment: Any, seeded: str, issuer: Issuer) -> None:
    """SPEC 5.1; what happens beyond them is tested in apps/common."""
    operations = {
        operation["operationId"]: operation["x-rate-limit"]["per_minute"]
        for path in json.loads(document())["paths"].values()
        for operation in path.values()
        if "x-rate-limit" in operation
    }
    assert operations == {
        "listBooks": 1200,
        "searchBooks": 120,
        "getBook": 1200,
        "listGenres": 1200,
        "issueCsrfToken": 30,
        "getCart": 300,
        "listOrders": 300,
        "getOrder": 300,
        **dict.fromkeys(CHANGING, 60),
        "checkout": 10,
    }
