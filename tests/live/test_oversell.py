"""Overselling is impossible: 200 checkouts at once of the last 10 copies (SPEC 5.3, 5.4)."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx2
import pytest

from ansible_collections.bookstore.platform.plugins.module_utils.kubernetes.cluster import Cluster

from .goods import Goods, Sql
from .people import People
from .signin import SHIPPING, Hidden, Shopper
from .tls import Trust
from .waiting import until

COPIES = 10
CUSTOMERS = 25
# Together below the limit of 10 checkouts a minute: a test of the stock, not of the limit.
TRIES = 8
SAMPLES, SAMPLE_SECONDS = 400, 0.04
SAMPLER = "live-sampler"


def sample(cluster: Cluster, statement: str) -> list[str]:
    r"""Rows of a query that psql repeats (``\watch``), each run with a snapshot of its own."""
    psql = "psql --host=/run/postgresql --username=postgres --dbname=inventorydb --no-psqlrc --set=ON_ERROR_STOP=1 -Atq"
    # The statement comes as an argument, so that the shell does not read it.
    script = f'export PGAPPNAME={SAMPLER}; printf "%s \\\\watch interval={SAMPLE_SECONDS} count={SAMPLES}\\n" "$1" | {psql}'
    command = ["sh", "-ec", script, "sample", " ".join(statement.split())]
    return cluster.execute("inventory", "inventory-db-0", "postgresql", command, timeout=90).split()


@pytest.mark.timeout(300)
def test_200_checkouts_of_10_copies_make_10_orders(
    cluster: Cluster, trust: Trust, people: People, goods: Goods, inventory_sql: Sql
) -> None:
    book = goods.book(copies=COPIES)
    customers = people.customers(CUSTOMERS)
    carts = {customer.sub: customer.add(book["id"]) for customer in customers}
    tries = [(customer, Hidden(customer.csrf()["X-CSRF-Token"]), str(uuid.uuid4())) for customer in customers for _ in range(TRIES)]
    together = Barrier(len(tries) + 1)
    samplers = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{SAMPLER}' AND query LIKE '%reservations%'"

    def place(attempt: tuple[Shopper, Hidden, str]) -> httpx2.Response:
        customer, csrf, key = attempt
        headers = {**customer.bearer(), "X-CSRF-Token": csrf, "Origin": customer.places.shop, "Idempotency-Key": key}
        wanted = {"shipping": SHIPPING, "expected_total": carts[customer.sub]["total"]}
        with trust.client(timeout=60) as client:
            together.wait(60)
            return client.post(f"{customer.places.api}/ecom/checkout", json=wanted, headers=headers)

    with ThreadPoolExecutor(len(tries) + 1) as pool:
        sampled = pool.submit(sample, cluster, goods.law(book["id"]))
        waiting = [pool.submit(place, attempt) for attempt in tries]
        until(lambda: inventory_sql(samplers) == "1", "the stock to be looked at", 20)
        together.wait(60)
        answers = [attempt.result() for attempt in waiting]
    seen = sampled.result()

    told = Counter((answer.status_code, answer.json().get("code", "order")) for answer in answers)
    assert told[201, "order"] == COPIES, told
    # The last two: who waited too long on a busy machine, for a turn (10 s) or for Inventory, is asked to come back.
    late = {(503, "dependency_unavailable"), (503, "inventory_unavailable")}
    assert set(told) <= {(201, "order"), (409, "out_of_stock"), (400, "cart_empty"), *late}, told
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
    placed = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(placed) == COPIES
    assert goods.orders(book["id"]) == placed
    assert goods.held(book["id"]) == placed

    # available + held + committed, at every moment that was looked at.
    states = [tuple(int(number) for number in row.split("|")) for row in seen]
    assert len(states) == SAMPLES
    assert {sum(state) for state in states} == {COPIES}, sorted(set(states))
    assert min(available for available, _, _ in states) >= 0
    assert (states[0], states[-1][0]) == ((COPIES, 0, 0), 0), "it was not looked at from before the first to after the last"

    # Whoever got one may ask again and is told of the same order.
    for (customer, _, key), answer in zip(tries, answers, strict=True):
        if answer.status_code == 201:
            again = customer.checkout(key, carts[customer.sub]["total"])
            assert (again.status_code, again.json()) == (200, answer.json())
    assert goods.orders(book["id"]) == placed
