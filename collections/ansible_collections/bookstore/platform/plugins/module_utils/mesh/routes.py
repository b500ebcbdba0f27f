# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""HTTPRoutes and the gateway's role rules, generated from one list of routes (SPEC 4.1, 4.2).

A route is a dictionary as in ``bookstore_routes``: {id, name, host, namespace, service, port} and either ``prefixes``
and/or ``exact`` (paths), or ``tokenless_of`` (ids of routes whose paths it takes); optional ``methods``, ``roles`` and
``rewrite``.
"""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]
Route = dict[str, Any]

GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "bookstore-gateway"}
KEYS = frozenset(
    {"id", "name", "host", "namespace", "service", "port", "prefixes", "exact", "methods", "roles", "tokenless_of", "rewrite"}
)
REQUIRED = ("id", "name", "host", "namespace", "service", "port")
# One space, as RFC 6750 writes it and as Envoy looks for it: a value that Envoy does not read as a token must not be
# routed as if it carried one. Envoy matches the whole value.
BEARER = "Bearer .+"
BEARER_PREFIX = "Bearer *"
# Headers by which other systems pass identities on; a client's own are never believed (SPEC 4.1).
IDENTITY_HEADERS = [
    "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Client-Cert", "X-User", "X-User-Id", "X-Roles",
    "X-Jwt-Payload",
]  # fmt: skip
# How a service learns whose connection it was: set anew by the gateway, so a client's own is gone. By Envoy's settings for
# trusted hops (none) it is the address that the gateway's peer has, which behind address translation is the translator's.
CLIENT_ADDRESS = {"name": "X-Client-Address", "value": "%DOWNSTREAM_REMOTE_ADDRESS%"}
TELLING_HEADERS = ["Server", "X-Powered-By", "X-Envoy-Upstream-Service-Time"]
HSTS = "Strict-Transport-Security"
REFERRER_POLICY = "Referrer-Policy"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    REFERRER_POLICY: "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def check(routes: list[Route], hosts: dict[str, str]) -> None:
    """Raise ValueError, naming the route, for a key that is unknown or missing, or a reference that leads nowhere."""
    known = {route.get("id"): route for route in routes}
    for route in routes:
        name = f"bookstore_routes: {route.get('id', route)}"
        for key in REQUIRED:
            if key not in route:
                raise ValueError(f"{name} has no {key}")
        unknown = sorted(set(route) - KEYS)
        if unknown:
            raise ValueError(f"{name} has the unknown key {unknown[0]!r}; use {', '.join(sorted(KEYS))}")
        if route["host"] not in hosts:
            raise ValueError(f"{name}: host={route['host']} is not one of {', '.join(sorted(hosts))}")
        if bool(route.get("tokenless_of")) == bool(route.get("prefixes") or route.get("exact")):
            raise ValueError(f"{name}: write either prefixes/exact or tokenless_of")
        for other in route.get("tokenless_of", []):
            if not (known.get(other) or {}).get("roles"):
                raise ValueError(f"{name}: tokenless_of: {other} is no route with roles")
        for path in [*route.get("prefixes", []), *route.get("exact", [])]:
            if not path.startswith("/") or (path != "/" and path.endswith("/")):
                raise ValueError(f"{name}: path {path!r} must start with / and not end with it")
    if len(known) != len(routes) or len({route["name"] for route in routes}) != len(routes):
        raise ValueError("bookstore_routes: an id or a name is used twice")


def _paths(route: Route, routes: list[Route]) -> list[Manifest]:
    """Return the path matches of a route; one that takes others' paths has all of theirs."""
    sources = [r for r in routes if r["id"] in route["tokenless_of"]] if route.get("tokenless_of") else [route]
    return [
        {"type": kind, "value": value}
        for source in sources
        for kind, key in (("PathPrefix", "prefixes"), ("Exact", "exact"))
        for value in source.get(key, [])
    ]


def matches(route: Route, routes: list[Route]) -> list[Manifest]:
    """Return the HTTPRoute matches of a route: each path with each of its methods, or with a token or method OPTIONS."""
    if route.get("roles"):
        token = {"type": "RegularExpression", "name": "Authorization", "value": BEARER}
        ways: list[Manifest] = [{"headers": [token]}, {"method": "OPTIONS"}]
    else:
        ways = [{"method": method} for method in route.get("methods", [])] or [{}]
    return [{"path": path, **way} for path in _paths(route, routes) for way in ways]


def content_security_policy(hosts: dict[str, str], https_port: int) -> str:
    """Return the shop's Content-Security-Policy (SPEC 4.1)."""
    api, identity = (f"https://{hosts[name]}:{https_port}" for name in ("api", "id"))
    return (
        f"default-src 'self'; img-src 'self' data:; connect-src 'self' {api} {identity}; frame-src 'self' {identity}; "
        "frame-ancestors 'self'; object-src 'none'; base-uri 'none'"
    )


def response_headers(host: str, hosts: dict[str, str], https_port: int, hsts: bool) -> dict[str, str]:
    """Return the response headers that every answer on ``host`` (a key of ``hosts``) carries (SPEC 4.1)."""
    shop = {"X-Frame-Options": "SAMEORIGIN", "Content-Security-Policy": content_security_policy(hosts, https_port)}
    # Keycloak's pages say "no-referrer", which is stricter: their addresses hold codes.
    general = {name: value for name, value in SECURITY_HEADERS.items() if host != "id" or name != REFERRER_POLICY}
    return {
        **general,
        **(shop if host == "shop" else {}),
        **({HSTS: "max-age=31536000"} if hsts else {}),
    }


def http_routes(routes: list[Route], hosts: dict[str, str], https_port: int, timeout: str, hsts: bool) -> list[Manifest]:
    """Return one HTTPRoute for each route, in its backend's namespace, so that no ReferenceGrant is needed.

    ``timeout``: a Gateway API duration. ValueError as check().
    """
    check(routes, hosts)
    made = []
    for route in routes:
        headers = response_headers(route["host"], hosts, https_port, hsts)
        filters: list[Manifest] = [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {
                "remove": IDENTITY_HEADERS,
                # With its port, which Envoy does not tell: Keycloak's own addresses are made of it. Clients have no say.
                "set": [{"name": "X-Forwarded-Host", "value": f"{hosts[route['host']]}:{https_port}"},
                        {"name": "X-Forwarded-Port", "value": str(https_port)}, CLIENT_ADDRESS]}},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {
                # Keycloak's static files bring the last one along, whatever the realm says.
                "remove": TELLING_HEADERS if hsts else [*TELLING_HEADERS, HSTS],
                "set": [{"name": name, "value": value} for name, value in headers.items()]}},
        ]  # fmt: skip
        if "rewrite" in route:
            path = {"type": "ReplaceFullPath", "replaceFullPath": route["rewrite"]}
            filters.append({"type": "URLRewrite", "urlRewrite": {"path": path}})
        made.append({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": route["name"], "namespace": route["namespace"],
                         "labels": {"app.kubernetes.io/part-of": "bookstore"},
                         "annotations": {"bookstore.platform/route": route["id"]}},
            "spec": {
                "parentRefs": [{"name": GATEWAY["name"], "namespace": "gateway", "sectionName": "https"}],
                "hostnames": [hosts[route["host"]]],
                "rules": [{"matches": matches(route, routes), "filters": filters, "timeouts": {"request": timeout},
                           "backendRefs": [{"name": route["service"], "port": route["port"]}]}],
            },
        })  # fmt: skip
    return made


def _operations(route: Route, routes: list[Route], host: str) -> list[Manifest]:
    """Return the operations of a route that need a role: its paths but those that another route opens, and those with
    any other method than the other route's."""
    # A prefix, because a Host header may end in a port.
    base = {"hosts": [f"{host}*"]}
    paths = [*route.get("exact", []), *(form for prefix in route.get("prefixes", []) for form in (prefix, f"{prefix}/*"))]
    opened = [other for other in routes if other is not route and other["host"] == route["host"] and other.get("exact")]
    inside = [other for other in opened if any(path.startswith(f"{p}/") for path in other["exact"] for p in route.get("prefixes", []))]
    exact = sorted(path for other in inside for path in other["exact"])
    operations = [{**base, "paths": paths, "notMethods": ["OPTIONS"], **({"notPaths": exact} if exact else {})}]
    for other in inside:
        if other.get("methods"):
            operations.append({**base, "paths": [*other["exact"]], "notMethods": sorted({"OPTIONS", *other["methods"]})})
    return operations


def role_policies(routes: list[Route], hosts: dict[str, str], audience: str) -> list[Manifest]:
    """Return the gateway's DENY policy: a token without one of the route's roles, or without the audience, is refused.

    Requests without a token match no rule here; they are answered by the route that takes tokenless requests. Issuer,
    signature and lifetime are the RequestAuthentication's. ValueError as check().
    """
    check(routes, hosts)
    bearer = {"key": "request.headers[authorization]", "values": [BEARER_PREFIX]}
    rules = []
    for route in (route for route in routes if route.get("roles")):
        for key, values in (("request.auth.claims[roles]", route["roles"]), ("request.auth.audiences", [audience])):
            to = [{"operation": operation} for operation in _operations(route, routes, hosts[route["host"]])]
            rules.append({"to": to, "when": [bearer, {"key": key, "notValues": values}]})
    return [{
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "bookstore-gateway-roles", "namespace": "gateway", "labels": {"app.kubernetes.io/part-of": "bookstore"}},
        "spec": {"targetRefs": [GATEWAY], "action": "DENY", "rules": rules},
    }]  # fmt: skip
