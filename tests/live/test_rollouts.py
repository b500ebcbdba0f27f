"""Rolling updates fail no request (SPEC 5.1): each service is rolled while shoppers and administrators use it."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster, Object, path_of

from .goods import Goods
from .people import People
from .signin import Shopper
from .waiting import until
from .workloads import SERVICES, Workloads

pytestmark = pytest.mark.timeout(600)
# Requests of each kind a second: far below the limits of one customer (300 reads, 60 changes, 10 checkouts a minute).
PACE = {"read": 4.0, "order": 0.12}


def roll(cluster: Cluster, namespace: str, name: str) -> None:
    """Replace the pods of a Deployment, as a changed configuration would; returns when the new ones alone are there."""
    workloads = Workloads(cluster)
    before = {pod["metadata"]["uid"] for pod in workloads.pods(namespace, name)}
    path = path_of("Deployment", namespace, name)
    deployment: Object = json.loads(cluster.raw(path))
    deployment["spec"]["template"]["metadata"].setdefault("annotations", {})["bookstore.platform/rolled-by-test"] = uuid.uuid4().hex
    cluster.raw(path, "PUT", deployment)

    def replaced() -> bool:
        uids = {pod["metadata"]["uid"] for pod in workloads.pods(namespace, name)}
        return bool(uids) and not uids & before and len(workloads.ready(namespace, name)) == len(uids)

    until(replaced, f"{namespace}/{name} to be rolled", 180, pause=0.5)


def test_rolling_updates_fail_no_request(cluster: Cluster, people: People, goods: Goods, api: httpx2.Client, admin1: Shopper) -> None:
    book = goods.book(copies=100)
    customer, buyer = people.customers(2)
    customer.csrf()
    buyer.csrf()
    over = Event()
    told: Counter[tuple[str, int]] = Counter()

    def order() -> httpx2.Response:
        filled = buyer.send("POST", "/ecom/cart/items", {"book_id": book["id"], "quantity": 1})
        if filled.status_code != 200:
            return filled
        return buyer.checkout(str(uuid.uuid4()), filled.json()["total"])

    def use(name: str, pace: float, send: Callable[[], httpx2.Response]) -> None:
        while not over.is_set():
            began = time.monotonic()
            told[name, send().status_code] += 1
            over.wait(max(0.0, 1 / pace - (time.monotonic() - began)))

    uses = [
        ("catalogue", PACE["read"], lambda: api.get("/ecom/books")),
        ("stock", PACE["read"], lambda: api.get(f"/inven/stock/{book['id']}")),
        ("cart", PACE["read"], lambda: customer.get("/ecom/cart")),
        ("admin", PACE["read"], lambda: admin1.get("/admin/books?size=1")),
        ("order", PACE["order"], order),
    ]
    with ThreadPoolExecutor(len(uses)) as pool:
        running = [pool.submit(use, *one) for one in uses]
        try:
            for namespace, name in SERVICES:
                roll(cluster, namespace, name)
        finally:
            over.set()
        for one in running:
            one.result()
    expected = {"catalogue": 200, "stock": 200, "cart": 200, "admin": 200, "order": 201}
    assert {name: {status for which, status in told if which == name} for name in expected} == {n: {s} for n, s in expected.items()}, told
    assert len(goods.orders(book["id"])) == told["order", 201]
