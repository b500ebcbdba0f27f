"""Routes and rules of the gateway are those of SPEC 4.2; each rule finds what breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.bookstore.platform.plugins.plugin_utils import workload_table
from checks import inventory, routes
from checks.manifests import Manifest, of_kind

Manifests = list[Manifest]
Rule = Callable[[Manifests, inventory.Data], list[str]]


def _listed(manifests: Manifests, data: inventory.Data) -> list[str]:
    return routes.routes_are_listed(manifests, data["bookstore_routes"])


def _guarded(manifests: Manifests, data: inventory.Data) -> list[str]:
    return routes.tokens_are_needed(manifests, data["bookstore_routes"])


def _keys(manifests: Manifests, data: inventory.Data) -> list[str]:
    address = workload_table.address(data["bookstore_workloads"], "ecom-api.public")
    url = data["bookstore_oidc"]["gateway_jwks_url"].replace("{{ bookstore_addresses.ecom_public }}", address)
    return routes.keys_are_the_issuers(manifests, {**data["bookstore_oidc"], "gateway_jwks_url": url})


def _l7(manifests: Manifests, _data: inventory.Data) -> list[str]:
    return routes.l7_is_at_the_gateway(manifests)


@pytest.mark.parametrize("rule", [_listed, _guarded, _keys, _l7])
def test_rendered_manifests_keep_the_rule(manifests: Manifests, data: inventory.Data, rule: Rule, no_faults: list[str]) -> None:
    no_faults += rule(manifests, data)


def test_the_gateway_reaches_what_it_routes_to_and_nothing_else(data: inventory.Data, no_faults: list[str]) -> None:
    no_faults += routes.backends_are_in_the_matrix(data["bookstore_routes"], data["bookstore_edges"])


def test_a_backend_that_the_gateway_may_not_reach_is_found(data: inventory.Data) -> None:
    matrix = [row for row in data["bookstore_edges"] if row["workload"] != "keycloak"]
    assert routes.backends_are_in_the_matrix(data["bookstore_routes"], matrix)
    more = [*data["bookstore_edges"], {"namespace": "x", "workload": "y", "ports": [1], "sources": ["gateway/bookstore-gateway-istio"]}]
    assert routes.backends_are_in_the_matrix(data["bookstore_routes"], more)


def _route(manifests: Manifests, name: str) -> Manifest:
    return next(m for m in of_kind(manifests, "HTTPRoute") if m["metadata"].get("annotations", {}).get(routes.ROUTE_ANNOTATION) == name)


def _policy(manifests: Manifests) -> Manifest:
    return next(m for m in of_kind(manifests, "AuthorizationPolicy") if (m.get("spec") or {}).get("action") == "DENY")


def _filter(manifests: Manifests, name: str) -> Any:
    found = next(m for m in of_kind(manifests, "EnvoyFilter") if m["metadata"]["name"] == name)
    return found["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]


BREAKS: list[tuple[Rule, str, Callable[[Manifests], Any]]] = [
    (_listed, "route H4", lambda m: m.remove(_route(m, "H4"))),
    (_listed, "backendRefs", lambda m: _route(m, "H5")["spec"]["rules"][0]["backendRefs"][0].update(port=8001)),
    (_listed, "is not in bookstore_routes", lambda m: _route(m, "H1")["metadata"].pop("annotations")),
    (_guarded, "passed on without a token", lambda m: _route(m, "H3")["spec"]["rules"][0]["matches"][0].pop("headers")),
    (_guarded, "is not denied", lambda m: _policy(m)["spec"]["rules"].clear()),
    (_guarded, "no answer for requests without", lambda m: _route(m, "H9")["spec"]["rules"][0]["matches"].pop()),
    (_keys, "expected one of each", lambda m: m.remove(next(iter(of_kind(m, "RequestAuthentication"))))),
    (_keys, "issuer", lambda m: _filter(m, "token-keys")["providers"]["origins-0"].update(issuer="https://elsewhere.test")),
    (_keys, "async_fetch", lambda m: _filter(m, "token-keys")["providers"]["origins-0"]["remote_jwks"].pop("async_fetch")),
    (_l7, "must have targetRefs", lambda m: _policy(m)["spec"].pop("targetRefs")),
    (_l7, "must have targetRefs", lambda m: _policy(m)["metadata"].update(namespace="ecom")),
    (_l7, "must have targetRefs", lambda m: next(iter(of_kind(m, "RequestAuthentication")))["spec"].pop("targetRefs")),
]


@pytest.mark.parametrize(("rule", "fragment", "change"), BREAKS, ids=[f"{r.__name__}-{i}" for i, (r, _, _) in enumerate(BREAKS)])
def test_the_rule_finds_what_breaks_it(
    manifests: Manifests, data: inventory.Data, rule: Rule, fragment: str, change: Callable[[Manifests], Any]
) -> None:
    broken = copy.deepcopy(manifests)
    change(broken)
    assert any(fragment in fault for fault in rule(broken, data)), rule(broken, data)
