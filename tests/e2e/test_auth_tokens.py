"""T-04: sign-in with PKCE, return path, restored and renewed sessions, expiry, logout, registration; no token outside of memory."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import quote, urlsplit

import httpx2
from playwright.sync_api import Page, Response, Route, expect

from tests.live.conftest import API, PLACES, SHOP_ORIGIN
from tests.live.goods import Goods
from tests.live.people import People
from tests.live.signin import CLIENT, Hidden, Shopper, bearer, padless, problem_of
from tests.live.waiting import until

from . import wire
from .conftest import sign_in
from .steps import account_button, enter, expect_guest, sign_out
from .window import Window, shows_token

Open = Callable[..., Window]
ENDED = "Your session has ended."
# Fast-forwarded, not waited for: access tokens live for 300 s, and the shop renews 60 s before.
BEFORE_RENEWAL, REST = "03:50", "00:15"


def expect_prompt(page: Page) -> None:
    strip = page.get_by_role("alert").filter(has=page.get_by_role("link", name="Sign in again"))
    expect(strip).to_contain_text(ENDED)


def is_renewal(answer: Response) -> bool:
    return urlsplit(answer.url).path == wire.TOKEN_PATH and wire.form_of(answer.request)["grant_type"] == "refresh_token"


def refusal(page: Page, path: str) -> AbstractContextManager[object]:
    """Wait, at the end, for the gateway to refuse a request of this path; the page may read that."""
    return page.expect_event("response", lambda answer: urlsplit(answer.url).path == path and answer.status == 401)


def renewed(page: Page, advance: str) -> None:
    """The page renews its tokens while its clock goes on by ``advance``."""
    with page.expect_response(is_renewal) as answered:
        page.clock.fast_forward(advance)
    assert answered.value.status == 200


def test_sign_in_proves_with_s256_that_both_ends_are_the_same_page(window: Open, people: People, api: httpx2.Client) -> None:
    account, visit = people.account(), window()
    page = visit.page()
    page.goto("/")
    page.get_by_role("link", name="Sign in", exact=True).click()
    sign_in(page, account, account.password)
    account_button(page, account.username)
    expect(page).to_have_url(f"{SHOP_ORIGIN}/")

    # The hidden frame asked first, in vain; this is the visitor's own.
    (asked,) = [found for one in visit.asked("GET", wire.AUTH_PATH) if "prompt" not in (found := wire.query_of(one))]
    assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT, "code", "S256")
    assert asked["redirect_uri"] == PLACES.callback
    (traded,) = wire.token_requests(visit, "authorization_code")
    assert padless(hashlib.sha256(traded["code_verifier"].encode("ascii")).digest()) == asked["code_challenge"]
    assert not {"client_secret", "password"} & traded.keys()
    assert asked["code_challenge"] != traded["code_verifier"]

    # Enforced, not only used.
    plain = {"client_id": CLIENT, "response_type": "code", "scope": "openid", "redirect_uri": PLACES.callback, "state": "x"}
    for extra in ({}, {"code_challenge": "A" * 43, "code_challenge_method": "plain"}, {"code_challenge": "A" * 43}):
        refused = api.get(PLACES.endpoint("auth"), params={**plain, **extra})
        assert refused.status_code == 302
        assert "error=invalid_request" in refused.headers["location"]
    implicit = api.get(PLACES.endpoint("auth"), params={**plain, "response_type": "token", "nonce": "x"})
    assert "error=" in implicit.headers["location"]
    form = {"client_id": CLIENT, "grant_type": "password", "username": account.username, "password": account.password}
    assert api.post(PLACES.endpoint("token"), data=form).status_code in {400, 401}


def test_after_sign_in_the_visitor_is_where_they_were(guest: Page, people: People) -> None:
    account = people.account()
    here = f"{SHOP_ORIGIN}/search?q=the&page=2"
    guest.goto(here)
    guest.get_by_role("link", name="Sign in", exact=True).click()
    expect(guest.locator("#kc-login")).to_be_visible()
    # Who thinks better of it comes back, and is not sent on again.
    guest.go_back()
    expect(guest).to_have_url(here)
    expect(guest.get_by_role("heading", level=1)).to_have_text("Results for “the”")
    expect_guest(guest)
    guest.get_by_role("link", name="Sign in", exact=True).click()
    sign_in(guest, account, account.password)
    account_button(guest, account.username)
    expect(guest).to_have_url(here)
    expect(guest.get_by_role("heading", level=1)).to_have_text("Results for “the”")
    sign_out(guest, account.username)
    expect_guest(guest)

    # A page that needs sign-in asks for it by itself, and its own address survives, too.
    guest.goto("/orders?status=SHIPPED")
    sign_in(guest, account, account.password)
    expect(guest).to_have_url(f"{SHOP_ORIGIN}/orders?status=SHIPPED")
    expect(guest.get_by_role("heading", name="No shipped orders")).to_be_visible()


def test_reload_restores_the_session_without_a_page_of_keycloaks(window: Open, customer: Shopper) -> None:
    visit = window(customer)
    page = visit.page()
    page.goto("/orders")
    account_button(page, customer.username)
    first = wire.access_token(visit)
    del visit.requests[:]
    page.reload()
    account_button(page, customer.username)
    expect(page.get_by_role("heading", name="Your orders")).to_be_visible()

    assert wire.documents(page, visit.requests) == [f"{SHOP_ORIGIN}/orders"]
    (silent,) = visit.asked("GET", wire.AUTH_PATH)
    assert wire.query_of(silent)["prompt"] == "none"
    assert silent.frame != page.main_frame
    again = wire.access_token(visit)
    assert again != first, "the token of before was kept somewhere"
    assert wire.claim(again, "sid") == wire.claim(first, "sid")


def test_tokens_are_renewed_a_minute_before_they_end(window: Open, customer: Shopper) -> None:
    visit = window(customer)
    page = visit.page()
    page.clock.install()
    page.goto("/orders")
    account_button(page, customer.username)
    first = wire.access_token(visit)
    page.clock.fast_forward(BEFORE_RENEWAL)
    expect(page.get_by_role("heading", name="Your orders")).to_be_visible()
    assert wire.token_requests(visit, "refresh_token") == []
    renewed(page, REST)
    page.clock.fast_forward(BEFORE_RENEWAL)
    renewed(page, REST)

    spent = [form["refresh_token"] for form in wire.token_requests(visit, "refresh_token")]
    assert (len(spent), len(set(spent))) == (2, 2), "each refresh token works once"
    page.get_by_role("link", name="Marginalia").click()
    page.get_by_role("button", name=re.compile("^Account")).click()
    page.get_by_role("link", name="Your orders").click()
    expect(page.get_by_role("heading", name="Your orders")).to_be_visible()
    with page.expect_response(lambda answer: urlsplit(answer.url).path == "/ecom/orders") as listed:
        page.get_by_label("Status").select_option("Cancelled")
    assert listed.value.status == 200
    assert wire.access_token(visit) != first


def test_a_token_past_its_end_is_renewed_once_and_the_requests_sent_again(window: Open, people: People, goods: Goods) -> None:
    customer = people.customer()
    customer.add(goods.book(copies=1)["id"])
    visit = window(customer)
    page = visit.page()
    page.clock.install()
    page.goto("/")
    expect(page.get_by_role("link", name="Cart, 1 item", exact=True)).to_be_visible(timeout=20_000)
    stale = wire.access_token(visit)

    def age(route: Route) -> None:
        """A token lives for minutes; the gateway's answer to an old one is its answer to a broken one, and the answer is real."""
        headers = route.request.all_headers()
        if headers.get("authorization") == f"Bearer {stale}":
            headers["authorization"] = "Bearer expired"
        route.continue_(headers=headers)

    page.route(f"{API}/**", age)
    # Held back until both requests were refused: whoever finds out second must not ask for tokens, too.
    renewals: list[Route] = []
    page.route(PLACES.endpoint("token"), lambda route: renewals.append(route))
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(urlsplit(answer.url).path) if answer.status == 401 else None)
    page.get_by_role("button", name=f"Account: {customer.username}").click()
    with refusal(page, "/ecom/cart"), refusal(page, "/ecom/orders"):
        # When the window gets the focus, a cart of half a minute ago is read again.
        page.clock.fast_forward("00:40")
        page.evaluate("() => window.dispatchEvent(new Event('visibilitychange'))")
        page.get_by_role("link", name="Your orders").click()
    expect(page.get_by_role("heading", name="Your orders")).to_be_visible()
    assert {"/ecom/cart", "/ecom/orders"} <= set(refused)
    for one in renewals:
        one.continue_()
    expect(page.get_by_text(re.compile(r"^\d+ orders?$"))).to_be_visible()
    account_button(page, customer.username)
    assert len(renewals) == len(wire.token_requests(visit, "refresh_token")) == 1
    assert len(refused) == len(set(refused)), "each request is sent once more, and then it is right"
    assert wire.access_token(visit) != stale


def test_an_ended_session_asks_for_sign_in_and_keeps_path_and_text(window: Open, people: People, goods: Goods) -> None:
    account, visit = people.account(), window()
    page = visit.page()
    page.clock.install()
    enter(page, account, "/search?q=the&page=2")
    people.end_sessions(account.sub)
    # Nobody clicked: the renewal finds out.
    page.clock.fast_forward("04:10")
    expect_prompt(page)
    expect_guest(page)
    expect(page).to_have_url(f"{SHOP_ORIGIN}/search?q=the&page=2")
    expect(page.get_by_role("heading", level=1)).to_have_text("Results for “the”")
    page.get_by_role("link", name="Sign in again").click()
    sign_in(page, account, account.password)
    account_button(page, account.username)
    expect(page).to_have_url(f"{SHOP_ORIGIN}/search?q=the&page=2")
    expect(page.get_by_text(ENDED)).to_have_count(0)

    # What was typed comes back, and leaves nothing behind.
    page.goto(f"/books/{goods.book(copies=1)['id']}")
    page.get_by_role("button", name=re.compile("^Add to cart")).click()
    page.get_by_role("link", name="Cart, 1 item").click()
    page.get_by_role("link", name="Check out", exact=True).click()
    page.get_by_label("Full name").fill("Ada <b>Reader</b>")
    page.get_by_label("City").fill("Springfield")
    people.end_sessions(account.sub)
    page.clock.fast_forward("04:10")
    expect_prompt(page)
    expect(page.get_by_label("City")).to_have_value("Springfield")
    page.get_by_role("link", name="Sign in again").click()
    sign_in(page, account, account.password)
    account_button(page, account.username)
    expect(page.get_by_label("Full name")).to_have_value("Ada <b>Reader</b>")
    expect(page.get_by_label("City")).to_have_value("Springfield")
    assert "Springfield" not in page.evaluate("() => JSON.stringify({...sessionStorage, ...localStorage})")


def test_sign_out_ends_the_session_everywhere(window: Open, people: People, api: httpx2.Client) -> None:
    account, visit = people.account(), window()
    page = visit.page()
    enter(page, account, "/orders")
    token = wire.access_token(visit)
    assert api.get("/ecom/cart", headers=bearer(token)).status_code == 200
    del visit.requests[:]
    sign_out(page, account.username)
    expect_guest(page)
    expect(page).to_have_url(f"{SHOP_ORIGIN}/")

    (left,) = [one for one in visit.requests if urlsplit(one.url).path.endswith("/logout")]
    assert (left.method, urlsplit(left.url).query) == ("POST", "")
    assert shows_token(wire.form_of(left)["id_token_hint"])
    # Keycloak tells the E-Commerce API by itself.
    until(lambda: api.get("/ecom/cart", headers=bearer(token)).status_code == 401, "the token to be refused", 5)
    refused = api.get("/ecom/cart", headers=bearer(token))
    assert problem_of(refused) == (401, "unauthenticated")
    # Nor is there a single sign-on left: the next page asks for the password.
    page.goto("/orders")
    expect(page.locator("#password")).to_be_visible()


def test_a_revoked_session_is_refused_before_its_token_ends(window: Open, people: People, api: httpx2.Client) -> None:
    account, visit = people.account(), window()
    page = visit.page()
    enter(page, account, "/orders")
    # Nothing is under way: what is refused below is what was clicked.
    expect(page.get_by_role("heading", name="No orders yet")).to_be_visible()
    token = wire.access_token(visit)
    people.end_sessions(account.sub)
    until(lambda: api.get("/ecom/orders", headers=bearer(token)).status_code == 401, "the token to be refused", 5)
    with page.expect_response(lambda answer: "status=CANCELLED" in answer.url and answer.request.method == "GET") as asked:
        page.get_by_label("Status").select_option("Cancelled")
    assert asked.value.status == 401
    expect_prompt(page)
    expect_guest(page)
    page.get_by_role("link", name="Sign in again").click()
    sign_in(page, account, account.password)
    expect(page).to_have_url(f"{SHOP_ORIGIN}/orders?status=CANCELLED")
    account_button(page, account.username)


def test_no_storage_holds_a_token(window: Open, people: People, goods: Goods) -> None:
    book, account, visit = goods.book(copies=3), people.account(), window()

    def kept(page: Page) -> tuple[list[str], list[str]]:
        """Names in localStorage and sessionStorage; fails on a token in what any storage holds."""
        assert visit.leaks() == []
        local, tab, *others = page.evaluate("""async () => [
            Object.keys(localStorage), Object.keys(sessionStorage), await indexedDB.databases(), await caches.keys(), document.cookie,
        ]""")
        assert others == [[], [], ""]
        # Where the visitor had scrolled to is the router's.
        return local, [name for name in tab if not name.startswith("tsr-scroll-restoration")]

    # Held back: on Keycloak's page nobody could look into the shop's storages.
    before = visit.page()
    before.goto("/cart")
    expect_guest(before)
    before.route(f"{PLACES.endpoint('auth')}**", lambda route: route.abort("aborted"))
    before.get_by_role("link", name="Sign in", exact=True).click()
    before.wait_for_function("() => Object.keys(sessionStorage).some((name) => name.startsWith('bookstore_signin.'))")
    local, (name,) = kept(before)
    assert local == []
    transaction = json.loads(before.evaluate("name => sessionStorage.getItem(name)", name))
    assert {"code_verifier", "created", "data"} <= transaction.keys()
    before.close()

    page = visit.page()
    enter(page, account, f"/books/{book['id']}")
    assert kept(page) == ([], []), "the transaction ends with the callback"
    page.get_by_role("button", name=re.compile("^Add to cart")).click()
    expect(page.get_by_role("link", name="Cart, 1 item")).to_be_visible()
    for path in ("/cart", "/checkout", "/orders"):
        page.goto(path)
        account_button(page, account.username)
        assert kept(page) == ([], []), path
    # The search would find a token: here is one.
    assert shows_token(wire.access_token(visit))
    cookies = visit.context.cookies()
    assert {one.get("domain") for one in cookies} == {"id.bookstore.test"}
    identity = [one for one in cookies if one.get("name") == "KEYCLOAK_IDENTITY"]
    assert [(one.get("httpOnly"), one.get("secure")) for one in identity] == [(True, True)]


def test_no_address_leads_out_of_the_shop(window: Open, customer: Shopper, api: httpx2.Client) -> None:
    visit = window(customer)
    page = visit.page()
    # More spellings: return-path.test.ts.
    for address in ("https://evil.test/", "//evil.test/", "/\\evil.test/", "javascript:alert(1)", "/\t/evil.test", "/login?return=//a.b"):
        page.goto(f"/login?return={quote(address, safe='')}")
        account_button(page, customer.username)
        expect(page).to_have_url(f"{SHOP_ORIGIN}/")
    assert {urlsplit(one.url).hostname for one in visit.requests} == {f"{host}.bookstore.test" for host in ("shop", "api", "id")}

    # Keycloak hands codes and visitors to the registered addresses alone.
    query = {"client_id": CLIENT, "response_type": "code", "scope": "openid", "code_challenge": "A" * 43, "code_challenge_method": "S256"}
    for target in ("https://evil.test/callback", f"{PLACES.callback}/", f"{PLACES.callback}?a=b", f"{SHOP_ORIGIN}/"):
        answer = api.get(PLACES.endpoint("auth"), params={**query, "redirect_uri": target})
        assert (answer.status_code, answer.headers.get("location")) == (400, None), target
    for target in ("https://evil.test/", f"{SHOP_ORIGIN}/orders"):
        answer = api.get(PLACES.endpoint("logout"), params={"client_id": CLIENT, "post_logout_redirect_uri": target})
        assert (answer.status_code, answer.headers.get("location")) == (400, None), target


def test_who_registers_is_a_customer_at_once(window: Open, people: People) -> None:
    visit, name = window(), f"e2e-{secrets.token_hex(6)}"
    page, password = visit.page(), Hidden(secrets.token_urlsafe(18))
    page.goto("/orders")
    page.get_by_role("link", name="Register").click()
    for field, value in (("username", name), ("email", f"{name}@bookstore.test"), ("firstName", "New"), ("lastName", "Reader")):
        page.locator(f"#{field}").fill(value)
    # Too short, then right: what was typed is kept, the password excepted.
    for typed in (Hidden("short"), password):
        page.locator("#password").fill(typed)
        page.locator("#password-confirm").fill(typed)
        page.get_by_role("button", name="Register").click()
        if typed != password:
            expect(page.get_by_text(re.compile("Invalid password"))).to_be_visible()
            expect(page.locator("#username")).to_have_value(name)
    account_button(page, name)
    token = wire.access_token(visit)
    people.adopt(str(wire.claim(token, "sub")))
    expect(page).to_have_url(f"{SHOP_ORIGIN}/orders")
    expect(page.get_by_role("heading", name="No orders yet")).to_be_visible()
    assert wire.claim(token, "roles") == ["customer"]
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)


def test_two_tabs_renew_side_by_side_and_leave_together(window: Open, people: People) -> None:
    account, visit = people.account(), window()
    first, second = visit.page(), visit.page()
    first.clock.install()
    enter(first, account, "/orders")
    # Without a second password.
    second.goto("/orders")
    account_button(second, account.username)
    # The clock is the context's: both renew at once, each with a refresh token of its own.
    for page in (first, second):
        expect(page.get_by_role("heading", name="No orders yet")).to_be_visible()
    for _ in range(2):
        with first.expect_response(is_renewal), second.expect_response(is_renewal):
            first.clock.fast_forward("04:05")
    for page, words in ((first, "Shipped"), (second, "Delivered")):
        page.get_by_label("Status").select_option(words)
        expect(page.get_by_role("heading", name=f"No {words.lower()} orders")).to_be_visible()
        account_button(page, account.username)
    sign_out(first, account.username)
    expect_guest(first)
    # Nobody touched the other tab.
    expect_guest(second)
    expect(second).to_have_url(f"{SHOP_ORIGIN}/")
    expect(second.get_by_text(ENDED)).to_have_count(0)
