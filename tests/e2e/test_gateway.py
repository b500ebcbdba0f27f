"""T-14: each route of SPEC 4.2, redirect, certificate, headers, the page's policy, CORS, caching, and what is not there."""

from __future__ import annotations

import os
import re
import socket
import ssl
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import BrowserType, Error, Page, expect

from tests.live.conftest import API, PLACES, SHOP_ORIGIN
from tests.live.declared import GATEWAY
from tests.live.documents import NOTHING
from tests.live.signin import Shopper, problem_of
from tests.live.tls import Trust

from .steps import account_button, expect_guest
from .window import Window

Open = Callable[..., Window]
HOSTS = {"shop": SHOP_ORIGIN, "api": API, "id": PLACES.id}
PLAIN_PORT = GATEWAY["http"]
DISCOVERY = f"{PLACES.issuer}/.well-known/openid-configuration"
UNIVERSAL = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
# Reads an answer as a script of the page would; a refused one has none.
FETCH = """async ([url, options]) => {
  try {
    const answer = await fetch(url, {...options, cache: 'no-store'});
    return {status: answer.status, text: await answer.text(), headers: Object.fromEntries(answer.headers)};
  } catch (error) { return {failed: error.name}; }
}"""
# Tries what an injected script or style would; the browser names the rule that forbade it.
INJECT = """async () => {
  window.broken = [];
  document.addEventListener('securitypolicyviolation', (event) => window.broken.push(event.effectiveDirective));
  const refused = {};
  const attempt = (name, act) => { try { act(); } catch (error) { refused[name] = error.name; } };
  attempt('markup', () => { document.body.insertAdjacentHTML('beforeend', '<b>x</b>'); });
  attempt('script text', () => { document.createElement('script').textContent = 'window.injected = true'; });
  attempt('plug-in', () => { document.createElement('object').data = '/icon.svg'; });
  attempt('script address', () => { document.createElement('script').src = 'https://evil.test/x.js'; });
  const style = document.createElement('style');
  style.append('body { display: none }');
  const picture = new Image();
  const frame = document.createElement('iframe');
  frame.src = picture.src = 'https://evil.test/x';
  const base = document.createElement('base');
  base.href = 'https://evil.test/';
  document.body.append(style, picture, frame, base);
  attempt('handler', () => { document.body.setAttribute('onclick', 'window.injected = true'); });
  document.body.setAttribute('style', 'color: red');
  await fetch('https://evil.test/').catch(() => undefined);
  document.body.click();
  await new Promise((resolve) => setTimeout(resolve, 0));
  // Only now: the debugger that runs this may evaluate text, what the page does later may not.
  attempt('eval', () => (0, eval)('1'));
  attempt('function', () => new Function('return 1')());
  return {refused, injected: window.injected === true, hidden: getComputedStyle(document.body).display === 'none'};
}"""


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def fetch(page: Page, url: str, **options: Any) -> dict[str, Any]:
    """What a script of the page gets: status, text and readable headers, or the failure's name."""
    found: dict[str, Any] = page.evaluate(FETCH, [url, options])
    return found


def get(client: httpx2.Client, url: str, **headers: str) -> httpx2.Response:
    return client.get(url, headers=headers)


def tls(settings: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """A connection to the gateway, verified."""
    address = urlsplit(HOSTS[host])
    assert address.hostname is not None
    plain = socket.create_connection((address.hostname, address.port or 443), timeout=10)
    return settings.wrap_socket(plain, server_hostname=address.hostname)


def test_each_route_leads_to_its_service(api: httpx2.Client, customer: Shopper, admin: Shopper) -> None:
    """H1 to H7: what answers says who it is."""
    assert "Marginalia" in get(api, SHOP_ORIGIN).text
    assert get(api, f"{SHOP_ORIGIN}/config.json").json()["api"] == API
    for path, field in (("/ecom/books?size=1", "items"), ("/ecom/health", "status")):
        assert field in api.get(path).json(), path
    assert {"genre", "count"} <= api.get("/ecom/genres").json()[0].keys()
    assert customer.get("/ecom/cart").json().keys() == {"items", "count", "total"}
    assert {"token", "expires_in"} == customer.get("/ecom/csrf-token").json().keys()
    assert "items" in customer.get("/ecom/orders").json()
    assert problem_of(customer.send("POST", "/ecom/checkout", {}))[0] == 422
    assert api.get("/inven/stock/bulk").json() == []
    assert api.get("/inven/health").json() == {"status": "ok"}
    assert "active_books" in admin.get("/admin/summary").json()
    assert api.get("/admin/health").json() == {"status": "ok"}
    assert get(api, DISCOVERY).json()["issuer"] == PLACES.issuer
    assert get(api, f"{PLACES.id}/resources/").status_code == 404
    # H2 and H4 only read.
    for path in ("/ecom/books", "/ecom/genres", "/inven/stock/bulk", "/inven/health"):
        assert api.head(path).status_code == 200, path
        assert {api.request(method, path).status_code for method in ("POST", "PUT", "PATCH", "DELETE")} == {404}, path


def test_who_brings_no_token_is_answered_without_a_service(api: httpx2.Client) -> None:
    """H9: a 401 that the shop's page can read, for any method; a token that is not valid gets the gateway's own."""
    for path in ("/ecom/cart", "/ecom/csrf-token", "/ecom/checkout", f"/ecom/orders/{NOTHING}", "/admin/summary", "/admin/books"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = api.request(method, path, headers={"Origin": SHOP_ORIGIN})
            assert problem_of(answer) == (401, "unauthenticated"), (method, path)
            assert (answer.headers["www-authenticate"], answer.headers["access-control-allow-origin"]) == ("Bearer", SHOP_ORIGIN)
            assert answer.json()["request_id"] == answer.headers["x-request-id"]
        basic = get(api, path, Authorization="Basic eDp5", Origin="https://evil.test")
        assert (basic.status_code, "access-control-allow-origin" in basic.headers) == (401, False)
        broken = get(api, path, Authorization="Bearer broken", Origin=SHOP_ORIGIN)
        assert (broken.status_code, broken.headers["access-control-allow-origin"]) == (401, SHOP_ORIGIN)


def test_plain_http_only_redirects(guest: Page, api: httpx2.Client) -> None:
    """H8, for any host, path and method; a browser ends where it wanted to be, encrypted."""
    for origin in HOSTS.values():
        host = urlsplit(origin).hostname
        for path in ("/", "/orders?status=SHIPPED", "/ecom/cart", "/realms/master"):
            answer = api.get(f"http://{host}:{PLAIN_PORT}{path}")
            assert (answer.status_code, answer.headers["location"]) == (301, f"{origin}{path}")
            assert "set-cookie" not in answer.headers
    assert api.post(f"http://api.bookstore.test:{PLAIN_PORT}/ecom/cart/items", json={}).status_code == 301
    guest.goto(f"http://shop.bookstore.test:{PLAIN_PORT}/search?q=the")
    expect(guest).to_have_url(f"{SHOP_ORIGIN}/search?q=the")
    expect(guest.get_by_role("heading", name="Results for “the”")).to_be_visible()


def test_the_browser_verifies_the_certificate(
    guest: Page, browser_type: BrowserType, browser_type_launch_args: dict[str, Any], tmp_path: Path, trust: Trust
) -> None:
    answer = guest.goto("/")
    assert answer is not None
    seen = answer.security_details()
    assert seen is not None
    assert seen["protocol"] in {"TLS 1.2", "TLS 1.3"}
    # The same browser with an empty store of certificates trusts nobody.
    stranger = browser_type.launch(**{**browser_type_launch_args, "env": {**os.environ, "HOME": str(tmp_path)}})
    try:
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            stranger.new_page().goto(SHOP_ORIGIN)
    finally:
        stranger.close()

    leaves = set()
    for host in HOSTS:
        with tls(trust.context(), host) as connection:
            content = connection.getpeercert(binary_form=True)
            assert content is not None
            leaves.add(content)
    (leaf,) = (x509.load_der_x509_certificate(content) for content in leaves)
    (authority,) = (one for one in map(x509.load_der_x509_certificate, trust.context().get_ca_certs(binary_form=True)))
    leaf.verify_directly_issued_by(authority)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    (issuer,) = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert seen["issuer"] == issuer.value
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert set(names) == {*(urlsplit(origin).hostname for origin in HOSTS.values()), "localhost"}
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert timedelta(days=396) <= leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=398)
    # Below 1.2 there is no handshake, though our own side is willing.
    old = trust.context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        tls(old, "shop").close()


def test_every_answer_carries_the_security_headers(api: httpx2.Client, customer: Shopper) -> None:
    paths = {
        "shop": ("/", "/cart", "/config.json", "/assets/missing.js", "/silent-callback"),
        "api": ("/ecom/books?size=1", "/ecom/cart", "/nothing", "/admin/health", f"/ecom/books/{NOTHING}"),
        "id": ("/realms/bookstore/.well-known/openid-configuration", "/realms/master", "/realms/bookstore/account/"),
    }
    for host, found in paths.items():
        for path in found:
            headers = get(api, f"{HOSTS[host]}{path}").headers
            expected = dict(UNIVERSAL)
            if host == "id" and path != "/realms/master":
                expected = {name: value for name, value in UNIVERSAL.items() if name != "referrer-policy"}
                # Keycloak's own, where it sends one, is the stricter one.
                assert headers.get("referrer-policy", "no-referrer") == "no-referrer", path
            assert {name: headers.get(name) for name in expected} == expected, (host, path)
            assert not {"server", "x-powered-by", "x-envoy-upstream-service-time", "strict-transport-security"} & set(headers), (host, path)
            if host == "shop":
                assert headers["x-frame-options"] == "SAMEORIGIN"
                assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data:; connect-src 'self' ")
    assert customer.get("/ecom/csrf-token").headers["cache-control"] == "no-store"
    # What a client says of itself and its request's number is not believed.
    forged = api.get("/ecom/health", headers={"X-Request-ID": "mine", "X-Forwarded-For": "10.0.0.1", "X-Envoy-Original-Path": "/metrics"})
    assert forged.json() == {"status": "ok"}
    assert forged.headers["x-request-id"] != "mine"
    huge = api.post("/ecom/cart/items", headers=customer.bearer(), content=b"x" * (1024 * 1024 + 1))
    assert huge.status_code == 413


def test_the_policy_stops_what_is_injected(window: Open) -> None:
    visit = window()
    page = visit.page()
    answer = page.goto("/")
    assert answer is not None
    policy = dict(rule.strip().split(" ", 1) for rule in answer.headers["content-security-policy"].split(";"))
    # The shop's own silent sign-in ends in a frame of its own.
    assert policy == {
        "default-src": "'self'", "img-src": "'self' data:", "connect-src": f"'self' {API} {PLACES.id}", "frame-src": f"'self' {PLACES.id}",
        "frame-ancestors": "'self'", "object-src": "'none'", "base-uri": "'none'",
    }  # fmt: skip
    expect_guest(page)
    # Our own pages get by without a breach: what follows is the first.
    visit.check()
    tried = page.evaluate(INJECT)
    assert (tried["injected"], tried["hidden"]) == (False, False)
    assert tried["refused"].keys() == {"eval", "function", "markup", "script text", "script address", "plug-in", "handler"}
    # Told when the browser gets to it.
    rules = ["img-src", "connect-src", "frame-src", "base-uri", "style-src-elem", "style-src-attr"]
    page.wait_for_function("rules => rules.every((rule) => window.broken.includes(rule))", arg=rules)
    assert not [one for one in visit.requests if "evil.test" in one.url and one.response() is not None]
    # Said for the reason of this test.
    visit.said.clear()


def test_the_shops_page_may_read_the_apis(window: Open, customer: Shopper) -> None:
    """CORS, allowed: preflight and answer, and the headers that the shop needs."""
    visit = window(customer)
    page = visit.page()
    page.goto("/cart")
    account_button(page, customer.username)
    headers = {**customer.bearer(), **customer.csrf(), "Content-Type": "application/json", "If-Match": '"1"', "Idempotency-Key": "e2e"}
    asked = fetch(page, f"{API}/ecom/cart/items/{NOTHING}", method="PUT", headers=headers, body='{"quantity": 1}')
    assert asked["status"] == 404
    assert {"x-request-id", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"} <= asked["headers"].keys()
    read = fetch(page, f"{API}/ecom/books?size=1")
    assert (read["status"], "etag" in read["headers"]) == (200, True)
    for method in ("POST", "PATCH", "DELETE"):
        # The gateway's own 404 may be read; it is no answer to a preflight, which the others need.
        nothing = fetch(page, f"{API}/ecom/nothing", method=method)
        assert nothing.get("status") == 404 if method == "POST" else nothing["failed"] == "TypeError", method
        assert fetch(page, f"{API}/ecom/orders/{NOTHING}/cancel", method=method, headers=headers).keys() >= {"status"}
    preflight = {"Origin": SHOP_ORIGIN, "Access-Control-Request-Method": "PATCH"}
    for path in ("/ecom/cart", "/inven/stock/bulk", "/admin/orders"):
        answer = customer.client.options(f"{API}{path}", headers=preflight)
        assert (answer.status_code, answer.headers["access-control-max-age"]) == (200, "600")
        assert answer.headers["access-control-allow-origin"] == SHOP_ORIGIN
        assert "access-control-allow-credentials" not in answer.headers
        assert set(METHODS) <= set(re.split(", ?", answer.headers["access-control-allow-methods"]))
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert all(name in allowed for name in ("authorization", "content-type", "x-csrf-token", "idempotency-key", "if-match"))


def test_no_other_page_may(guest: Page, customer: Shopper) -> None:
    """CORS, denied: even to the neighbour who signs people in."""
    guest.goto(DISCOVERY)
    assert fetch(guest, f"{PLACES.id}/realms/bookstore")["status"] == 200, "this page can fetch at all"
    for url in (f"{API}/ecom/books?size=1", f"{API}/inven/stock/bulk", f"{API}/ecom/cart", f"{API}/admin/health"):
        assert fetch(guest, url) == {"failed": "TypeError"}, url
        assert fetch(guest, url, headers=customer.bearer()) == {"failed": "TypeError"}, url
    for method in ("PUT", "PATCH", "DELETE"):
        assert fetch(guest, f"{API}/ecom/cart", method=method, headers={**customer.bearer(), **customer.csrf()}) == {"failed": "TypeError"}
    for origin in ("https://evil.test", "null", f"{SHOP_ORIGIN}.evil.test", SHOP_ORIGIN.replace("https", "http")):
        for path in ("/ecom/books?size=1", "/inven/stock/bulk", "/ecom/cart"):
            answer = customer.client.get(f"{API}{path}", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers, (origin, path)
        asked = {"Origin": origin, "Access-Control-Request-Method": "DELETE"}
        assert "access-control-allow-origin" not in customer.client.options(f"{API}/ecom/cart", headers=asked).headers


def test_assets_are_fetched_once_and_pages_anew(window: Open, api: httpx2.Client) -> None:
    visit = window()
    page = visit.page()
    page.goto("/")
    expect_guest(page)
    assets = [one for one in visit.requests if one.url.startswith(f"{SHOP_ORIGIN}/assets/")]
    assert {one.url.rpartition(".")[2] for one in assets} >= {"js", "css", "woff2"}
    for one in assets:
        answer = one.response()
        assert answer is not None
        assert (answer.status, answer.header_value("cache-control")) == (200, "max-age=31536000, immutable")
        assert re.search(r"-[\w-]{8}\.\w+$", one.url), "the name changes with the content"
        if re.search(r"/index-[^/]+\.(js|css)$", one.url):
            assert answer.header_value("content-encoding") == "br"

    again = visit.page()
    again.goto("/")
    expect_guest(again)
    # Transferred bytes, as the browser counts them: 0 is a file of its own cache.
    sizes = again.evaluate("() => performance.getEntriesByType('resource').map((one) => [one.name, one.transferSize])")
    fetched = {name: size for name, size in sizes if f"{SHOP_ORIGIN}/assets/" in name}
    assert len(fetched) >= 3
    assert set(fetched.values()) == {0}
    for path, rule in (("/", "no-cache"), ("/orders", "no-cache"), ("/config.json", "no-store"), ("/silent-callback", "no-cache")):
        assert get(api, f"{SHOP_ORIGIN}{path}").headers["cache-control"] == rule, path
    # One that was replaced is gone, instead of being a page that is no script.
    missing = get(api, f"{SHOP_ORIGIN}/assets/index-00000000.js")
    assert (missing.status_code, "immutable" in missing.headers.get("cache-control", "")) == (404, False)


@pytest.mark.parametrize("host", ["api", "id"])
def test_what_is_not_listed_is_not_there(host: str, api: httpx2.Client, admin: Shopper) -> None:
    """404 for everybody, an administrator included, with every method."""
    paths = {
        "api": [
            "/", "/internal", "/internal/admin/books", "/internal/reservations", "/internal/backchannel-logout", "/metrics",
            "/health/ready", "/health/live",
            "/ecom", "/ecom/metrics", "/ecom/health/ready", "/ecom/internal/admin/books", "/inven", "/inven/internal",
            "/docs", "/openapi.json", "/realms/bookstore", "/ecom/booksellers", "/__unauthenticated", "/.env", "/config.json",
        ],
        "id": [
            "/", "/admin", "/admin/master/console/", "/admin/realms/bookstore/users", "/realms/master", "/realms/master/account",
            "/metrics", "/realms/master/protocol/openid-connect/token",
            "/health", "/health/ready", "/realms", "/js/keycloak.js", "/ecom/books",
        ],
    }  # fmt: skip
    for path in paths[host]:
        for method in ("GET", "POST"):
            assert api.request(method, f"{HOSTS[host]}{path}").status_code == 404, (method, path)
        assert get(api, f"{HOSTS[host]}{path}", **admin.bearer()).status_code == 404, path
        # A detour leads nowhere else.
        assert get(api, f"{HOSTS[host]}/realms/bookstore/../..{path}").status_code == 404, path
