"""Away, not killed: each component, a worker node and the nodes' registry stay away for ten minutes, and come back.

Meanwhile a customer and an administrator do what they always do. What does not need the missing component is answered as ever; what
needs it is told so (502 to 504, problem+json), soon, and never taken for refused. Tokens end meanwhile, and are renewed where that is
possible. Afterwards all laws hold, without a hand.

BOOKSTORE_AWAY_SECONDS makes it shorter, for a try; the report says for how long it was.
"""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from ..conftest import SHOP_ORIGIN
from ..declared import NETWORK
from ..goods import Goods
from ..laws import Laws
from ..people import People
from ..signin import RENEW_SECONDS, SHIPPING, NoCsrfTokenError, Shopper, SignInError, bearer
from ..waiting import until
from ..workloads import Workloads
from .absences import AWAY, COMPONENTS, KEYCLOAK_AWAY, NEEDS, RENEW, Component
from .breakage import on_node
from .conftest import report

AWAY_SECONDS = float(os.environ.get("BOOKSTORE_AWAY_SECONDS", "600"))
pytestmark = pytest.mark.timeout(AWAY_SECONDS + 2400)
# SPEC 5.1 allows each customer ten checkouts a minute.
ROUND_SECONDS = 7
# The gateway gives up after 15 s (SPEC 4.1).
ANSWER_SECONDS = 20
BACK_SECONDS = 300
# A checkout that was cut off may leave its hold, which ends by itself (reservation_hold_seconds of inventory), and what looks for it.
HOLD_SECONDS = 900 + 120
WORKER = "bookstore-worker2"
REGISTRY = "bookstore-registry"


class Day:
    """What a customer and an administrator do in one round, and what they are told."""

    def __init__(self, customer: Shopper, admin: Shopper, book: str) -> None:
        customer.csrf()
        self._customer, self._admin, self.book = customer, admin, book
        self.told: dict[str, Counter[str]] = {activity: Counter() for activity in NEEDS}
        self.slowest: dict[str, float] = dict.fromkeys(NEEDS, 0.0)
        self.placed: set[str] = set()
        # What the last round was refused.
        self.refused: list[str] = []

    def round(self, tolerated: Callable[[str], bool]) -> None:
        """Do everything once; AssertionError when an answer is not to be defended."""
        began = time.monotonic()
        self.refused = []
        api = self._customer.places.api
        for who in (self._customer, self._admin):
            if who.tokens.claims["exp"] - time.time() < RENEW_SECONDS:
                self._ask(RENEW, tolerated, who.refresh)
        self._ask("shop page", tolerated, lambda: self._customer.client.get(f"{SHOP_ORIGIN}/"))
        self._ask("books", tolerated, lambda: self._customer.client.get(f"{api}/ecom/books"))
        self._ask("own orders", tolerated, lambda: self._get(self._customer, "/ecom/orders"))
        self._ask("all orders", tolerated, lambda: self._get(self._admin, "/admin/orders"))
        self._ask("stock", tolerated, lambda: self._get(self._admin, "/admin/stock"))
        line = {"book_id": self.book, "quantity": 1}
        cart = self._ask("put into cart", tolerated, lambda: self._send("/ecom/cart/items", line))
        if cart is not None:
            order = {"shipping": SHIPPING, "expected_total": cart["total"]}
            key = {"Idempotency-Key": str(uuid.uuid4())}
            made = self._ask("checkout", tolerated, lambda: self._send("/ecom/checkout", order, key))
            if made is not None:
                self.placed.add(made["id"])
        until(lambda: time.monotonic() - began > ROUND_SECONDS, "the next round", 120)

    def buys(self) -> bool:
        """Whether a round is answered as ever, orders included."""
        before = len(self.placed)
        self.round(lambda _activity: True)
        return len(self.placed) > before

    def renews(self) -> bool:
        """Whether both have their tokens renewed."""
        try:
            for who in (self._customer, self._admin):
                who.refresh()
        except (SignInError, httpx2.TransportError):
            return False
        return True

    def _get(self, who: Shopper, path: str) -> httpx2.Response:
        return who.client.get(f"{who.places.api}{path}", headers=bearer(who.tokens.access))

    def _send(self, path: str, body: object, headers: dict[str, str] | None = None, again: bool = True) -> httpx2.Response:
        who = self._customer
        usual = {**bearer(who.tokens.access), **who.csrf(), "Origin": who.places.shop}
        answer = who.client.post(f"{who.places.api}{path}", json=body, headers={**usual, **(headers or {})})
        if again and answer.status_code == 403 and answer.json()["code"] == "csrf_invalid":
            # Redis came back without it: the page asks for another one, and sends again.
            token = self._get(who, "/ecom/csrf-token")
            if not token.is_success:
                return token
            who.use_csrf(token.json()["token"])
            return self._send(path, body, headers, again=False)
        return answer

    def _ask(self, activity: str, tolerated: Callable[[str], bool], ask: Callable[[], httpx2.Response | None]) -> dict[str, str] | None:
        began = time.monotonic()
        try:
            answer = ask()
            told, text = (answer.status_code, answer.text[:300]) if answer is not None else (200, "")
        except NoCsrfTokenError as error:
            answer, told, text = None, error.status, "no CSRF token"
        except SignInError as error:
            answer, told, text = None, error.status, str(error)
        except httpx2.TransportError as error:
            # Nobody is behind the node port.
            if not tolerated(activity):
                raise AssertionError(f"{activity}: {error!r}") from error
            self.told[activity][type(error).__name__] += 1
            return None
        took = time.monotonic() - began
        self.slowest[activity] = max(self.slowest[activity], took)
        self.told[activity][str(told)] += 1
        assert took < ANSWER_SECONDS, f"{activity}: answered {told} after {took:.1f} s"
        if told == 200 and answer is None:
            return None
        if answer is not None and answer.is_success:
            return answer.json() if activity in ("put into cart", "checkout") else None
        self.refused.append(f"{activity}: {told} {text}")
        if told == 429:
            return None
        assert tolerated(activity), f"{activity}: {told} {text}"
        assert told in (KEYCLOAK_AWAY if activity == RENEW else AWAY), f"{activity}: {told} {text}"
        if answer is not None:
            assert answer.headers["content-type"].startswith("application/problem+json"), f"{activity}: {told} {answer.headers}"
        return None


@pytest.fixture
def day(people: People, goods: Goods) -> Day:
    """A customer and an administrator who signed in before."""
    return Day(people.customer(), people.administrator(), goods.book(copies=1000)["id"])


def spend(day: Day, tolerated: Callable[[str], bool]) -> int:
    """The time away; the number of rounds."""
    began, rounds = time.monotonic(), 0
    while time.monotonic() - began < AWAY_SECONDS:
        day.round(tolerated)
        rounds += 1
    return rounds


def back_to_normal(name: str, day: Day, laws: Laws, rounds: int, dead_letters: Callable[[], list[str]]) -> None:
    """Wait until people buy again and all laws hold; report what was seen."""
    began = time.monotonic()
    until(day.buys, "orders to be answered again", BACK_SECONDS, pause=1)
    buys_after = round(time.monotonic() - began, 1)
    # Services believe tokens that have ended while nobody can renew them; the next one who signs in needs the realm.
    until(day.renews, "tokens to be renewed again", BACK_SECONDS, pause=1)
    renewed_after = round(time.monotonic() - began, 1)
    try:
        until(lambda: not laws.broken(), "all laws", BACK_SECONDS, pause=1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {laws.broken()}") from error
    after = round(time.monotonic() - began, 1)
    try:
        until(lambda: not laws.broken_stock([day.book]), "copies, movements and orders to agree", HOLD_SECONDS, pause=1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {laws.broken_stock([day.book])}") from error
    assert not dead_letters(), f"{dead_letters()}"
    known = set(laws.ecom("SELECT id FROM orders").split())
    assert not day.placed - known, "orders that were answered are gone"
    report(f"away {name}", {
        "away_seconds": AWAY_SECONDS, "rounds": rounds, "orders": len(day.placed),
        "told": {activity: dict(told) for activity, told in day.told.items()},
        "slowest_seconds": {activity: round(took, 1) for activity, took in day.slowest.items()},
        "orders_again_after_seconds": buys_after, "tokens_again_after_seconds": renewed_after, "laws_after_seconds": after,
        "stock_after_seconds": round(time.monotonic() - began, 1),
    })  # fmt: skip


@contextmanager
def missing(cluster: Cluster, one: Component) -> Iterator[None]:
    """No pod of the component inside of the block, and nobody waits for it afterwards: that is measured."""
    workloads = Workloads(cluster)
    with ExitStack() as kept:
        if one.keeper:
            replicas = workloads.scale("Deployment", *one.keeper, 0)
            kept.callback(workloads.scale, "Deployment", *one.keeper, replicas)
        with _scaled_away(cluster, workloads, one):
            yield


@contextmanager
def _scaled_away(cluster: Cluster, workloads: Workloads, one: Component) -> Iterator[None]:
    before = workloads.scale(one.kind, one.namespace, one.name, 0)
    assert before > 0, f"{one.namespace}/{one.name} was already gone"
    label = one.label or f"app.kubernetes.io/name={one.name}"
    try:
        # The gateway lets connections end by themselves for a while.
        until(lambda: not cluster.objects("Pod", one.namespace, labelSelector=label), f"the pods of {one.id} to end", 300)
        yield
    except BaseException:
        # The tests after this one, and what clears up after it, need it.
        workloads.scale(one.kind, one.namespace, one.name, before)
        until(lambda: _serves(cluster, one, label, before), f"{one.id} to be back after the failure", BACK_SECONDS, pause=1)
        raise
    workloads.scale(one.kind, one.namespace, one.name, before)


def _serves(cluster: Cluster, one: Component, label: str, replicas: int) -> bool:
    pods = cluster.objects("Pod", one.namespace, labelSelector=label)
    ready = [
        pod for pod in pods
        if any(fact["type"] == "Ready" and fact["status"] == "True" for fact in pod["status"].get("conditions", []))
    ]  # fmt: skip
    return len(ready) == replicas


def test_every_workload_has_a_row(cluster: Cluster) -> None:
    spaces = {row["name"] for row in NETWORK["bookstore_namespaces"]} | {"istio-system", "kube-system"}
    there = {
        (kind, item["metadata"]["namespace"], item["metadata"]["name"])
        for kind in ("Deployment", "StatefulSet") for space in spaces for item in cluster.objects(kind, space)
    }  # fmt: skip
    assert there == {(one.kind, one.namespace, one.name) for one in COMPONENTS}


@pytest.mark.parametrize("one", COMPONENTS, ids=[one.id for one in COMPONENTS])
def test_a_component_away(cluster: Cluster, laws: Laws, day: Day, dead_letters: Callable[[], list[str]], one: Component) -> None:
    assert day.buys(), day.refused
    with missing(cluster, one):
        rounds = spend(day, one.tolerated)
    back_to_normal(one.id, day, laws, rounds, dead_letters)


def test_what_no_shopper_needs_away_together(cluster: Cluster, laws: Laws, day: Day, dead_letters: Callable[[], list[str]]) -> None:
    """Everything that shop and administration do without is away at once, and comes back at once."""
    silent = [one for one in COMPONENTS if not any(one.tolerated(activity) for activity in NEEDS)]
    assert day.buys(), day.refused
    with ExitStack() as away:
        # Left in the order of the table, databases and broker first: what fails waits for each to serve again.
        for one in reversed(silent):
            away.enter_context(missing(cluster, one))
        rounds = spend(day, lambda _activity: False)
    back_to_normal(", ".join(one.id for one in silent), day, laws, rounds, dead_letters)


def test_the_registry_of_the_nodes_away(laws: Laws, day: Day, dead_letters: Callable[[], list[str]]) -> None:
    assert day.buys(), day.refused
    subprocess.run(["docker", "stop", REGISTRY], check=True, capture_output=True, timeout=60)
    try:
        rounds = spend(day, lambda _activity: False)
    finally:
        subprocess.run(["docker", "start", REGISTRY], check=True, capture_output=True, timeout=60)
    back_to_normal("registry", day, laws, rounds, dead_letters)


def test_a_worker_node_away(cluster: Cluster, laws: Laws, day: Day, dead_letters: Callable[[], list[str]]) -> None:
    """What ran there is told to be away until Kubernetes starts it elsewhere (after five minutes), or the node is back."""
    assert day.buys(), day.refused
    assert on_node(WORKER, "hostname").strip() == WORKER
    subprocess.run(["docker", "pause", WORKER], check=True, capture_output=True, timeout=60)
    try:
        rounds = spend(day, lambda _activity: True)
    finally:
        subprocess.run(["docker", "unpause", WORKER], check=True, capture_output=True, timeout=60)
    ready = "the node to be ready again"
    until(lambda: all(
        fact["status"] == "True"
        for node in cluster.objects("Node") for fact in node["status"]["conditions"] if fact["type"] == "Ready"
    ), ready, BACK_SECONDS)  # fmt: skip
    back_to_normal("worker node", day, laws, rounds, dead_letters)
