"""Every answer that any operation may give, provoked at each one whose document promises it."""

from typing import Any

import pytest
from conftest import documents
from ecom_testing import running, settings_of

from bookstore_common.testing.answers import Operation, promised, provoke
from bookstore_common.testing.tokens import Issuer

pytestmark = pytest.mark.anyio
BOOK = {"title": "T", "author": "A", "genre": "G", "price": "1.00"}
BODIES = {"createBook": BOOK, "editBook": BOOK, "setOrderStatus": {"status": "SHIPPED"}}


@pytest.mark.parametrize(("operation", "code"), promised(documents(), BODIES))
async def test_promised_answer(environment: Any, seeded: str, issuer: Issuer, operation: Operation, code: str) -> None:
    async with running(settings_of(environment(seeded))) as service:
        response = await provoke(code, operation, getattr(service, operation.listener), issuer, BODIES)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) in operation.answers
    assert response.json()["code"] == code
