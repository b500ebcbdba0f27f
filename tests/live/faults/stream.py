"""A steady stream of orders, as customers would place them while things break."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, Self

import httpx2

from ..goods import Goods
from ..people import People
from ..signin import NoCsrfTokenError, Shopper, SignInError

# SPEC 5.1 allows each customer ten checkouts a minute.
PAUSE_S = 6.5
CUSTOMERS = 6
# A machine that was stopped is back before.
PATIENCE_S = 420.0
ONE_IN_CANCELLED = 5


@dataclass
class Stream:
    """Orders of several customers until the block ends. A customer who gets no answer asks again with the same key."""

    people: People
    goods: Goods
    books: list[dict[str, Any]] = field(default_factory=list)
    placed: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    told: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Self:
        self.books = [self.goods.book(copies=10_000, price=price) for price in ("7.50", "12.30", "29.99")]
        self._over, self._lock, self._faults = Event(), Lock(), ExitStack()
        shoppers = self.people.customers(CUSTOMERS)
        self._threads = [Thread(target=self._shop, args=(shopper, number), daemon=True) for number, shopper in enumerate(shoppers)]
        self._errors: list[BaseException] = []
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not self._errors, f"a customer gave up: {self._errors[0]!r}; answers: {self.told}"

    @property
    def ids(self) -> list[str]:
        """Ids of the books that are sold."""
        return [book["id"] for book in self.books]

    def wait(self, orders: int, seconds: float = 120) -> None:
        """Return when so many more orders were placed."""
        goal, end = len(self.placed) + orders, time.monotonic() + seconds
        while len(self.placed) < goal:
            assert time.monotonic() < end, f"{len(self.placed)} orders, waited {seconds:g} s for {goal}; answers: {self.told}"
            assert not self._errors, f"a customer gave up: {self._errors[0]!r}; answers: {self.told}"
            time.sleep(0.1)

    def _shop(self, shopper: Shopper, number: int) -> None:
        choice = random.Random(number)
        try:
            self._over.wait(number * PAUSE_S / CUSTOMERS)
            while not self._over.is_set():
                began = time.monotonic()
                self._order(shopper, choice)
                self._over.wait(max(0.0, PAUSE_S - (time.monotonic() - began)))
        except BaseException as error:
            self._errors.append(error)

    def _order(self, shopper: Shopper, choice: random.Random) -> None:
        item = {"book_id": choice.choice(self.ids), "quantity": choice.randint(1, 3)}
        cart = self._insist(shopper, "POST", "/ecom/cart/items", item)
        if cart is None:
            return
        order = self._insist(shopper, "", "", {"key": str(uuid.uuid4()), "total": cart["total"]})
        if order is None:
            return
        with self._lock:
            self.placed.add(order["id"])
        if choice.randrange(ONE_IN_CANCELLED) == 0 and self._insist(shopper, "POST", f"/ecom/orders/{order['id']}/cancel", None):
            with self._lock:
                self.cancelled.add(order["id"])

    def _insist(self, shopper: Shopper, method: str, path: str, body: Any) -> dict[str, Any] | None:
        """Return the answer's body, asking again while nothing or a server's error comes; None when the shop closes before."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = shopper.send(method, path, body) if method else shopper.checkout(body["key"], body["total"])
                self.told[f"{path.rsplit('/', 1)[-1] or 'checkout'} {answer.status_code}"] += 1
                if answer.status_code in (200, 201):
                    found: dict[str, Any] = answer.json()
                    return found
                if answer.status_code == 401:
                    self._renew(shopper)
                assert answer.status_code >= 500 or answer.status_code in (401, 429), f"{method} {path}: {answer.status_code} {answer.text}"
            except httpx2.TransportError as error:
                self.told[type(error).__name__] += 1
            except NoCsrfTokenError as error:
                self.told[f"csrf-token {error.status}"] += 1
                if error.status == 401:
                    self._renew(shopper)
            except SignInError:
                self.told["renewal refused"] += 1
            assert time.monotonic() < end, f"{method or 'checkout'} {path}: no answer within {PATIENCE_S:g} s; {self.told}"
            if self._over.wait(1.0):
                # One more try of what may have been placed already, so that no order is forgotten.
                end = min(end, time.monotonic() + 60)

    def _renew(self, shopper: Shopper) -> None:
        """As the shop's pages do after a 401: the gateway refuses good tokens while it cannot get Keycloak's keys."""
        try:
            shopper.refresh()
        except (SignInError, httpx2.TransportError) as error:
            self.told[type(error).__name__] += 1
