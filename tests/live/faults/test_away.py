"""Keycloak that stays away: whoever has a token reads, fills the cart and buys, and is never told that the token is not valid."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from itertools import cycle

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from ..goods import Goods
from ..people import People
from ..signin import RENEW_SECONDS, SHIPPING, Shopper, SignInError, bearer, body_of
from ..waiting import until
from ..workloads import Workloads
from .breakage import Breakage
from .conftest import report

pytestmark = pytest.mark.timeout(1800)

AWAY_SECONDS = 600
# SPEC 5.1 allows each customer ten checkouts a minute.
PAUSE_SECONDS = 7
# A part that is started again answers within this time.
RESTART_SECONDS = 120
# What is started again meanwhile, one after the other: namespace, workload, container. istiod's pods carry another label.
RESTARTED = (
    ("ecom", "ecom-api", "ecom-api"), ("inventory", "inventory-api", "inventory-api"), ("infra", "redis", "redis"),
)  # fmt: skip


class Waiting:
    """A customer whose page keeps the token that it has, because nobody can renew it."""

    def __init__(self, shopper: Shopper) -> None:
        shopper.csrf()
        self.shopper = shopper
        self.told: Counter[int] = Counter()

    def send(self, method: str, path: str, json: object = None, headers: dict[str, str] | None = None) -> int:
        """Send with the token at hand, whether it has ended or not; returns the status."""
        places = self.shopper.places
        usual = bearer(self.shopper.tokens.access)
        if method != "GET":
            usual = {**usual, **self.shopper.csrf(), "Origin": places.shop}
        answer = self.shopper.client.request(method, f"{places.api}{path}", json=json, headers={**usual, **(headers or {})})
        self.told[answer.status_code] += 1
        assert answer.status_code != 401, f"{method} {path}: {answer.text}"
        if answer.status_code == 403 and answer.json()["code"] == "csrf_invalid":
            token = self.shopper.client.get(f"{places.api}/ecom/csrf-token", headers=bearer(self.shopper.tokens.access))
            assert token.status_code != 401, token.text
            if token.is_success:
                self.shopper.use_csrf(token.json()["token"])
        return answer.status_code

    def buys(self, book: str) -> bool:
        """Put one copy into the cart and order it; whether that was answered with an order."""
        if self.send("POST", "/ecom/cart/items", {"book_id": book, "quantity": 1}) != 200:
            return False
        cart = self.shopper.client.get(f"{self.shopper.places.api}/ecom/cart", headers=bearer(self.shopper.tokens.access))
        if not cart.is_success:
            return False
        order = {"shipping": SHIPPING, "expected_total": cart.json()["total"]}
        return self.send("POST", "/ecom/checkout", order, {"Idempotency-Key": str(uuid.uuid4())}) == 201


def test_keycloak_away_for_ten_minutes_with_restarts_in_between(cluster: Cluster, people: People, goods: Goods, breakage: Breakage) -> None:
    book = goods.book(copies=500)
    customer = Waiting(people.customer())
    ended = float(customer.shopper.tokens.claims["exp"])
    workloads, bought, after_the_end = Workloads(cluster), 0, 0
    faults = cycle(RESTARTED)
    with workloads.without("Deployment", "identity", "keycloak"):
        began = time.monotonic()
        restart = began + 60
        while time.monotonic() - began < AWAY_SECONDS:
            round_began = time.monotonic()
            if round_began > restart:
                namespace, name, container = next(faults)
                breakage.kill(namespace, name, container)
                if name == "redis":
                    gateway = cluster.objects("Pod", "gateway", labelSelector="gateway.networking.k8s.io/gateway-name=bookstore-gateway")
                    for pod in gateway:
                        cluster.raw(f"/api/v1/namespaces/gateway/pods/{pod['metadata']['name']}", "DELETE")
                until(lambda: customer.buys(book["id"]), f"orders to be answered after the end of {name}", RESTART_SECONDS, 7)
                restart = time.monotonic() + 100
            assert customer.buys(book["id"]) or customer.told[429], customer.told
            bought += 1
            after_the_end += time.time() > ended + RENEW_SECONDS
            pause(round_began)
    assert after_the_end > 10, "the token must have ended meanwhile, or nothing was proven"
    until(lambda: renewed(customer.shopper), "tokens to be renewed again", 60, pause=2)
    assert body_of(customer.shopper.get("/ecom/orders"))["total"] >= bought
    report("test_keycloak_away_for_ten_minutes", {"orders": bought, "after the token's end": after_the_end, "answers": dict(customer.told)})


def renewed(shopper: Shopper) -> bool:
    """Whether the session that Keycloak keeps still gives tokens."""
    before = shopper.tokens
    try:
        shopper.refresh()
    except (SignInError, httpx2.HTTPError, ValueError):  # it is still starting
        return False
    return shopper.tokens is not before


def pause(since: float) -> None:
    """Let the time between two orders pass."""
    until(lambda: time.monotonic() - since > PAUSE_SECONDS, "the next order", 60)
