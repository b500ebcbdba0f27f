"""HTTPRoutes and role rules generated from the list of routes: SPEC 4.2, and no way round a rule."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.bookstore.platform.plugins.module_utils.mesh import routes

VARIABLES = Path(__file__).parents[4] / "inventory/local/group_vars/all"
HOSTS = {"shop": "shop.bookstore.test", "api": "api.bookstore.test", "id": "id.bookstore.test"}
ROUTES: list[dict[str, Any]] = yaml.safe_load((VARIABLES / "routes.yml").read_text(encoding="utf-8"))["bookstore_routes"]
BY_ID = {route["id"]: route for route in ROUTES}


def made() -> dict[str, dict[str, Any]]:
    """Route id to HTTPRoute."""
    manifests = routes.http_routes(ROUTES, HOSTS, 30000, "15s", False)
    return {manifest["metadata"]["annotations"]["bookstore.platform/route"]: manifest for manifest in manifests}


def chosen(method: str, path: str, authorization: str = "", host: str = "api") -> str:
    """The id of the route that the Gateway API's precedence chooses: exact, longest prefix, method, number of headers."""
    best: tuple[tuple[bool, int, bool, int], str] | None = None
    for name, manifest in made().items():
        if manifest["spec"]["hostnames"] != [HOSTS[host]]:
            continue
        for match in manifest["spec"]["rules"][0]["matches"]:
            value, exact = match["path"]["value"], match["path"]["type"] == "Exact"
            inside = path == value or (not exact and path.startswith(value.rstrip("/") + "/"))
            headers = match.get("headers", [])
            if not inside or match.get("method", method) != method:
                continue
            if not all(re.fullmatch(header["value"], authorization) for header in headers):
                continue
            rank = (exact, len(value), "method" in match, len(headers))
            if best is None or rank > best[0]:
                best = (rank, name)
    return best[1] if best else "404"


def denied(method: str, path: str, authorization: str, roles: list[str], audience: str = "bookstore-api") -> bool:
    """Whether the generated DENY policy refuses a request, as Istio reads its fields."""
    [policy] = routes.role_policies(ROUTES, HOSTS, "bookstore-api")
    assert policy["spec"]["action"] == "DENY"
    claims = {"request.auth.claims[roles]": roles, "request.auth.audiences": [audience]}

    def matches_path(patterns: list[str]) -> bool:
        return any(path == p or (p.endswith("*") and path.startswith(p[:-1])) for p in patterns)

    def applies(rule: dict[str, Any]) -> bool:
        bearer, claim = rule["when"]
        assert bearer == {"key": "request.headers[authorization]", "values": ["Bearer *"]}
        if not authorization.startswith("Bearer ") or set(claims[claim["key"]]) & set(claim["notValues"]):
            return False
        return any(
            matches_path(op["paths"]) and method not in op["notMethods"] and not matches_path(op.get("notPaths", []))
            for op in (target["operation"] for target in rule["to"])
        )

    return any(applies(rule) for rule in policy["spec"]["rules"])


@pytest.mark.parametrize(
    ("request_", "authorization", "expected"),
    [
        (("GET", "/ecom/books"), "", "H2"),
        (("GET", "/ecom/books/search"), "Bearer t", "H2"),
        (("POST", "/ecom/books"), "Bearer t", "404"),
        (("GET", "/ecom/cart"), "Bearer t", "H3"),
        (("POST", "/ecom/cart/items"), "Bearer t", "H3"),
        (("OPTIONS", "/ecom/cart/items"), "", "H3"),
        (("GET", "/ecom/cart"), "", "H9"),
        (("POST", "/ecom/checkout"), "Basic dXNlcg==", "H9"),
        (("GET", "/ecom/orders/1"), "Bearer", "H9"),
        (("GET", "/ecom/orders/1"), "bearer t", "H9"),
        (("GET", "/ecom/orders/1"), "Basic x,Bearer t", "H9"),
        (("GET", "/ecom/cartx"), "Bearer t", "404"),
        (("GET", "/inven/stock/bulk"), "", "H4"),
        (("PUT", "/inven/stock/1"), "Bearer t", "404"),
        (("GET", "/admin/books"), "Bearer t", "H5"),
        (("GET", "/admin"), "", "H9"),
        (("GET", "/admin/health"), "", "H6"),
        (("GET", "/admin/health"), "Bearer t", "H6"),
        (("HEAD", "/admin/health"), "", "H9"),
        (("GET", "/admin/health/x"), "", "H9"),
        (("OPTIONS", "/admin/health"), "", "H5"),
        (("GET", "/internal/admin/books"), "Bearer t", "404"),
        (("GET", "/metrics"), "", "404"),
        (("GET", "/realms/bookstore"), "", "404"),
    ],
)
def test_requests_to_the_api_host_take_the_route_of_spec_4_2(request_: tuple[str, str], authorization: str, expected: str) -> None:
    assert chosen(*request_, authorization) == expected


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("shop", "/", "H1"), ("shop", "/admin/books", "H1"), ("id", "/realms/bookstore/account", "H7"), ("id", "/realms/master", "404"),
        ("id", "/realms/bookstores", "404"), ("id", "/admin", "404"), ("id", "/resources/x.css", "H7"), ("id", "/", "404"),
    ],
)  # fmt: skip
def test_other_hosts(host: str, path: str, expected: str) -> None:
    assert chosen("GET", path, "", host) == expected


PATHS = ["/ecom/csrf-token", "/ecom/cart", "/ecom/cart/items/1", "/ecom/checkout", "/ecom/orders", "/ecom/orders/1/cancel"]
ADMIN_PATHS = ["/admin", "/admin/books", "/admin/health/x", "/admin/stock/1/adjust"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@pytest.mark.parametrize(("method", "path"), [*itertools.product(METHODS, PATHS)])
def test_signed_in_paths_need_customer_or_admin(method: str, path: str) -> None:
    assert chosen(method, path, "Bearer t") == "H3"
    assert not denied(method, path, "Bearer t", ["offline_access", "customer"])
    assert not denied(method, path, "Bearer t", ["admin"])
    assert denied(method, path, "Bearer t", ["service"])
    assert denied(method, path, "Bearer t", [])
    assert denied(method, path, "Bearer t", ["customer"], audience="account")


ADMIN_REQUESTS = [*itertools.product(METHODS, ADMIN_PATHS), ("POST", "/admin/health"), ("HEAD", "/admin/health")]


@pytest.mark.parametrize(("method", "path"), ADMIN_REQUESTS)
def test_admin_paths_need_admin(method: str, path: str) -> None:
    assert chosen(method, path, "Bearer t") == "H5"
    assert not denied(method, path, "Bearer t", ["customer", "admin"])
    assert denied(method, path, "Bearer t", ["customer"])
    assert denied(method, path, "Bearer t", ["admin"], audience="account")


def test_what_is_open_stays_open() -> None:
    for method, path in [("OPTIONS", "/admin/books"), ("OPTIONS", "/ecom/cart"), ("GET", "/admin/health"), ("GET", "/ecom/books")]:
        assert not denied(method, path, "Bearer t", [])
    # Without a token it is not for this policy: route H9 answers 401, where a denial would be 403.
    assert not denied("GET", "/ecom/cart", "", [])
    assert not denied("GET", "/ecom/cart", "Basic x", [])


VALUES = ["Bearer t", "Bearer  t", "Bearer t,Bearer u", "Bearer\tt", "bearer t", "BEARER t", "Bearer", "", "Basic x"]


@pytest.mark.parametrize("authorization", VALUES)
def test_no_value_of_the_header_is_routed_to_a_service_and_overlooked_by_the_policy(authorization: str) -> None:
    for path in [*PATHS, *ADMIN_PATHS]:
        routed = chosen("GET", path, authorization)
        assert routed in ("H3", "H5", "H9")
        assert (routed == "H9") or denied("GET", path, authorization, [])


def test_the_policy_is_attached_to_the_gateway_and_to_the_api_host() -> None:
    [policy] = routes.role_policies(ROUTES, HOSTS, "bookstore-api")
    assert policy["spec"]["targetRefs"] == [routes.GATEWAY]
    hosts = {host for rule in policy["spec"]["rules"] for to in rule["to"] for host in to["operation"]["hosts"]}
    assert hosts == {"api.bookstore.test*"}


def test_each_route_lives_beside_its_backend() -> None:
    for name, manifest in made().items():
        [rule] = manifest["spec"]["rules"]
        assert manifest["metadata"]["namespace"] == BY_ID[name]["namespace"]
        assert rule["backendRefs"] == [{"name": BY_ID[name]["service"], "port": BY_ID[name]["port"]}]
        assert rule["timeouts"] == {"request": "15s"}
        assert len(rule["matches"]) <= 64  # the Gateway API's bound


def filters(name: str) -> dict[str, Any]:
    return {entry["type"]: entry for entry in made()[name]["spec"]["rules"][0]["filters"]}


def set_headers(name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = filters(name)["RequestHeaderModifier"]["requestHeaderModifier"]["set"]
    return found


def test_tokenless_requests_are_rewritten_and_no_other() -> None:
    path = {"type": "ReplaceFullPath", "replaceFullPath": "/__unauthenticated"}
    assert filters("H9")["URLRewrite"]["urlRewrite"]["path"] == path
    assert [name for name in made() if "URLRewrite" in filters(name)] == ["H9"]


def test_identity_headers_of_clients_are_removed_everywhere() -> None:
    for name in made():
        removed = filters(name)["RequestHeaderModifier"]["requestHeaderModifier"]["remove"]
        assert {"X-User", "X-Roles", "X-Forwarded-User", "X-Forwarded-Client-Cert"} <= set(removed)


def test_backends_are_told_the_public_address_whatever_a_client_says() -> None:
    assert {"name": "X-Forwarded-Host", "value": "id.bookstore.test:30000"} in set_headers("H7")
    assert {"name": "X-Forwarded-Port", "value": "30000"} in set_headers("H7")


def test_services_are_told_the_connections_address_whatever_a_client_says() -> None:
    """``set`` replaces a client's own header; on every route, or a request by another would choose its bucket."""
    for name in made():
        assert {"name": "X-Client-Address", "value": "%DOWNSTREAM_REMOTE_ADDRESS%"} in set_headers(name)


def test_headers_of_answers() -> None:
    shop = routes.response_headers("shop", HOSTS, 30000, False)
    assert shop["X-Frame-Options"] == "SAMEORIGIN"
    assert shop["Content-Security-Policy"] == (
        "default-src 'self'; img-src 'self' data:; connect-src 'self' https://api.bookstore.test:30000 https://id.bookstore.test:30000; "
        "frame-src 'self' https://id.bookstore.test:30000; frame-ancestors 'self'; object-src 'none'; base-uri 'none'"
    )
    api = routes.response_headers("api", HOSTS, 30000, False)
    assert api == routes.SECURITY_HEADERS
    # Keycloak's own policy is stricter, and stays.
    assert "Referrer-Policy" not in routes.response_headers("id", HOSTS, 30000, False)
    assert routes.response_headers("api", HOSTS, 30000, True)["Strict-Transport-Security"] == "max-age=31536000"
    modifier = filters("H1")["ResponseHeaderModifier"]["responseHeaderModifier"]
    assert {entry["name"]: entry["value"] for entry in modifier["set"]} == shop
    assert {"Server", "Strict-Transport-Security"} <= set(modifier["remove"])
    wanted = routes.http_routes(ROUTES, HOSTS, 30000, "30s", hsts=True)[0]["spec"]["rules"][0]["filters"][1]["responseHeaderModifier"]
    assert "Strict-Transport-Security" not in wanted["remove"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"service": None}, "H1 has no service"),
        ({"path": "/"}, "H1 has the unknown key 'path'"),
        ({"host": "www"}, "H1: host=www is not one of api, id, shop"),
        ({"prefixes": []}, "H1: write either prefixes/exact or tokenless_of"),
        ({"tokenless_of": ["H3"]}, "H1: write either prefixes/exact or tokenless_of"),
        ({"prefixes": ["/a/"]}, "H1: path '/a/' must start with / and not end with it"),
        ({"prefixes": ["a"]}, "H1: path 'a' must start with /"),
        ({"id": "H2"}, "an id or a name is used twice"),
    ],
)
def test_a_wrong_route_is_named(change: dict[str, Any], message: str) -> None:
    changed = {key: value for key, value in {**ROUTES[0], **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        routes.http_routes([changed, *ROUTES[1:]], HOSTS, 30000, "15s", False)


def test_tokenless_requests_of_a_public_route_are_refused() -> None:
    with pytest.raises(ValueError, match="H9: tokenless_of: H2 is no route with roles"):
        routes.check([*ROUTES[:-1], {**ROUTES[-1], "tokenless_of": ["H2"]}], HOSTS)
