"""Answers compared with documents: what a suite forgot, and what a document does."""

from typing import Any

import pytest
from fastapi import APIRouter

from bookstore_common.application import create_app
from bookstore_common.metrics import Metrics
from bookstore_common.problem import InvalidInputError, NotFoundError, ProblemError, responses
from bookstore_common.testing.answers import differences, operations


class TakenError(ProblemError):
    status = 409
    code = "taken"


class LockedError(ProblemError):
    status = 409
    code = "locked"


@pytest.fixture
def documents(metrics: Metrics) -> dict[str, Any]:
    app = create_app("test", listener="public", metrics=metrics)
    router = APIRouter(prefix="/items")

    @router.get("/first", operation_id="first")
    async def first() -> None: ...

    @router.get("/{item}", operation_id="one", responses=responses(NotFoundError, InvalidInputError))
    async def one(item: int) -> None: ...

    @router.put("/{item}", operation_id="change", responses=responses(TakenError, LockedError, InvalidInputError))
    async def change(item: int) -> None: ...

    app.include_router(router)
    return {"public": app.openapi()}


COMPLETE = [
    ("public", "GET", "/items/first", 200, ""),
    ("public", "GET", "/items/1", 200, ""),
    ("public", "GET", "/items/2", 404, "not_found"),
    ("public", "GET", "/items/x", 422, "validation_error"),
    ("public", "PUT", "/items/1", 200, ""),
    ("public", "PUT", "/items/1", 409, "taken"),
    ("public", "PUT", "/items/1", 409, "locked"),
    ("public", "PUT", "/items/1", 413, "payload_too_large"),
    ("public", "PUT", "/items/1", 422, "validation_error"),
]


def test_a_document_names_every_code_of_a_status(documents: dict[str, Any]) -> None:
    change = documents["public"]["paths"]["/items/{item}"]["put"]
    assert change["responses"]["409"]["description"] == "taken or locked"
    (operation,) = [one for one in operations(documents) if one.name == "change"]
    assert {(409, "taken"), (409, "locked")} <= operation.answers


def test_complete(documents: dict[str, Any]) -> None:
    unforeseen = [
        ("public", "GET", "/items/1", 500, "internal_error"),  # any operation may fail
        ("public", "GET", "/nowhere", 404, "not_found"),
        ("internal", "GET", "/items/1", 418, "another listener's"),
    ]
    assert differences(documents, [*COMPLETE, *unforeseen]) == []


def test_what_is_forgotten_on_either_side_is_told(documents: dict[str, Any]) -> None:
    seen = [*COMPLETE[:-3], COMPLETE[-1], ("public", "GET", "/items/first", 404, "not_found")]
    assert differences(documents, seen) == [
        "change: documented, seen by no test: 409 locked",
        "change: documented, seen by no test: 413 payload_too_large",
        "first: answered, not documented: 404 not_found",
    ]
