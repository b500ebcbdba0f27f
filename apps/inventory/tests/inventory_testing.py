"""What several tests share beside the fixtures."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from bookstore_common.events import EventLine, order_created, validate
from bookstore_common.settings import load_settings
from inventory.app import Service, create_service
from inventory.events.service import EFFECTS
from inventory.reservations.repository import ReservationRepository
from inventory.settings import Settings


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
    """The order for what is reserved was placed: the worker's own effect of ``order.created``."""
    async with service.database.transaction() as session:
        reserved = await ReservationRepository(session).get(uuid.UUID(order_id))
    assert reserved is not None
    lines = [EventLine(book_id, copies, Decimal("10.00")) for book_id, copies in reserved.items.items()]
    event = order_created(order_id=reserved.order_id, user_id="someone", items=lines, total=Decimal(100))
    validate(event)
    async with service.database.transaction() as session:
        await EFFECTS[event.event_type](session, event.payload)


def metric(service: Service, result: str) -> float:
    """The present value of ``reservation_total{result}``."""
    registry = service.metrics.registry
    value = registry.get_sample_value("reservation_total", {"result": result})
    assert value is not None
    return value
