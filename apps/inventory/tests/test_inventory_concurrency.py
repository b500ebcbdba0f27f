"""Many at once: overselling is impossible, nobody deadlocks, and the law holds at every moment sampled."""

import asyncio
import random
from collections import Counter
from typing import Any

import httpx2
import pytest
from inventory_testing import book, check_law, commit, metric, order

from inventory.app import Service

pytestmark = pytest.mark.anyio
PATH = "/internal/reservations"
Headers = dict[str, str]


def wanted(order_id: str, items: list[tuple[int, int]]) -> dict[str, object]:
    return {
        "order_id": order_id,
        "items": [{"book_id": book(number), "quantity": copies} for number, copies in items],
    }


class Sampler:
    """Checks the law from a connection of its own for as long as it is entered."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.held: list[int] = []

    async def _run(self) -> None:
        while True:
            self.held.append(await asyncio.to_thread(check_law, self._rows))

    async def __aenter__(self) -> "Sampler":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._task.done():  # it never ends by itself: a broken law raises here
            self._task.result()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_last_copies(internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any) -> None:
    """200 orders for the last 10 copies: exactly 10 get one, each of the others is told that none is left."""
    rows.execute("UPDATE inventory SET quantity = 10 WHERE book_id = %s", [book(5)])
    rows.execute("UPDATE stock_movements SET delta = 10 WHERE book_id = %s", [book(5)])
    async with Sampler(rows) as sampler:
        answers = await asyncio.gather(
            *(internal.post(PATH, json=wanted(order(number), [(5, 1)]), headers=ecom) for number in range(200))
        )
    assert Counter(answer.status_code for answer in answers) == {201: 10, 409: 190}
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(body["code"], body["books"][0]["available"]) for body in refused} == {("insufficient_stock", 0)}
    winners = {order(number) for number, answer in enumerate(answers) if answer.status_code == 201}
    held = rows.execute("SELECT order_id::text FROM reservations WHERE status = 'HELD'").fetchall()
    assert {row[0] for row in held} == winners
    assert check_law(rows) == 10
    assert len(sampler.held) > 3
    assert (metric(service, "held"), metric(service, "insufficient_stock")) == (10, 190)
    stock = rows.execute("SELECT quantity, reserved FROM inventory WHERE book_id = %s", [book(5)]).fetchone()
    assert stock == (10, 10)


async def test_many_books_in_any_order(
    internal: httpx2.AsyncClient, ecom: Headers, admin: Headers, rows: Any, roles: Any
) -> None:
    """Orders name the same books in different orders, are repeated, released and committed while admins adjust.

    No request fails: a deadlock would be a 503.
    """
    dice = random.Random(4)  # noqa: S311 # a reproducible mixture, no secret
    books = list(range(1, 9))
    before = _deadlocks(roles, rows)

    async def customer(number: int) -> list[int]:
        items = [(choice, dice.randint(1, 4)) for choice in dice.sample(books, dice.randint(2, 6))]
        body = wanted(order(number), items)
        statuses = [(await internal.post(PATH, json=body, headers=ecom)).status_code]
        if dice.random() < 0.3:
            statuses.append((await internal.post(PATH, json=body, headers=ecom)).status_code)
        if dice.random() < 0.5:
            statuses.append((await internal.delete(f"{PATH}/{order(number)}", headers=ecom)).status_code)
        return statuses

    async def clerk(number: int) -> list[int]:
        path = f"/internal/admin/stock/{book(number)}/adjust"
        answer = await internal.post(path, json={"delta": dice.choice((-3, 5)), "reason": "count"}, headers=admin)
        return [answer.status_code]

    async with Sampler(rows) as sampler:
        work = [customer(number) for number in range(120)] + [clerk(number % 8 + 1) for number in range(24)]
        dice.shuffle(work)
        statuses = Counter(status for result in await asyncio.gather(*work) for status in result)
    assert set(statuses) <= {200, 201, 204, 409}
    assert statuses[201] > 20
    assert statuses[204] > 20
    assert len(sampler.held) > 3
    check_law(rows)
    assert _deadlocks(roles, rows) == before


async def test_opposite_orders_never_deadlock(internal: httpx2.AsyncClient, ecom: Headers, rows: Any) -> None:
    """The classic pair, often: one names A then B, the other B then A."""
    answers = await asyncio.gather(
        *(
            internal.post(
                PATH,
                json=wanted(order(number), [(1, 1), (2, 1)] if number % 2 else [(2, 1), (1, 1)]),
                headers=ecom,
            )
            for number in range(100)
        )
    )
    assert Counter(answer.status_code for answer in answers) == {201: 50, 409: 50}
    assert check_law(rows) == 100


async def test_one_order_many_times_at_once(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any
) -> None:
    """A double click, and a retry that overtakes the first try."""
    body = wanted(order(1), [(1, 2), (2, 1)])
    answers = await asyncio.gather(*(internal.post(PATH, json=body, headers=ecom) for _ in range(30)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 29}
    assert len({str({**answer.json(), "expires_at": ""}) for answer in answers}) == 1
    assert check_law(rows) == 3
    assert (metric(service, "held"), metric(service, "repeated")) == (1, 29)


async def test_one_order_with_different_items_at_once(internal: httpx2.AsyncClient, ecom: Headers, rows: Any) -> None:
    """They lock no row in common; still only one of them gets the order."""
    answers = await asyncio.gather(
        *(internal.post(PATH, json=wanted(order(1), [(number, 1)]), headers=ecom) for number in range(1, 29))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 27}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"reservation_mismatch"}
    assert check_law(rows) == 1


async def test_release_and_commit_of_one_order_at_once(
    internal: httpx2.AsyncClient, service: Service, ecom: Headers, rows: Any
) -> None:
    """Whichever comes first, a placed order's copies are sold, and once."""
    sold = "SELECT status, count(*) FROM reservations WHERE order_id = %s GROUP BY status"
    for number in range(10):
        await internal.post(PATH, json=wanted(order(number), [(1, 1), (2, 1)]), headers=ecom)
        released, _ = await asyncio.gather(
            internal.delete(f"{PATH}/{order(number)}", headers=ecom), commit(service, order(number))
        )
        assert released.status_code in {204, 409}
        assert rows.execute(sold, [order(number)]).fetchall() == [("COMMITTED", 2)]
        assert check_law(rows) == 0
        stock = rows.execute("SELECT quantity FROM inventory WHERE book_id IN (%s, %s)", [book(1), book(2)]).fetchall()
        assert stock == [(49 - number,), (49 - number,)]


def _deadlocks(server: Any, rows: Any) -> int:
    """PostgreSQL's own count for the database of ``rows``."""
    with server.connect(rows.info.dbname) as connection:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        (count,) = connection.execute(
            "SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone()
        return int(count)
