"""T-10: the admin area is the administrators': at the gateway, in the service, and in what the shop shows and loads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import httpx2
import pytest
from playwright.sync_api import Page, expect

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from tests.live import documents, forged
from tests.live.conftest import API, CONSOLE, PLACES, SHOP_ORIGIN
from tests.live.people import People
from tests.live.signin import Hidden, Shopper, bearer, problem_of
from tests.live.tls import Trust
from tests.live.workloads import Workloads

from .conftest import sign_in
from .steps import account_button, expect_guest, sign_out
from .window import Window

Open = Callable[..., Window]
# Every operation of the Admin API but its health: summary, books, stock, orders.
OPERATIONS = [one for one in documents.operations() if one.name.startswith("admin.") and one.roles is not None]
AREAS = {"summary", "books", "stock", "orders"}
# The shop's pages of it.
PAGES = ("/admin", "/admin/books", "/admin/books/new", "/admin/stock", "/admin/low-stock", "/admin/orders")
# Asks the service itself, past the gateway: its container may call no one but itself this way.
INSIDE = """
import json, sys, urllib.error, urllib.request
found = {}
for name, token in json.loads(sys.argv[1]).items():
    request = urllib.request.Request("http://127.0.0.1:8000/admin/summary", headers={"Authorization": "Bearer " + token} if token else {})
    try:
        found[name] = [urllib.request.urlopen(request, timeout=10).status, ""]
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        found[name] = [error.code, problem["code"], problem["detail"]]
print(json.dumps(found))
"""


@pytest.fixture
def mint(trust: Trust, secret: Callable[[str, str], Hidden]) -> Iterator[forged.Mint]:
    made = forged.Mint(trust, PLACES, CONSOLE, secret)
    yield made
    made.close()


def scripts(visit: Window) -> set[str]:
    """Files of the shop that were fetched."""
    return {one.url.rpartition("/assets/")[2] for one in visit.requests if "/assets/" in one.url}


def test_without_a_token_every_area_answers_401(api: httpx2.Client) -> None:
    assert {one.path.split("/")[2] for one in OPERATIONS} == AREAS
    for one in OPERATIONS:
        answer = api.request(one.method, one.path)
        assert problem_of(answer) == (401, "unauthenticated"), str(one)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_customer_gets_403_in_every_area(customer: Shopper) -> None:
    for one in OPERATIONS:
        # With everything else that a request needs: it is the role that is missing.
        answer = customer.send(one.method, one.path, {} if one.method in {"POST", "PUT", "PATCH"} else None)
        assert problem_of(answer) == (403, "forbidden"), str(one)


def test_the_gateway_refuses_and_the_service_would_by_itself(
    api: httpx2.Client, customer: Shopper, cluster: Cluster, mint: forged.Mint
) -> None:
    at_the_gateway = api.get("/admin/summary", headers=customer.bearer()).json()["detail"]
    # These pass through the API server's log, so they are nobody's, and worthless within seconds.
    usual = {"aud": "bookstore-api", "azp": "ui-client", "sub": "live-forged"}
    tokens = {
        "none": "", "forged": "forged", "customer": mint.token(lifetime=10, claims={**usual, "roles": ["customer"]}),
        "no audience": mint.token(lifetime=10, claims={"azp": "ui-client", "sub": "live-forged", "roles": ["admin"]}),
    }  # fmt: skip
    (pod,) = Workloads(cluster).ready("admin", "admin-api")[:1]
    said = json.loads(cluster.execute("admin", pod, "admin-api", ["python3", "-c", INSIDE, json.dumps(tokens)], timeout=30))
    statuses = {name: (status, code) for name, (status, code, *_) in said.items()}
    assert statuses == {
        "none": (401, "unauthenticated"), "forged": (401, "unauthenticated"),
        "customer": (403, "forbidden"), "no audience": (401, "unauthenticated"),
    }  # fmt: skip
    # Two who refuse, not one: their words differ.
    assert "roles: admin" in said["customer"][2]
    assert at_the_gateway != said["customer"][2]


def test_only_administrators_see_the_link(guest: Page, shop: Page, office: Page, customer: Shopper, admin: Shopper) -> None:
    link = re.compile("^Admin$")
    guest.goto("/")
    expect_guest(guest)
    shop.goto("/")
    account_button(shop, customer.username)
    for page in (guest, shop):
        expect(page.get_by_role("link", name=link)).to_have_count(0)
    office.goto("/")
    account_button(office, admin.username)
    office.get_by_role("link", name=link).click()
    expect(office).to_have_url(f"{SHOP_ORIGIN}/admin")
    expect(office.get_by_role("heading", name="Overview")).to_be_visible()
    places = office.get_by_role("navigation", name="Admin").get_by_role("link")
    expect(places).to_have_text(["Overview", "Books", "Stock", "Low stock", "Orders"])


def test_a_customer_sees_access_denied_and_a_way_back(window: Open, customer: Shopper) -> None:
    visit = window(customer)
    page = visit.page()
    for path in PAGES:
        page.goto(path)
        expect(page.get_by_role("heading", name="Access denied")).to_be_visible(timeout=20_000)
        expect(page).to_have_url(f"{SHOP_ORIGIN}{path}")
        expect(page.get_by_role("navigation", name="Admin")).to_have_count(0)
    assert not [one for one in visit.requests if one.url.startswith(f"{API}/admin")], "the page asked what it may not know"
    page.get_by_role("link", name="Back to the catalogue").click()
    expect(page.get_by_test_id("book-card").first).to_be_visible()
    account_button(page, customer.username)


def test_a_guest_signs_in_first_and_then_goes_on(guest: Page, people: People) -> None:
    for path in ("/admin", "/admin/orders"):
        guest.goto(path)
        expect(guest.locator("#password")).to_be_visible(timeout=20_000)
    account = people.account()
    sign_in(guest, account, account.password)
    expect(guest).to_have_url(f"{SHOP_ORIGIN}/admin/orders")
    # Signed in, which is not enough.
    expect(guest.get_by_role("heading", name="Access denied")).to_be_visible()


def test_the_admin_pages_code_is_loaded_for_administrators_alone(window: Open, customer: Shopper, admin: Shopper) -> None:
    theirs = window(admin)
    page = theirs.page()
    page.goto("/")
    account_button(page, admin.username)
    before = scripts(theirs)
    page.get_by_role("link", name="Admin", exact=True).click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    chunk = {name for name in scripts(theirs) - before if name.startswith("area-")}
    assert len(chunk) == 1, "the admin area is one chunk of its own"

    for shopper, ends in ((customer, "h1:has-text('Access denied')"), (None, "#password")):
        visit = window(shopper)
        page = visit.page()
        page.goto("/")
        if shopper is None:
            expect_guest(page)
        else:
            account_button(page, shopper.username)
        page.goto("/admin/books")
        expect(page.locator(ends)).to_be_visible(timeout=20_000)
        assert scripts(visit)
        assert not scripts(visit) & chunk


def test_a_forged_role_opens_nothing(api: httpx2.Client, people: People, mint: forged.Mint) -> None:
    real = people.customer()
    assert api.get("/ecom/cart", headers=bearer(real.tokens.access)).status_code == 200
    key = forged.public_key(api, PLACES, forged.parts(real.tokens.access)[0]["kid"])
    for kind, token in forged.forgeries(real.tokens.access, key).items():
        for path in ("/admin/summary", "/admin/books", "/admin/stock", "/admin/orders"):
            assert problem_of(api.get(path, headers=bearer(token))) == (401, "unauthenticated"), kind
    # Said beside a good token it is not heard either; nor are roles that only look like the right one.
    for name in ("X-Roles", "X-User-Roles", "X-Forwarded-User", "X-Jwt-Payload", "X-Auth-Request-Groups"):
        assert real.send("GET", "/admin/summary", headers={name: "admin"}).status_code == 403
    usual = {"aud": "bookstore-api", "azp": "ui-client", "sub": "live-forged"}
    for roles in (["Admin"], ["administrator"], "customer admin", {"admin": True}):
        answer = api.get("/admin/summary", headers=bearer(mint.token(lifetime=30, claims={**usual, "roles": roles})))
        assert answer.status_code in {401, 403}, roles


def test_who_comes_after_an_administrator_finds_nothing(
    window: Open, people: People, trust: Trust, secret: Callable[[str, str], Hidden]
) -> None:
    """The same tab, another account: neither link nor page stays."""
    account = people.account()
    # A session of its own, for it ends here.
    with Shopper(trust, PLACES, "admin1", secret("demo-users", "admin1")) as before:
        page = window(before).page()
        page.goto("/admin/orders")
        expect(page.get_by_role("form", name="Filter orders").get_by_role("status")).to_be_visible(timeout=20_000)
        sign_out(page, before.username)
        expect_guest(page)
    page.go_back()
    expect(page.locator("#password")).to_be_visible(timeout=20_000)
    sign_in(page, account, account.password)
    expect(page.get_by_role("heading", name="Access denied")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("table")).to_have_count(0)
    expect(page.get_by_role("link", name="Admin", exact=True)).to_have_count(0)
