"""Every answer that any operation may give, provoked at each one whose document promises it."""

from typing import Any

import pytest
from conftest import documents
from inventory_testing import running, settings_of

from bookstore_common.testing.answers import Operation, promised, provoke
from bookstore_common.testing.tokens import Issuer

pytestmark = pytest.mark.anyio
BOOK = "00000000-0000-4000-8000-0000000000aa"
BODIES = {
    "setStock": {"quantity": 1},
    "adjustStock": {"delta": 1, "reason": "counted"},
    "reserve": {"order_id": BOOK, "items": [{"book_id": BOOK, "quantity": 1}]},
}


@pytest.mark.parametrize(("operation", "code"), promised(documents(), BODIES))
async def test_promised_answer(environment: Any, seeded: str, issuer: Issuer, operation: Operation, code: str) -> None:
    async with running(settings_of(environment(seeded))) as service:
        response = await provoke(code, operation, getattr(service, operation.listener), issuer, BODIES)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) in operation.answers
    assert response.json()["code"] == code
