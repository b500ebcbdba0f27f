"""T-13: what changes something needs a CSRF token of its session and the shop's origin; who is too fast has to wait; without Redis no."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import Response, expect

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster
from tests.live.conftest import API, PLACES, SHOP_ORIGIN
from tests.live.documents import NOTHING, operations
from tests.live.goods import Goods
from tests.live.people import People
from tests.live.signin import SAFE_METHODS, Hidden, Shopper, body_of, problem_of
from tests.live.tls import Trust
from tests.live.waiting import until
from tests.live.workloads import Workloads

from .steps import account_button
from .window import Window

Open = Callable[..., Window]
Redis = Callable[..., str]
CHANGES = [one for one in operations() if one.listener == "public" and one.method not in SAFE_METHODS and one.roles is not None]
REFUSED = (403, "csrf_invalid")
UNAVAILABLE = (503, "dependency_unavailable")


@pytest.fixture
def redis(cluster: Cluster) -> Redis:
    """Run a command in Redis as its operator, whose password stays in the container."""
    command = ["sh", "-c", 'REDISCLI_AUTH=$(cat /etc/redis-auth/operator) exec redis-cli --user operator -e "$@"', "redis-cli"]
    return lambda *words: cluster.execute("infra", "redis-0", "redis", [*command, *words], timeout=20).strip()


def expire(redis: Redis, sid: object) -> None:
    """Let a session's CSRF tokens end now instead of in half an hour."""
    key = f"csrf:{sid}"
    assert 0 < int(redis("TTL", key)) <= 1800
    assert redis("PEXPIRE", key, "1") == "1"
    until(lambda: redis("EXISTS", key) == "0", "the tokens to end", 5)


def empty_cart(shopper: Shopper, headers: dict[str, str]) -> httpx2.Response:
    """A change with exactly these headers beside the access token."""
    return shopper.client.delete(f"{API}/ecom/cart", headers={**shopper.bearer(), **headers})


def is_answer(method: str, path: str) -> Callable[[Response], bool]:
    return lambda answer: answer.request.method == method and answer.url.partition("?")[0] == f"{API}{path}"


def test_missing_token(people: People, goods: Goods, admin: Shopper) -> None:
    """Every operation that changes something asks for it, and nothing changes without."""
    book, customer = goods.book(copies=3), people.customer()
    customer.add(book["id"])
    assert {one.name.partition(".")[0] for one in CHANGES} == {"ecom", "admin"}
    for one in CHANGES:
        caller = admin if one.name.startswith("admin.") else customer
        answer = caller.client.request(one.method, f"{API}{one.path}", headers={**caller.bearer(), "Origin": SHOP_ORIGIN})
        assert problem_of(answer) == REFUSED, str(one)
    assert customer.cart()["count"] == 1
    assert goods.orders(book["id"]) == set()


def test_wrong_token(people: People, goods: Goods) -> None:
    customer, book = people.customer(), goods.book(copies=3)
    customer.add(book["id"])
    good = customer.csrf()["X-CSRF-Token"]
    swapped = good[:-2] + ("AA" if good[-2:] != "AA" else "BB")
    for token in ("", "A" * 43, good[:-1], good + "A", swapped, good.swapcase(), "x" * 5000):
        assert problem_of(empty_cart(customer, {"X-CSRF-Token": token})) == REFUSED, len(token)
    twice = [*customer.bearer().items(), ("X-CSRF-Token", good), ("X-CSRF-Token", swapped)]
    assert problem_of(customer.client.delete(f"{API}/ecom/cart", headers=twice)) == REFUSED
    # Nor is it looked for anywhere else.
    assert problem_of(customer.client.delete(f"{API}/ecom/cart?csrf_token={NOTHING}", headers=customer.bearer())) == REFUSED
    assert customer.cart()["count"] == 1
    assert empty_cart(customer, {"X-CSRF-Token": good}).status_code == 204


def test_foreign_token(people: People, trust: Trust) -> None:
    """Neither another customer's, nor one's own of another session."""
    mine, other = people.customers(2)
    assert problem_of(empty_cart(mine, other.csrf())) == REFUSED
    account = people.account()
    with Shopper(trust, PLACES, account.username, account.password) as here:
        with Shopper(trust, PLACES, account.username, account.password) as there:
            assert (here.sub, here.tokens.claims["sid"] == there.tokens.claims["sid"]) == (there.sub, False)
            assert problem_of(empty_cart(here, there.csrf())) == REFUSED
            assert empty_cart(there, there.csrf()).status_code == 204
        assert empty_cart(here, here.csrf()).status_code == 204


def test_expired_token(people: People, redis: Redis) -> None:
    customer = people.customer()
    sid = customer.tokens.claims["sid"]
    token = customer.csrf()
    assert redis("EXPIRE", f"csrf:{sid}", "600") == "1"
    assert empty_cart(customer, token).status_code == 204
    # Used, so it lives for another half an hour.
    assert int(redis("TTL", f"csrf:{sid}")) > 1700
    expire(redis, sid)
    assert problem_of(empty_cart(customer, token)) == REFUSED
    assert customer.get("/ecom/cart").status_code == 200
    # Five may live, for tabs; the sixth takes the place of the one that was unused for longest.
    tokens = [Hidden(body_of(customer.get("/ecom/csrf-token"))["token"]) for _ in range(6)]
    assert [empty_cart(customer, {"X-CSRF-Token": one}).status_code for one in tokens] == [403, *[204] * 5]


def test_the_shop_fetches_a_new_token_and_nobody_notices(window: Open, people: People, goods: Goods, redis: Redis) -> None:
    book, customer = goods.book(copies=9), people.customer()
    visit = window(customer)
    page = visit.page()
    page.goto(f"/books/{book['id']}")
    account_button(page, customer.username)
    page.get_by_role("button", name=f"Add to cart: {book['title']}").click()
    expect(page.get_by_role("link", name="Cart, 1 item", exact=True)).to_be_visible()
    expire(redis, customer.tokens.claims["sid"])
    del visit.requests[:]
    page.get_by_role("button", name=re.compile(f": {book['title']}$")).click()
    expect(page.get_by_role("link", name="Cart, 2 items", exact=True)).to_be_visible()

    answers = [one.response() for one in visit.asked("POST", "/ecom/cart/items")]
    assert [answer.status for answer in answers if answer is not None] == [403, 200]
    assert len(visit.asked("GET", "/ecom/csrf-token")) == 1
    expect(page.locator(".notice[data-kind=bad]")).to_have_count(0)
    assert customer.cart()["count"] == 2


def test_origin_mismatch(people: People, goods: Goods) -> None:
    customer, book = people.customer(), goods.book(copies=3)
    customer.add(book["id"])
    token = customer.csrf()
    host = SHOP_ORIGIN.removeprefix("https://")
    strange = [
        "https://evil.test", "null", f"http://{host}", SHOP_ORIGIN.rpartition(":")[0], f"{SHOP_ORIGIN}.evil.test", f"https://evil.{host}",
        f"{SHOP_ORIGIN}/", PLACES.api, PLACES.id, "",
    ]  # fmt: skip
    for origin in strange:
        assert problem_of(empty_cart(customer, {**token, "Origin": origin})) == (403, "origin_mismatch"), origin
    twice = [*customer.bearer().items(), *token.items(), ("Origin", SHOP_ORIGIN), ("Origin", "https://evil.test")]
    assert problem_of(customer.client.delete(f"{API}/ecom/cart", headers=twice)) == (403, "origin_mismatch")
    assert customer.cart()["count"] == 1
    assert empty_cart(customer, {**token, "Origin": SHOP_ORIGIN}).status_code == 204


def test_too_many_requests_wait_as_long_as_they_are_told(window: Open, people: People, goods: Goods) -> None:
    book, customer = goods.book(copies=9), people.customer()
    page = window(customer).page()
    page.goto(f"/books/{book['id']}")
    account_button(page, customer.username)
    # Ten checkouts a minute, of which each may fail for another reason.
    answers = [customer.checkout(str(uuid.uuid4()), "1.00") for _ in range(10)]
    assert {problem_of(answer) for answer in answers} == {(400, "cart_empty")}
    left = [int(answer.headers["ratelimit-remaining"]) for answer in answers]
    assert left == list(range(9, -1, -1))
    over = customer.checkout(str(uuid.uuid4()), "1.00")
    assert problem_of(over) == (429, "rate_limited")
    assert (over.headers["ratelimit-limit"], over.headers["ratelimit-remaining"]) == ("10", "0")
    assert 1 <= int(over.headers["retry-after"]) == int(over.headers["ratelimit-reset"]) <= 60

    # Sixty changes a minute: the shop says how long to wait, and reading goes on.
    spent = [empty_cart(customer, customer.csrf()) for _ in range(60)]
    assert {answer.status_code for answer in spent} <= {204, 429}
    with page.expect_response(is_answer("POST", "/ecom/cart/items")) as answered:
        page.get_by_role("button", name=f"Add to cart: {book['title']}").click()
    refused = answered.value
    assert refused.status == 429
    seconds = int(refused.header_value("retry-after") or 0)
    assert 1 <= seconds <= 60
    words = "1 second" if seconds == 1 else f"{seconds} seconds"
    expect(page.get_by_text(f"A little too fast. Please try again in {words}.")).to_be_visible()
    expect(page.get_by_role("link", name="Cart, 0 items", exact=True)).to_be_visible()
    page.goto("/cart")
    expect(page.get_by_role("heading", name="Your cart is empty")).to_be_visible()


def test_each_customer_has_a_bucket_of_their_own(people: People, api: httpx2.Client) -> None:
    fast, other = people.customers(2)
    for _ in range(30):
        assert fast.get("/ecom/csrf-token").status_code == 200
    over = fast.get("/ecom/csrf-token")
    assert problem_of(over) == (429, "rate_limited")
    assert (over.headers["ratelimit-limit"], over.headers["ratelimit-remaining"]) == ("30", "0")
    # It is this customer's, on this kind of request.
    fresh = other.get("/ecom/csrf-token")
    assert (fresh.status_code, fresh.headers["ratelimit-remaining"]) == (200, "29")
    read = fast.get("/ecom/cart")
    assert (read.status_code, read.headers["ratelimit-limit"]) == (200, "300")
    # Nor does a new session help: the bucket is the person's, not the token's.
    fast.refresh()
    assert fast.get("/ecom/csrf-token").status_code == 429
    anonymous = api.get("/ecom/books?size=1")
    assert (anonymous.status_code, anonymous.headers["ratelimit-limit"]) == (200, "1200")


@pytest.mark.serial
@pytest.mark.timeout(600)
def test_without_redis_nothing_is_changed_and_everything_can_be_read(window: Open, people: People, goods: Goods, cluster: Cluster) -> None:
    book, customer = goods.book(copies=9), people.customer()
    workloads = Workloads(cluster)
    page = window(customer).page()
    page.goto(f"/books/{book['id']}")
    account_button(page, customer.username)
    add = page.get_by_role("button", name=re.compile(f": {book['title']}$"))
    add.click()
    expect(page.get_by_role("link", name="Cart, 1 item", exact=True)).to_be_visible()
    total = customer.cart()["total"]
    customer.csrf()
    with workloads.without("StatefulSet", "infra", "redis"):
        for answer in (
            customer.checkout(str(uuid.uuid4()), total), customer.send("DELETE", "/ecom/cart"), customer.get("/ecom/csrf-token"),
        ):  # fmt: skip
            assert problem_of(answer) == UNAVAILABLE
        assert problem_of(empty_cart(customer, {})) == REFUSED
        # Nobody counts, so nobody is turned away.
        read = customer.get("/ecom/cart")
        assert (read.status_code, read.json()["count"], "ratelimit-limit" in read.headers) == (200, 1, False)
        add.click()
        expect(page.get_by_text("The shop is catching its breath. A part of it does not answer.")).to_be_visible()
        expect(page.get_by_role("link", name="Cart, 1 item", exact=True)).to_be_visible()
        page.get_by_role("link", name="Marginalia").click()
        expect(page.get_by_test_id("book-card").first).to_be_visible()
        page.go_back()
        expect(add).to_be_enabled()
        assert goods.orders(book["id"]) == set()
    until(lambda: customer.send("GET", "/ecom/csrf-token").status_code == 200, "the services to find Redis again", 60)
    # The same page, not reloaded: its token is still there.
    add.click()
    expect(page.get_by_role("link", name="Cart, 2 items", exact=True)).to_be_visible()
