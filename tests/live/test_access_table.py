"""Who gets how far, for every route of SPEC 4.2 and every operation of the services (SPEC 5): generated, nothing is listed by hand.

Requests that would change something are sent without a CSRF token. So whoever may call them gets ``csrf_invalid``, which
comes after the role, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from . import documents, forged
from .conftest import API, CONSOLE, PLACES, SHOP_ORIGIN
from .documents import NOTHING, Operation
from .people import People
from .signin import SAFE_METHODS, Hidden, Shopper, bearer, problem_of
from .tls import Trust
from .waiting import until

ROUTES = yaml.safe_load((Path(__file__).parents[2] / "inventory/local/group_vars/all/routes.yml").read_text())["bookstore_routes"]
# On the api host, to a service: by path, the roles of its route (None: public) and its methods (None: all).
PATHS: dict[str, tuple[frozenset[str] | None, list[str] | None]] = {
    path: (frozenset(route["roles"]) if "roles" in route else None, route.get("methods"))
    for route in ROUTES
    if route["host"] == "api" and "tokenless_of" not in route
    for path in [*route.get("prefixes", []), *route.get("exact", [])]
}
ROLES: dict[str, frozenset[str]] = {"anonymous": frozenset(), "customer": frozenset({"customer"}), "admin": frozenset({"admin"})}
PUBLIC = [operation for operation in documents.operations() if operation.listener == "public"]
INTERNAL = [operation for operation in documents.operations() if operation.listener == "internal"]
SEED_BOOK = "00000000-0000-0000-0000-000000000001"
Bearers = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def client(trust: Trust) -> Iterator[httpx2.Client]:
    with trust.client() as client:
        client.base_url = API
        yield client


@pytest.fixture(scope="module")
def customer(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[Shopper]:
    """Somebody whose rate limits nobody else uses up."""
    people = People(trust, PLACES, CONSOLE, secret("keycloak-clients", "e2e-provisioner"))
    try:
        yield people.customer()
    finally:
        people.close()


@pytest.fixture(scope="module")
def bearers(client: httpx2.Client, customer: Shopper, secret: Callable[[str, str], Hidden]) -> Bearers:
    """The Authorization header of each kind of caller. The administrator is no customer: demo administrators are both."""
    form = {"grant_type": "client_credentials", "client_id": "smoke-admin", "client_secret": secret("keycloak-clients", "smoke-admin")}
    answer = client.post(PLACES.endpoint("token"), data=form)
    assert answer.status_code == 200, f"smoke-admin cannot sign in: {answer.status_code}"
    return {"anonymous": {}, "customer": customer.bearer(), "admin": bearer(answer.json()["access_token"])}


def assert_unauthenticated(answer: httpx2.Response) -> None:
    assert problem_of(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def assert_forbidden(answer: httpx2.Response) -> None:
    assert problem_of(answer) == (403, "forbidden")


def assert_let_in(answer: httpx2.Response) -> None:
    assert answer.status_code not in {401, 403}, answer.text
    assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("caller", ROLES)
@pytest.mark.parametrize("path", PATHS)
def test_route(client: httpx2.Client, bearers: Bearers, path: str, caller: str) -> None:
    roles, _ = PATHS[path]
    answer = client.get(path, headers={**bearers[caller], "Origin": SHOP_ORIGIN})
    if roles is None:
        assert_let_in(answer)
    elif caller == "anonymous":
        assert_unauthenticated(answer)
        assert answer.headers["access-control-allow-origin"] == SHOP_ORIGIN
    elif not roles & ROLES[caller]:
        assert_forbidden(answer)
    else:
        # On to the service, which has rules of its own: test_operation.
        assert answer.status_code != 401, answer.text
        assert "The token lacks the role or the audience" not in answer.text


@pytest.mark.parametrize("caller", ROLES)
@pytest.mark.parametrize("operation", PUBLIC, ids=str)
def test_operation(client: httpx2.Client, bearers: Bearers, operation: Operation, caller: str) -> None:
    answer = client.request(operation.method, operation.path, headers=bearers[caller])
    if operation.roles is None:
        assert_let_in(answer)
    elif caller == "anonymous":
        assert_unauthenticated(answer)
    elif not operation.roles & ROLES[caller]:
        assert_forbidden(answer)
    elif operation.method in SAFE_METHODS:
        assert_let_in(answer)
    else:
        assert problem_of(answer) == (403, "csrf_invalid")


@pytest.mark.parametrize("caller", ROLES)
@pytest.mark.parametrize("operation", INTERNAL, ids=str)
def test_internal_operation_is_not_there(client: httpx2.Client, bearers: Bearers, operation: Operation, caller: str) -> None:
    assert client.request(operation.method, operation.path, headers=bearers[caller]).status_code == 404


@pytest.mark.parametrize("path", [path for path, (roles, _) in PATHS.items() if roles is not None])
def test_preflight_needs_no_token(client: httpx2.Client, path: str) -> None:
    asked = {"Origin": SHOP_ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-csrf-token"}
    answer = client.options(path, headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, SHOP_ORIGIN)
    strange = client.options(path, headers={**asked, "Origin": "https://evil.test"})
    assert "access-control-allow-origin" not in strange.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", [path for path, (_, methods) in PATHS.items() if methods is not None])
def test_public_routes_only_read(client: httpx2.Client, bearers: Bearers, path: str, method: str) -> None:
    answer = client.request(method, path, headers=bearers["customer"])
    # /admin/health is the administrators' for every other method.
    assert answer.status_code == (403 if path.startswith("/admin") else 404)


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("shop", "/", 200),
        ("shop", "/ecom/books", 200),
        ("shop", "/__unauthenticated", 401),
        ("id", "/realms/bookstore/.well-known/openid-configuration", 200),
        ("id", "/realms/master", 404),
        ("id", "/realms/master/.well-known/openid-configuration", 404),
        ("id", "/admin", 404),
        ("id", "/admin/realms/bookstore/users", 404),
        ("id", "/metrics", 404),
        ("id", "/health", 404),
        ("api", "/", 404),
        ("api", "/internal", 404),
        ("api", "/metrics", 404),
        ("api", "/health/ready", 404),
        ("api", "/ecom", 404),
        ("api", "/ecom/booksellers", 404),
        ("api", "/ecom/metrics", 404),
        ("api", "/openapi.json", 404),
        ("api", "/docs", 404),
    ],
)
def test_hosts_serve_their_own_paths(client: httpx2.Client, host: str, path: str, status: int) -> None:
    assert client.get(f"{getattr(PLACES, host)}{path}").status_code == status


WRONG = [*forged.KINDS, "other issuer", "expired"]


@pytest.fixture(scope="module")
def mint(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[forged.Mint]:
    mint = forged.Mint(trust, PLACES, CONSOLE, secret)
    try:
        yield mint
    finally:
        mint.close()


@pytest.fixture(scope="module")
def wrong(client: httpx2.Client, customer: Shopper, mint: forged.Mint) -> dict[str, Hidden]:
    """Tokens by what is wrong with them."""
    expired = mint.token(lifetime=1, claims=claims())
    real = customer.tokens.access
    made = forged.forgeries(real, forged.public_key(client, PLACES, forged.parts(real)[0]["kid"]))
    # It was good: else its refusal would say nothing about time, which is the services' to judge: they alone know whether
    # Keycloak was there to renew it.
    assert client.get("/ecom/health", headers=bearer(expired)).status_code == 200
    until(lambda: client.get("/ecom/cart", headers=bearer(expired)).status_code == 401, "the services to refuse the token", 45, pause=1)
    return {**made, "other issuer": mint.other_issuer(), "expired": expired}


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that pass, but for ``changes``; None leaves one out."""
    usual = {"aud": "bookstore-api", "azp": "ui-client", "roles": ["customer", "admin"], "sub": "live-forged", **changes}
    return {name: value for name, value in usual.items() if value is not None}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "expired"])
def test_wrong_token_is_refused_everywhere(client: httpx2.Client, wrong: dict[str, Hidden], kind: str, path: str) -> None:
    assert_unauthenticated(client.get(path, headers=bearer(wrong[kind])))


# Paths at which a service looks at every token, and whether their route needs a role.
CHECKED = {"/ecom/books": False, "/ecom/cart": True, f"/inven/stock/{SEED_BOOK}": False, "/admin/summary": True}


@pytest.mark.parametrize("path", CHECKED)
def test_an_expired_token_is_refused_by_the_services(client: httpx2.Client, wrong: dict[str, Hidden], path: str) -> None:
    assert_unauthenticated(client.get(path, headers=bearer(wrong["expired"])))


def test_minted_token_with_everything_right_is_accepted(client: httpx2.Client, mint: forged.Mint) -> None:
    """Else the refusals below would prove nothing."""
    token = mint.token(claims=claims())
    assert [client.get(path, headers=bearer(token)).status_code for path in CHECKED] == [200] * 4


@pytest.mark.parametrize(
    ("change", "at_the_gateway"),
    [
        # SPEC 4: the gateway looks at audience and role on the routes that need them (403), the services on all (401).
        ({"aud": None}, 403),
        ({"aud": "another-api"}, 403),
        # Only the services know which clients may call.
        ({"azp": None}, 401),
        ({"azp": "account-console"}, 401),
    ],
    ids=str,
)
def test_token_for_somebody_else_is_refused(
    client: httpx2.Client, mint: forged.Mint, change: dict[str, Any], at_the_gateway: int
) -> None:
    token = mint.token(claims=claims(**change))
    answers = {path: client.get(path, headers=bearer(token)).status_code for path in CHECKED}
    assert answers == {path: at_the_gateway if needs_role else 401 for path, needs_role in CHECKED.items()}


@pytest.mark.parametrize("roles", [[], ["service"], ["Admin"], ["administrator"], "admin customer"], ids=str)
def test_other_roles_open_nothing(client: httpx2.Client, mint: forged.Mint, roles: Any) -> None:
    token = mint.token(claims=claims(roles=roles))
    for path in ("/ecom/cart", "/admin/summary"):
        assert client.get(path, headers=bearer(token)).status_code in {401, 403}


@pytest.mark.parametrize(
    "path",
    [
        "/ecom//cart",
        "//ecom/cart",
        "/ecom/./cart",
        "/ecom/books/../cart",
        "/ecom/books/..%2fcart",
        "/ecom/books/%2e%2e/cart",
        "/ecom/books/%2e%2e%2fcart",
        "/ecom/books/..%5ccart",
        "/ecom/books/%252e%252e/cart",
        "/ecom%2fcart",
        "/ecom%2Fcart",
        "/ecom/%63art",
        "/ecom/cart;a=b",
        "/ecom/cart%00",
        "/ecom/health/../cart",
        "/admin//summary",
        "/admin/./summary",
        "/admin/health/../summary",
        "/admin/health/..%2fsummary",
        "/admin/health/summary",
        "/ADMIN/summary",
        "/%61dmin/summary",
        "/inven/stock/..%2f..%2fadmin/summary",
        "/ecom/books/../../admin/summary",
    ],
)
def test_spelling_opens_nothing(client: httpx2.Client, bearers: Bearers, path: str) -> None:
    """Whatever a spelling is taken for: nobody gets at what the plain path refuses."""
    assert client.get(f"{API}{path}").status_code in {400, 401, 404}
    target = "/admin/summary" if "summary" in path else "/ecom/cart"
    outsider = "customer" if target == "/admin/summary" else "admin"
    assert client.get(f"{API}{path}", headers=bearers[outsider]).status_code in {400, 401, 403, 404}


@pytest.mark.parametrize(
    "path",
    [
        "/internal/admin/books",
        "//internal/admin/books",
        "/ecom/books/../../internal/admin/books",
        "/ecom/books/..%2f..%2finternal%2fadmin%2fbooks",
        "/ecom/internal/admin/books",
        "/admin/../internal/admin/stock",
        "/inven/stock/%2e%2e/%2e%2e/internal/admin/stock",
        f"/inven/stock/{NOTHING}/../../../internal/reservations/{NOTHING}",
    ],
)
def test_no_spelling_leads_inside(client: httpx2.Client, bearers: Bearers, path: str) -> None:
    for caller in ROLES:
        assert client.get(f"{API}{path}", headers=bearers[caller]).status_code == 404


def test_headers_change_neither_path_nor_caller(client: httpx2.Client, bearers: Bearers, mint: forged.Mint) -> None:
    tricks = {
        "X-Original-URL": "/admin/summary", "X-Rewrite-URL": "/admin/summary", "X-Envoy-Original-Path": "/admin/summary",
        "X-HTTP-Method-Override": "DELETE", "X-Forwarded-Host": "id.bookstore.test", "X-User-Id": "admin1", "X-Roles": "admin",
        "X-Jwt-Payload": "e30",
    }  # fmt: skip
    assert client.get("/ecom/books?size=1", headers=tricks).json()["size"] == 1
    assert client.get("/ecom/cart", headers={**bearers["customer"], **tricks}).json()["count"] == 0
    assert_forbidden(client.get("/admin/summary", headers={**bearers["customer"], **tricks}))
    assert_unauthenticated(client.get("/admin/summary", headers=tricks))
    twice = [("Authorization", bearers["admin"]["Authorization"]), ("Authorization", bearers["customer"]["Authorization"])]
    assert client.get("/admin/summary", headers=twice).status_code in {400, 401, 403}
    # Addresses are logged, so this token ends with the test.
    in_the_address = client.get("/ecom/cart", params={"access_token": mint.token(lifetime=1, claims=claims())})
    assert_unauthenticated(in_the_address)
