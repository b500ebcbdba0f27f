# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of who is let through the gateway (SPEC 3, 4.2): without a token, with a forged one, with one of each role."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from ansible_collections.bookstore.platform.plugins.module_utils.verification import tokens
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import (
    Answer,
    Context,
    Finding,
    Object,
    Tokens,
    skipped,
    verdict,
)
from ansible_collections.bookstore.platform.plugins.module_utils.verification.web_checks import answer_faults, patiently

NO_TEST_SUPPORT = "bookstore_test_support=false: there is no client whose token could be tried"


def paths_of(route: Object) -> list[str]:
    """Return the paths that a route of ``bookstore_routes`` names."""
    return [*route.get("prefixes", []), *route.get("exact", [])]


def refusal_faults(answer: Answer) -> list[str]:
    """Return how an answer differs from the 401 of SPEC 5.1: problem+json, code unauthenticated, WWW-Authenticate."""
    if answer.status != 401:
        return [f"answered {answer.status}, expected 401"]
    faults = []
    if not answer.headers.get("www-authenticate", "").startswith("Bearer"):
        faults.append(f"WWW-Authenticate is {answer.headers.get('www-authenticate')!r}, expected Bearer")
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        faults.append(f"Content-Type is {answer.headers.get('content-type')!r}, expected application/problem+json")
    else:
        try:
            code = json.loads(answer.body).get("code")
        except (ValueError, AttributeError):
            code = None
        if code != "unauthenticated":
            faults.append(f"code is {code!r}, expected 'unauthenticated'")
    return faults


# Label, host, method and path, what gives the value of Authorization (none if empty), and who judges the answer.
Ask = tuple[str, str, str, Callable[[], str], Callable[[Answer], list[str]]]


def _ask_all(context: Context, asks: list[Ask]) -> list[str]:
    """Make requests; return the faults left at the deadline that all checks share."""

    def faults() -> list[str]:
        found = []
        for label, host, request, authorization, judge in asks:
            method, _, path = request.partition(" ")
            name = f"{label} {method} {host}{path}"
            try:
                value = authorization()
                headers = {"Authorization": value} if value else {}
                found += [f"{name}: {fault}" for fault in judge(context.web.https(host, path, method, headers))]
            except OSError as error:
                found.append(f"{name}: {error}")
        return found

    return patiently(context, faults)


def tokenless(context: Context) -> Finding:
    """Every path that needs a role answers 401 without a token; no other spelling of such a path gets further."""
    hosts = context.params["hosts"]
    asks: list[Ask] = [
        (f"{route['id']} without a token:", hosts[route["host"]], f"{method} {path}", partial(str, value), refusal_faults)
        for route in context.params["gateway_routes"]
        if route.get("roles")
        for path in paths_of(route)
        for method, value in (("GET", ""), ("POST", ""), ("GET", "Basic Zm9yZ2Vk"))
    ]
    detours: list[Ask] = [
        ("another spelling:", hosts[entry["host"]], f"{entry['method']} {entry['path']}", str, _not_let_in)
        for entry in context.params["detours"]
    ]
    detail = f"401 with WWW-Authenticate on {len(asks)} requests; {len(detours)} other spellings are refused, too"
    return verdict(_ask_all(context, asks + detours), detail)


def _not_let_in(answer: Answer) -> list[str]:
    return [] if answer.status in (400, 401, 404) else [f"answered {answer.status}, expected 400, 401 or 404"]


def forged(context: Context) -> Finding:
    """A token that the issuer did not sign is refused on every route of the APIs, public ones included."""
    hosts, oidc = context.params["hosts"], context.params["oidc"]
    made = tokens.forgeries(oidc["issuer"], oidc["audience"])
    asks: list[Ask] = [
        (f"{route['id']} with a forged token ({kind}):", hosts["api"], f"GET {paths_of(route)[0]}",
         partial(str, f"Bearer {token}"), refusal_faults)
        for route in context.params["gateway_routes"]
        if route["host"] == "api" and paths_of(route)
        for kind, token in made.items()
    ]  # fmt: skip
    return verdict(_ask_all(context, asks), f"401 on {len(asks)} requests: {', '.join(made)}")


def roles(context: Context) -> Finding:
    """Tokens of the test clients get as far as their roles say."""
    if context.tokens is None:
        return skipped(NO_TEST_SUPPORT)
    hosts = context.params["hosts"]
    asks: list[Ask] = [
        (f"{entry['id']} as {entry['client']}:", hosts[entry["host"]], f"{entry['method']} {entry['path']}",
         partial(_bearer, context.tokens, entry["client"]), partial(answer_faults, entry))
        for entry in context.params["access"]
    ]  # fmt: skip
    clients = sorted({entry["client"] for entry in context.params["access"]})
    return verdict(_ask_all(context, asks), f"{len(asks)} requests answered as declared to {', '.join(clients)}")


def _bearer(clients: Tokens, client: str) -> str:
    return f"Bearer {clients.of(client)}"


def node_port_answers(context: Context) -> Finding:
    """What node ports serve answers in plain HTTP on the loopback address."""
    ports = {entry["id"]: entry["node_port"] for entry in context.params["nodeports"]}
    declared = context.params["nodeport_requests"]

    def faults() -> list[str]:
        found = []
        for entry in declared:
            name = f"{entry['id']} http://localhost:{ports[entry['id']]}{entry['path']}"
            try:
                answer = context.web.http("localhost", entry["path"], ports[entry["id"]])
            except OSError as error:
                found.append(f"{name}: {error}")
                continue
            if answer.status != entry["status"]:
                found.append(f"{name}: answered {answer.status}, expected {entry['status']}")
        return found

    if not declared:
        return skipped("no node port is declared to answer")
    return verdict(patiently(context, faults), ", ".join(f"{e['id']} {e['path']} {e['status']}" for e in declared))
