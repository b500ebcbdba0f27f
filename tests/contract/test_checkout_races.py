"""Customers who buy the last copies at once: the real E-Commerce API before the real Inventory service, each over its own PostgreSQL."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import httpx2
import pytest
from bookstore_common.testing.postgres import Postgres, postgres
from bookstore_common.testing.redis import RedisServer, _redis_process
from bookstore_common.testing.tokens import Issuer, _issuer

from tests.contract.stack import SESSION, SHOP, Stack, running
from tests.live.signin import SHIPPING
from tests.live.tls import plain_client
from tests.live.waiting import until

__all__ = ["_issuer", "_redis_process", "postgres"]

COPIES, CUSTOMERS = 5, 20
HOLDS = "SELECT status, count(DISTINCT order_id) FROM reservations WHERE book_id = %s GROUP BY status"
# What the commit of an order runs into; the statements before it succeed.
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused at the commit'; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.fixture(scope="module")
def stack(postgres: Postgres, _redis_process: RedisServer, _issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    _redis_process.flush()
    _issuer.reset()
    with running(postgres, _redis_process, _issuer, tmp_path_factory.mktemp("logs")) as stack:
        yield stack


class Shop:
    """Customers of the E-Commerce API, and what both databases say."""

    def __init__(self, stack: Stack, postgres: Postgres, client: httpx2.Client) -> None:
        self._stack, self._postgres, self._client = stack, postgres, client
        self._csrf = stack.csrf()

    def rows(self, service: str, statement: str, *values: Any) -> list[Any]:
        with self._postgres.connect(self._stack.databases[service]) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def headers(self, sub: str) -> dict[str, str]:
        return {**self._stack.issuer.headers(sub=sub, sid=SESSION), "X-CSRF-Token": self._csrf, "Origin": SHOP}

    def book(self, copies: int) -> str:
        """A book of the seed that nobody bought yet, with so many copies."""
        ((book,),) = self.rows("inventory", """
            SELECT book_id::text FROM inventory WHERE quantity > 10 AND book_id NOT IN (SELECT book_id FROM reservations) LIMIT 1""")
        with self._postgres.connect(self._stack.databases["inventory"]) as connection:
            connection.execute("UPDATE inventory SET quantity = %s WHERE book_id = %s", (copies, book))
        return str(book)

    def fill(self, sub: str, book: str) -> str:
        """Put one copy into the cart; returns its total."""
        answer = self._client.post("/ecom/cart/items", json={"book_id": book, "quantity": 1}, headers=self.headers(sub))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["total"])

    def checkout(self, sub: str, total: str, key: str) -> httpx2.Response:
        headers = {**self.headers(sub), "Idempotency-Key": key}
        return self._client.post("/ecom/checkout", json={"shipping": SHIPPING, "expected_total": total}, headers=headers)

    def stock(self, book: str) -> tuple[int, int]:
        """Copies on the shelf, and of them the reserved ones."""
        ((quantity, reserved),) = self.rows("inventory", "SELECT quantity, reserved FROM inventory WHERE book_id = %s", book)
        return quantity, reserved

    def holds(self, book: str) -> dict[str, int]:
        """Orders by the status of their reservation."""
        return dict(self.rows("inventory", HOLDS, book))

    def orders(self, book: str) -> set[str]:
        return {order for (order,) in self.rows("ecom", "SELECT order_id::text FROM order_items WHERE book_id = %s", book)}


@pytest.fixture
def shop(stack: Stack, postgres: Postgres) -> Iterator[Shop]:
    with plain_client(base_url=stack.urls["ecom", "public"], timeout=120) as client:
        yield Shop(stack, postgres, client)


@contextmanager
def no_order_commits(stack: Stack, postgres: Postgres) -> Iterator[None]:
    postgres.execute(REFUSE, stack.databases["ecom"])
    try:
        yield
    finally:
        postgres.execute("DROP TRIGGER refuse ON orders; DROP FUNCTION refuse()", stack.databases["ecom"])


def test_20_customers_and_5_copies_make_5_orders(shop: Shop) -> None:
    book = shop.book(COPIES)
    carts = {sub: shop.fill(sub, book) for sub in (str(uuid.uuid4()) for _ in range(CUSTOMERS))}
    together = Barrier(CUSTOMERS)

    def buy(sub: str) -> httpx2.Response:
        together.wait(60)
        return shop.checkout(sub, carts[sub], str(uuid.uuid4()))

    with ThreadPoolExecutor(CUSTOMERS) as pool:
        answers = list(pool.map(buy, carts))
    told = Counter((answer.status_code, answer.json().get("code", "order")) for answer in answers)
    assert told == {(201, "order"): COPIES, (409, "out_of_stock"): CUSTOMERS - COPIES}
    placed = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert shop.orders(book) == placed
    assert (shop.holds(book), shop.stock(book)) == ({"HELD": COPIES}, (COPIES, COPIES))


def test_one_key_many_times_at_once_makes_one_order(shop: Shop) -> None:
    book, sub, key = shop.book(COPIES), str(uuid.uuid4()), str(uuid.uuid4())
    total, together = shop.fill(sub, book), Barrier(8)

    def click(_: int) -> httpx2.Response:
        together.wait(60)
        return shop.checkout(sub, total, key)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(click, range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 7}, [answer.text for answer in answers]
    assert shop.orders(book) == {answer.json()["id"] for answer in answers}
    assert (shop.holds(book), shop.stock(book)) == ({"HELD": 1}, (COPIES, 1))


def test_a_failed_commit_gives_its_copies_back(shop: Shop, stack: Stack, postgres: Postgres) -> None:
    book, sub, key = shop.book(1), str(uuid.uuid4()), str(uuid.uuid4())
    total = shop.fill(sub, book)
    with no_order_commits(stack, postgres):
        failed = shop.checkout(sub, total, key)
    assert failed.status_code >= 500, failed.text
    assert shop.orders(book) == set()
    until(lambda: shop.holds(book) == {"RELEASED": 1}, "the reservation to be released", 30)
    assert shop.stock(book) == (1, 0)
    # The last copy is there for whoever comes next.
    again = shop.checkout(sub, total, str(uuid.uuid4()))
    assert again.status_code == 201, again.text
    assert shop.orders(book) == {again.json()["id"]}
    assert shop.stock(book) == (1, 1)
