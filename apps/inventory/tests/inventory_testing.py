"""What several tests share beside the fixtures."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from bookstore_common.settings import load_settings
from inventory.app import Service, create_service
from inventory.reservations.models import Status
from inventory.reservations.repository import ReservationRepository
from inventory.settings import Settings
from inventory.stock import arithmetic
from inventory.stock.repository import Change
from inventory.stock.service import StockLedger


def settings_of(variables: dict[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return load_settings(Settings)


def http(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://inventory.test")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    built = create_service(settings)
    try:
        yield built
    finally:
        await built.close()


LAW = """
SELECT i.book_id::text, i.quantity, i.reserved,
       coalesce((SELECT sum(quantity) FROM reservations r WHERE r.book_id = i.book_id AND status = 'HELD'), 0),
       coalesce((SELECT sum(quantity) FROM reservations r WHERE r.book_id = i.book_id AND status = 'COMMITTED'), 0),
       coalesce((SELECT sum(delta) FROM stock_movements m WHERE m.book_id = i.book_id), 0),
       coalesce((SELECT sum(reserved_delta) FROM stock_movements m WHERE m.book_id = i.book_id), 0),
       coalesce((SELECT sum(delta) FROM stock_movements m
                 WHERE m.book_id = i.book_id AND reason NOT IN ('committed', 'restocked')), 0)
FROM inventory i ORDER BY 1
"""


def check_law(connection: Any) -> int:
    """Assert the law of issue 4 for every book, in one snapshot: put in = available + held + committed.

    Returns the number of copies held.
    """
    held_in_all = 0
    for book, quantity, reserved, held, committed, moved, moved_reserved, put_in in connection.execute(LAW).fetchall():
        assert 0 <= reserved <= quantity, book
        assert reserved == held, book
        assert put_in == (quantity - reserved) + held + committed, book
        assert (moved, moved_reserved) == (quantity, reserved), book
        held_in_all += held
    return held_in_all


def book(number: int) -> str:
    """Id of a seed book."""
    return f"00000000-0000-0000-0000-0000000000{number:02d}"


def order(number: int) -> str:
    """Id of an order of a test."""
    return f"10000000-0000-4000-8000-{number:012d}"


async def commit(service: Service, order_id: str) -> None:
    """What the worker does on ``order.created``, with the service's own parts."""
    async with service.database.transaction() as session:
        reservations, ledger = ReservationRepository(session), StockLedger(session)
        await reservations.lock_order(uuid.UUID(order_id))
        held = await reservations.get(uuid.UUID(order_id))
        assert held is not None
        assert held.status is Status.HELD
        stock = await ledger.lock(held.items)
        await ledger.record(
            [
                Change(book, stock[book], arithmetic.commit(stock[book], copies), "committed", "test", held.order_id)
                for book, copies in held.items.items()
            ]
        )
        await reservations.set_status(held.order_id, Status.COMMITTED)


def metric(service: Service, result: str) -> float:
    """The present value of ``reservation_total{result}``."""
    registry = service.metrics.registry
    value = registry.get_sample_value("reservation_total", {"result": result})
    assert value is not None
    return value
