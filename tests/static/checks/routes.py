"""The gateway's routes and rules against the list they come from (SPEC 4, 4.2): rendered manifests in, faults out."""

from __future__ import annotations

from typing import Any

from checks.manifests import L4_OPERATION, L4_SOURCE, Manifest, name_of, of_kind

Row = dict[str, Any]
SPEC_ROUTES = {f"H{number}" for number in range(1, 10)}
ROUTE_ANNOTATION = "bookstore.platform/route"
JWT_FILTER = "envoy.filters.http.jwt_authn"


def _at_gateway(manifest: Manifest) -> bool:
    targets = (manifest.get("spec") or {}).get("targetRefs") or []
    return manifest["metadata"].get("namespace") == "gateway" and bool(targets) and all(t.get("kind") == "Gateway" for t in targets)


def _is_l7(policy: Manifest) -> bool:
    for rule in (policy.get("spec") or {}).get("rules") or []:
        sources = {key for origin in rule.get("from") or [] for key in origin["source"]}
        operations = {key for target in rule.get("to") or [] for key in target["operation"]}
        if rule.get("when") or sources - L4_SOURCE or operations - L4_OPERATION:
            return True
    return False


def l7_is_at_the_gateway(manifests: list[Manifest]) -> list[str]:
    """What needs Envoy's HTTP filters is attached to the Gateway by targetRef, and nowhere else (SPEC 4)."""
    policies = [policy for policy in of_kind(manifests, "AuthorizationPolicy") if _is_l7(policy)]
    others = of_kind(manifests, "RequestAuthentication", "EnvoyFilter", "WasmPlugin")
    return [f"{name_of(m)}: must have targetRefs to the Gateway of namespace gateway" for m in policies + others if not _at_gateway(m)]


def routes_are_listed(manifests: list[Manifest], rows: list[Row]) -> list[str]:
    """H1 to H9 exist: those of the list with their backend and host, H8 as the gateway's redirect; nothing besides."""
    routes = of_kind(manifests, "HTTPRoute")
    listed = {m["metadata"]["annotations"][ROUTE_ANNOTATION]: m for m in routes if ROUTE_ANNOTATION in m["metadata"].get("annotations", {})}
    redirects = [m for m in routes if m["spec"]["parentRefs"][0].get("sectionName") == "http"]
    found = set(listed) | ({"H8"} if redirects else set())
    faults = [f"route {name} differs from SPEC 4.2" for name in sorted(found ^ SPEC_ROUTES)]
    faults += [f"{name_of(m)}: is not in bookstore_routes" for m in routes if m not in redirects and m not in listed.values()]
    by_id = {row["id"]: row for row in rows}
    for name, manifest in listed.items():
        row = by_id.get(name) or {}
        for rule in manifest["spec"]["rules"]:
            if rule["backendRefs"] != [{"name": row.get("service"), "port": row.get("port")}]:
                faults.append(f"{name_of(manifest)}: backendRefs differ from {name} of bookstore_routes")
    return faults


def backends_are_in_the_matrix(rows: list[Row], matrix: list[Row]) -> list[str]:
    """The gateway may reach every backend of a route."""
    reached = {
        (row["namespace"], row["workload"], port)
        for row in matrix
        if "gateway/bookstore-gateway-istio" in row["sources"]
        for port in row["ports"]
    }
    wanted = {(row["namespace"], row["service"], row["port"]) for row in rows}
    faults = [f"bookstore_matrix: the gateway may not reach {entry}" for entry in sorted(wanted - reached)]
    return faults + [f"bookstore_matrix: no route leads to {entry}" for entry in sorted(reached - wanted)]


def tokens_are_needed(manifests: list[Manifest], rows: list[Row]) -> list[str]:
    """A route with roles takes tokens and OPTIONS only, its paths are denied without them, and H9 takes the rest."""
    faults = []
    routes = {m["metadata"].get("annotations", {}).get(ROUTE_ANNOTATION): m for m in of_kind(manifests, "HTTPRoute")}
    denied = [p for p in of_kind(manifests, "AuthorizationPolicy") if (p.get("spec") or {}).get("action") == "DENY"]
    paths = {path for p in denied for rule in p["spec"]["rules"] for to in rule["to"] for path in to["operation"].get("paths", [])}
    tokenless = {
        match["path"]["value"]
        for row in rows
        if row.get("tokenless_of") and row["id"] in routes
        for rule in routes[row["id"]]["spec"]["rules"]
        for match in rule["matches"]
    }
    for row in (row for row in rows if row.get("roles")):
        for rule in routes[row["id"]]["spec"]["rules"] if row["id"] in routes else []:
            for match in rule["matches"]:
                header = [h for h in match.get("headers") or [] if h["name"].lower() == "authorization"]
                if not header and match.get("method") != "OPTIONS":
                    faults.append(f"{row['id']}: {match['path']['value']} is passed on without a token")
        for prefix in row["prefixes"]:
            faults += [f"{row['id']}: {path} is not denied to other roles" for path in (prefix, f"{prefix}/*") if path not in paths]
            faults += [] if prefix in tokenless else [f"{row['id']}: {prefix} has no answer for requests without a token"]
    return faults


def keys_are_the_issuers(manifests: list[Manifest], oidc: Row) -> list[str]:
    """RequestAuthentication and the filter that refines it name one issuer and one place of its keys; tokens come by header only."""
    rules = [rule for m in of_kind(manifests, "RequestAuthentication") for rule in m["spec"]["jwtRules"]]
    providers = [
        provider
        for m in of_kind(manifests, "EnvoyFilter")
        for patch in m["spec"]["configPatches"]
        if patch["patch"]["value"].get("name") == JWT_FILTER
        for provider in patch["patch"]["value"]["typed_config"]["providers"].values()
    ]
    if len(rules) != 1 or len(providers) != 1:
        return [f"{len(rules)} rules of RequestAuthentications and {len(providers)} providers, expected one of each"]
    [rule], [provider] = rules, providers
    headers = [(h["name"], h["value_prefix"]) for h in provider["from_headers"]]
    pairs = [
        ("issuer", rule["issuer"], provider["issuer"]),
        ("jwks", rule["jwksUri"], provider["remote_jwks"]["http_uri"]["uri"]),
        ("headers", [(h["name"], h["prefix"]) for h in rule["fromHeaders"]], headers),
        ("forwarding", rule["forwardOriginalToken"], provider["forward"]),
    ]
    faults = [f"{what}: RequestAuthentication has {one}, the filter has {other}" for what, one, other in pairs if one != other]
    if rule["jwksUri"] != oidc["gateway_jwks_url"]:
        faults.append(f"jwksUri={rule['jwksUri']} is not bookstore_oidc.gateway_jwks_url={oidc['gateway_jwks_url']}")
    if "async_fetch" not in provider["remote_jwks"]:
        faults.append("remote_jwks has no async_fetch: without the issuer every token would be refused")
    return faults
