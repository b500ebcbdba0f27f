"""Checks of who is let through the gateway, with a stand-in for it that judges by path and Authorization."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeCluster

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import ClusterError
from ansible_collections.bookstore.platform.plugins.module_utils.verification import access_checks, runner, tokens
from ansible_collections.bookstore.platform.plugins.module_utils.verification.model import Answer, Check, Context, Object, Tokens, Web

HOSTS = {"api": "api.test", "id": "id.test"}
ROUTES = [
    {"id": "H2", "host": "api", "prefixes": ["/books"]},
    {"id": "H3", "host": "api", "prefixes": ["/cart"], "roles": ["customer"]},
    {"id": "H7", "host": "id", "prefixes": ["/realms"]},
    {"id": "H9", "host": "api", "tokenless_of": ["H3"]},
]
PROBLEM = {"content-type": "application/problem+json", "www-authenticate": 'Bearer realm="x"'}
REFUSED = Answer(401, PROBLEM, b'{"code": "unauthenticated"}')
SECRET = "client-secret-of-smoke"
TOKEN = "header.payload.signature-of-smoke"


class Gate(Web):
    """Asks a function; keeps what it was asked."""

    def __init__(self, judge: Callable[[str, str, str], Answer]) -> None:
        self.judge = judge
        self.asked: list[tuple[str, str, str]] = []
        self.bodies: list[str | None] = []

    def https(
        self, host: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> Answer:
        authorization = (headers or {}).get("Authorization", "")
        self.asked.append((method, path, authorization))
        self.bodies.append(body)
        return self.judge(method, path, authorization)

    def http(self, host: str, path: str, port: int | None = None) -> Answer:
        if port != 32400:
            raise ConnectionRefusedError(f"port {port}")
        return Answer(200 if path == "/there" else 404, {}, b"")


class FixedTokens(Tokens):
    def of(self, client: str) -> str:
        return f"token-of-{client}"


def context(web: Web, clients: Tokens | None = None, **params: Any) -> Context:
    defaults: Object = {
        "hosts": HOSTS, "gateway_routes": ROUTES, "detours": [], "access": [], "oidc": {"issuer": "https://id.test", "audience": "a"},
        "nodeports": [{"id": "N8", "node_port": 32400}, {"id": "N2", "node_port": 31111}], "nodeport_requests": [],
    }  # fmt: skip
    return Context({**defaults, **params}, {}, web, None, None, time.monotonic(), clients)


def strict(method: str, path: str, authorization: str) -> Answer:
    """A gateway as it should be."""
    if authorization.startswith("Bearer ") or path.startswith("/cart"):
        return REFUSED
    return Answer(200, {}, b"{}") if path == "/books" else Answer(404, {}, b"")


def test_tokenless_requests() -> None:
    gate = Gate(strict)
    detours = [{"host": "api", "path": "/cart;x", "method": "GET"}, {"host": "api", "path": "/other", "method": "GET"}]
    assert access_checks.tokenless(context(gate, detours=detours)).status == "passed"
    assert [request[:2] for request in gate.asked if request[1] == "/cart"] == [("GET", "/cart"), ("POST", "/cart"), ("GET", "/cart")]
    assert any(authorization.startswith("Basic ") for _, _, authorization in gate.asked)


def test_a_service_that_is_reached_without_a_token_is_found() -> None:
    gate = Gate(lambda method, path, authorization: Answer(200, {}, b"{}"))
    finding = access_checks.tokenless(context(gate, detours=[{"host": "api", "path": "//cart", "method": "GET"}]))
    assert "H3 without a token: GET api.test/cart: answered 200, expected 401" in finding.faults
    assert "another spelling: GET api.test//cart: answered 200, expected 400, 401 or 404" in finding.faults


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(403, {}, b""), "answered 403, expected 401"),
        (Answer(401, {**PROBLEM, "www-authenticate": "Basic"}, REFUSED.body), "WWW-Authenticate is 'Basic', expected Bearer"),
        (Answer(401, {"www-authenticate": "Bearer"}, b""), "Content-Type is None"),
        (Answer(401, PROBLEM, b"[]"), "code is None"),
        (Answer(401, PROBLEM, b'{"code": "forbidden"}'), "code is 'forbidden'"),
    ],
)
def test_an_incomplete_refusal_is_found(answer: Answer, fault: str) -> None:
    assert any(fault in found for found in access_checks.refusal_faults(answer))


def test_forged_tokens() -> None:
    gate = Gate(strict)
    finding = access_checks.forged(context(gate))
    assert (finding.status, len(gate.asked)) == ("passed", 12)
    # Public routes are tried, too; the identity host, which has its own rules, is not.
    assert {path for _, path, _ in gate.asked} == {"/books", "/cart"}
    lax = Gate(lambda method, path, authorization: REFUSED if "forged" in authorization else Answer(200, {}, b"{}"))
    faults = access_checks.forged(context(lax)).faults
    assert any("forged token (alg=none)" in fault for fault in faults)
    assert not any(".ey" in fault for fault in faults)


def test_forgeries_are_what_they_claim() -> None:
    made = tokens.forgeries("https://id.test", "a")
    assert len(set(made.values())) == len(made)

    def part(name: str, index: int) -> Object:
        text = made[name].split(".")[index]
        decoded: Object = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return decoded

    assert (part("alg=none", 0)["alg"], made["alg=none"][-1]) == ("none", ".")
    assert part("alg=HS256", 0)["alg"] == "HS256"
    assert part("other issuer", 1)["iss"] != part("unknown key", 1)["iss"] == "https://id.test"
    assert part("expired", 1)["exp"] < time.time() < part("unknown key", 1)["exp"]


ACCESS = [
    {"id": "H3", "host": "api", "path": "/cart", "method": "GET", "client": "customer", "status": 200},
    {"id": "H5", "host": "api", "path": "/admin", "method": "GET", "client": "customer", "status": 403},
]


def test_roles() -> None:
    gate = Gate(lambda method, path, authorization: Answer(403 if path == "/admin" else 200, {}, b""))
    assert access_checks.roles(context(gate, FixedTokens(), access=ACCESS)).status == "passed"
    assert gate.asked[0] == ("GET", "/cart", "Bearer token-of-customer")
    open_gate = Gate(lambda method, path, authorization: Answer(200, {}, b""))
    faults = access_checks.roles(context(open_gate, FixedTokens(), access=ACCESS)).faults
    assert faults == ["H5 as customer: GET api.test/admin: answered 200, expected 403"]


def test_without_test_support_roles_are_skipped_with_the_reason() -> None:
    finding = access_checks.roles(context(Gate(strict), access=ACCESS))
    assert (finding.status, finding.detail) == ("skipped", access_checks.NO_TEST_SUPPORT)


def secrets(**data: str) -> FakeCluster:
    encoded = {name.replace("_", "-"): base64.b64encode(value.encode()).decode() for name, value in data.items()}
    return FakeCluster({"Secret": [{"metadata": {"name": "clients", "namespace": "identity"}, "data": encoded}]})


SOURCE = {"host": "id.test", "path": "/token", "namespace": "identity", "secret": "clients"}


def test_clients_sign_in_once_through_the_gateway() -> None:
    gate = Gate(lambda method, path, authorization: Answer(200, {}, json.dumps({"access_token": TOKEN}).encode()))
    clients = tokens.ClientTokens(gate, secrets(smoke_admin=SECRET), SOURCE)
    assert clients.of("smoke-admin") == clients.of("smoke-admin") == TOKEN
    assert gate.asked == [("POST", "/token", "")]
    assert urllib.parse.parse_qs(str(gate.bodies[0])) == {
        "grant_type": ["client_credentials"], "client_id": ["smoke-admin"], "client_secret": [SECRET],
    }  # fmt: skip


@pytest.mark.parametrize("answer", [Answer(401, {}, TOKEN.encode()), Answer(200, {}, b"no json"), Answer(200, {}, b"{}")])
def test_no_finding_shows_a_token_or_a_secret(answer: Answer) -> None:
    """Whatever goes wrong on the way to a token, the report names the client, never what it holds."""
    clients = tokens.ClientTokens(Gate(lambda *_: answer), secrets(customer=SECRET), SOURCE)
    check = Check("V-ROLES", "BK-323", "Roles", access_checks.roles, "h")
    report = runner.report(runner.run_checks([check], context(Gate(strict), clients, access=ACCESS)), 0.0)
    assert report["counts"]["failed"] == 1
    text = json.dumps(report)
    assert TOKEN not in text
    assert SECRET not in text


def test_a_client_without_a_secret_is_named() -> None:
    with pytest.raises(ClusterError, match="BK-323: Secret identity/clients with key other does not exist"):
        tokens.ClientTokens(Gate(strict), secrets(customer=SECRET), SOURCE).of("other")


def test_node_ports() -> None:
    wanted = [{"id": "N8", "path": "/there", "status": 200}]
    assert access_checks.node_port_answers(context(Gate(strict), nodeport_requests=wanted)).status == "passed"
    wrong = [{"id": "N8", "path": "/gone", "status": 200}, {"id": "N2", "path": "/", "status": 200}]
    faults = access_checks.node_port_answers(context(Gate(strict), nodeport_requests=wrong)).faults
    assert faults == ["N8 http://localhost:32400/gone: answered 404, expected 200", "N2 http://localhost:31111/: port 31111"]
    assert access_checks.node_port_answers(context(Gate(strict))).status == "skipped"
