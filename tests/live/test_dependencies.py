"""What the services answer while Redis, Inventory or Keycloak is down, and that they recover by themselves (SPEC 3, 5.1, 5.3).

Each test takes a part of the running platform away for a while and brings it back, whatever happens.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event, Lock

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from .conftest import API, PLACES
from .goods import Goods, Sql
from .people import People
from .signin import Hidden, Shopper, body_of, problem_of
from .tls import Trust
from .waiting import until
from .workloads import SERVICES, Workloads

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def workloads(cluster: Cluster) -> Iterator[Workloads]:
    """Fails if a service's pod is another one, or its container another process, at the end."""
    workloads = Workloads(cluster)
    before = workloads.identities()
    yield workloads
    assert workloads.identities() == before, "a service's pod was replaced or restarted"


def new_key() -> str:
    return str(uuid.uuid4())


def works(shopper: Shopper, total: str) -> bool:
    """Whether a checkout succeeds again; a new key each time, as of a customer who presses the button again."""
    return shopper.checkout(new_key(), total).status_code == 201


def test_without_redis_nothing_changes_and_everything_can_be_read(
    people: People, goods: Goods, workloads: Workloads, api: httpx2.Client, admin1: Shopper
) -> None:
    book, customer = goods.book(copies=5), people.customer()
    total = customer.add(book["id"])["total"]
    admin1.csrf()
    with workloads.without("StatefulSet", "infra", "redis"):
        for path in ("/ecom/books", f"/ecom/books/{book['id']}", "/ecom/genres", f"/inven/stock/{book['id']}"):
            assert api.get(path).status_code == 200, path
        for path in ("/ecom/cart", "/ecom/orders"):
            answer = customer.get(path)
            assert answer.status_code == 200, answer.text
            # Nobody counts.
            assert not [name for name in answer.headers if name.startswith("ratelimit")]
        assert admin1.get("/admin/summary").status_code == 200
        refused = [
            customer.checkout(new_key(), total),
            customer.send("POST", "/ecom/cart/items", {"book_id": book["id"], "quantity": 1}),
            customer.send("DELETE", "/ecom/cart"),
            customer.get("/ecom/csrf-token"),
            admin1.send("POST", f"/admin/stock/{book['id']}/adjust", {"delta": 1, "reason": "found"}),
        ]
        assert [problem_of(answer) for answer in refused] == [(503, "dependency_unavailable")] * len(refused)
        # Without CSRF token it is wrong, whatever Redis might say.
        bare = customer.client.delete(f"{API}/ecom/cart", headers=customer.bearer())
        assert problem_of(bare) == (403, "csrf_invalid")
        assert customer.cart()["count"] == 1
        assert goods.orders(book["id"]) == set()
    # The append-only file brought the CSRF tokens back.
    until(lambda: works(customer, total), "checkout with the CSRF token of before", 60)
    assert len(goods.orders(book["id"])) == 1
    assert "ratelimit-remaining" in customer.get("/ecom/cart").headers


def test_without_inventory_there_is_no_order(people: People, goods: Goods, cluster: Cluster, api: httpx2.Client, admin1: Shopper) -> None:
    workloads = Workloads(cluster)
    book, customer = goods.book(copies=5), people.customer()
    total, key = customer.add(book["id"])["total"], new_key()
    others = {name: seen for name, seen in workloads.identities().items() if not name.startswith("inventory-api")}
    with workloads.without("Deployment", "inventory", "inventory-api"):
        answer = customer.checkout(key, total)
        assert problem_of(answer) == (503, "inventory_unavailable")
        assert answer.headers["retry-after"].isdigit()
        assert goods.orders(book["id"]) == goods.held(book["id"]) == set()
        assert customer.cart()["count"] == 1
        assert api.get(f"/ecom/books/{book['id']}").status_code == 200
        assert api.get(f"/inven/stock/{book['id']}").status_code in {502, 503, 504}
        assert problem_of(admin1.get("/admin/stock"))[0] == 502
        listed = body_of(admin1.get("/admin/books?size=1"))
        assert (listed["items"][0]["stock_status"], len(listed["warnings"])) == ("unknown", 1)
        summary = body_of(admin1.get("/admin/summary"))
        assert (summary["low_stock"], summary["active_books"] > 0) == (None, True)
    # The same key, as the shop retries: the breaker closes by itself.
    until(lambda: customer.checkout(key, total).status_code == 201, "checkout", 60, pause=7)
    assert len(goods.orders(book["id"])) == 1
    assert goods.orders(book["id"]) == goods.held(book["id"])
    after = workloads.identities()
    assert {name: after.get(name) for name in others} == others


def test_without_keycloak_who_is_signed_in_stays_so(
    people: People, goods: Goods, workloads: Workloads, api: httpx2.Client, trust: Trust, secret: Callable[[str, str], Hidden]
) -> None:
    book, customer = goods.book(copies=5), people.customer()
    customer.add(book["id"])
    # So that the E-Commerce API has a token for Inventory: it fetches one when it first needs it.
    body_of(customer.checkout(new_key(), customer.cart()["total"]))
    customer.add(book["id"])
    with workloads.without("Deployment", "identity", "keycloak"):
        # Not renewed meanwhile: it was made a moment ago.
        assert customer.cart()["count"] == 1
        assert body_of(customer.get("/ecom/orders"))["total"] == 1
        assert customer.send("DELETE", "/ecom/cart").status_code == 204
        forged = customer.client.get(f"{API}/ecom/books", headers={"Authorization": "Bearer forged"})
        assert forged.status_code == 401
    # Keycloak is ready; the gateway learns of it a moment later.
    discovery = f"{PLACES.issuer}/.well-known/openid-configuration"
    until(lambda: api.get(discovery).status_code == 200, "the gateway to reach Keycloak", 30)
    with Shopper(trust, PLACES, "user1", secret("demo-users", "user1")) as user1:
        assert user1.get("/ecom/orders").status_code == 200
    customer.refresh()
    cart = customer.add(book["id"])
    until(lambda: works(customer, cart["total"]), "checkout", 60, pause=7)


CUSTOMERS, ORDERS_EACH = 10, 6
# The gateway's answers in a service's place, a service's for the one behind it, and the limit for those who repeat.
NO_ANSWER = {429, 502, 503, 504}


@pytest.mark.parametrize(("namespace", "name"), SERVICES, ids=[name for _, name in SERVICES])
def test_killing_a_service_loses_no_accepted_order(
    people: People, goods: Goods, cluster: Cluster, ecom_sql: Sql, admin1: Shopper, namespace: str, name: str
) -> None:
    """The pod dies at once (no grace period) under a stream of checkouts and of an administrator who sends the orders.

    Both repeat what they got no answer to.
    """
    workloads = Workloads(cluster)
    book, customers = goods.book(copies=CUSTOMERS * ORDERS_EACH), people.customers(CUSTOMERS)
    accepted: dict[str, str] = {}
    lock, some_accepted = Lock(), Event()
    unanswered = at_death = 0

    def insist(send: Callable[[], httpx2.Response]) -> httpx2.Response:
        last: list[httpx2.Response] = []

        def done() -> bool:
            nonlocal unanswered
            try:
                last[:] = [send()]
            except httpx2.TransportError:
                last.clear()
            if last and last[0].status_code not in NO_ANSWER:
                return True
            with lock:
                unanswered += 1
            return False

        # A repeated checkout counts, too: 10 a minute are allowed.
        until(done, "an answer", 150, pause=2)
        return last[0]

    def order(customer: Shopper, key: str) -> str:
        """One copy, ordered; both steps carry a key, so they may be repeated until there is an answer."""
        guest = {"items": [{"book_id": book["id"], "quantity": 1}]}
        merged = insist(lambda: customer.send("POST", "/ecom/cart/merge", guest, {"Idempotency-Key": f"merge-{key}"}))
        total = body_of(merged)["cart"]["total"]
        return str(body_of(insist(lambda: customer.checkout(key, total)))["id"])

    def shop(customer: Shopper) -> None:
        for number in range(ORDERS_EACH):
            key = new_key()
            made = order(customer, key)
            with lock:
                accepted[key] = made
                if len(accepted) >= CUSTOMERS:
                    some_accepted.set()
            if number == 0:
                # Everybody's other orders are made while the pod dies and comes back.
                some_accepted.wait(60)

    def administer(stopped: Event) -> list[str]:
        """Send orders, one after the other; returns those that were sent."""
        sent: list[str] = []
        while not stopped.is_set():
            with lock:
                waiting = [made for made in accepted.values() if made not in sent]
            if waiting:
                send = partial(admin1.send, "PATCH", f"/admin/orders/{waiting[0]}/status", {"status": "SHIPPED"})
                answer = insist(send)
                # What got no answer may have been done: then there is nothing left to do.
                assert answer.status_code == 200 or problem_of(answer) == (409, "invalid_transition"), answer.text
                sent.append(waiting[0])
            else:
                stopped.wait(0.2)
        return sent

    def kill() -> None:
        nonlocal at_death
        assert some_accepted.wait(120), "no orders were accepted"
        (pod,) = workloads.ready(namespace, name)
        with lock:
            at_death = len(accepted)
        assert cluster.delete("Pod", namespace, pod, grace_seconds=0)

    for shopper in (*customers, admin1):
        shopper.csrf()
    with ThreadPoolExecutor(CUSTOMERS + 2) as pool:
        stopped = Event()
        killer, administrator = pool.submit(kill), pool.submit(administer, stopped)
        try:
            list(pool.map(shop, customers))
            killer.result()
            until(lambda: len(workloads.ready(namespace, name)) > 0, f"{name} to be ready", 60)
        finally:
            stopped.set()
        sent = administrator.result()
    assert CUSTOMERS <= at_death < len(accepted) == CUSTOMERS * ORDERS_EACH
    assert unanswered > 0, "nobody noticed: the pod did not die under load"
    assert goods.orders(book["id"]) == set(accepted.values())
    assert goods.held(book["id"]) == set(accepted.values())
    ours = f"FROM order_items WHERE book_id = '{book['id']}'"
    shipped = ecom_sql(f"SELECT id FROM orders WHERE status = 'SHIPPED' AND id IN (SELECT order_id {ours})").split()
    assert sorted(shipped) == sorted(sent)
    counted = ecom_sql(
        "SELECT count(DISTINCT aggregate_id) FROM outbox_events"
        f" WHERE event_type = 'order.created' AND aggregate_id IN (SELECT order_id::text {ours})"
    )
    assert int(counted) == len(accepted)
