"""The calls between services fit the OpenAPI documents of the services that are called (SPEC 5.3 to 5.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import admin.books.schemas as admin_books
import admin.orders.schemas as admin_orders
import admin.stock.schemas as admin_stock
import pytest
from admin.openapi import document as admin_document
from admin.peers import RefusedError
from admin.stock.clients import NO_STOCK_YET
from admin.stock.service import MAX_FILTER_IDS
from bookstore_common.preconditions import StaleVersionError, etag_of
from bookstore_common.problem import ProblemError
from bookstore_common.testing.http_stub import HttpStub, RecordedRequest
from ecom.admin_books.preconditions import edited_version
from ecom.admin_books.service import IsbnExistsError
from ecom.openapi import document as ecom_document
from ecom.orders.service import InvalidTransitionError
from ecom.orders.transitions import Status
from ecom.reservations.clients import OutOfStockError, ReservationMismatchError
from inventory.openapi import document as inventory_document
from inventory.reservations import service as inventory_reservations
from inventory.stock.schemas import MAX_FILTER_IDS as INVENTORY_MAX_FILTER_IDS
from inventory.stock.schemas import counted_version
from inventory.stock.service import NO_STOCK_VERSION, BelowReservedError
from pydantic import BaseModel

from tests.contract.calls import BOOK, CALLS, ORDER, Call
from tests.contract.documents import ContractError, Document, Operation

DOCUMENTS = {"ecom": Document(ecom_document("internal")), "inventory": Document(inventory_document("internal"))}
ADMIN = Document(admin_document())
# The Admin API's operations, and those that they stand on.
FORWARDED = {
    "getBook": ("ecom", "getBookForAdmin"),
    "createBook": ("ecom", "createBook"),
    "editBook": ("ecom", "editBook"),
    "withdrawBook": ("ecom", "withdrawBook"),
    "getOrder": ("ecom", "getOrderForAdmin"),
    "setOrderStatus": ("ecom", "setOrderStatus"),
    "getStock": ("inventory", "getStockForAdmin"),
    "setStock": ("inventory", "setStock"),
    "adjustStock": ("inventory", "adjustStock"),
    "listStockMovements": ("inventory", "listStockMovements"),
}
PASSED_ON = {"404", "409", "412", "428"}


@pytest.fixture
def peer() -> Iterator[HttpStub]:
    stub = HttpStub()
    yield stub
    stub.stop()


def path_of(operation: Operation) -> str:
    return operation.path.replace("{book_id}", str(BOOK)).replace("{order_id}", str(ORDER))


def refuse(stub: HttpStub, call: Call, error: ProblemError) -> None:
    """Let ``stub`` answer as the service that is called would, if it raised ``error``."""
    operation = DOCUMENTS[call.peer].named(call.operation)
    response = error.response()
    stub.always(
        operation.method,
        path_of(operation),
        response.status_code,
        bytes(response.body),
        headers={"content-type": response.media_type},
    )


@pytest.mark.parametrize("name", CALLS)
def test_call_fits_the_document(peer: HttpStub, name: str) -> None:
    """Path, parameters, headers and body as documented; and the documented answer is understood."""
    call = CALLS[name]
    operation = DOCUMENTS[call.peer].named(call.operation)
    peer.always(operation.method, path_of(operation), operation.success(), operation.example())
    call.run(peer.url)
    assert peer.requests
    for request in peer.requests:
        assert DOCUMENTS[call.peer].accept(request).name == call.operation


def test_every_operation_is_called() -> None:
    """What nobody calls need not be served; the exceptions are said by SPEC 5 itself."""
    served = {(peer, operation.name) for peer, document in DOCUMENTS.items() for operation in document.operations()}
    unused = served - {(call.peer, call.operation) for call in CALLS.values()}
    assert unused == {
        ("ecom", "backchannelLogout"),  # Keycloak calls it
        ("inventory", "getReservation"),  # I-05
    }


def test_roles_are_those_that_the_callers_have() -> None:
    for call in CALLS.values():
        operation = DOCUMENTS[call.peer].named(call.operation).content
        if call.operation in {"reserve", "release"}:
            assert (operation["x-roles"], operation["x-clients"]) == (["service"], ["ecom-service"])
        else:
            assert operation["x-roles"] == ["admin"]
            assert "x-clients" not in operation


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "/internal/admin/stocks"}, "serves no such operation"),
        ({"path": "/internal/admin/stock/1"}, "book_id may not be '1'"),
        ({"method": "PATCH"}, "serves no such operation"),
        ({"query": {"dry_run": ["true"]}}, "dry_run is not documented"),
        ({"method": "GET", "path": "/internal/admin/stock", "query": {"size": ["101"]}, "body": b""}, "size may not be '101'"),
        ({"method": "GET", "path": "/internal/admin/stock"}, "a body that is not documented"),
        ({"headers": {"content-type": "application/json"}}, "no token"),
        ({"headers": {"authorization": "Bearer x", "content-type": "application/json", "x-more": "1"}}, "x-more is not documented"),
        ({"headers": {"authorization": "Bearer x", "content-type": "text/plain"}}, "content-type text/plain"),
        ({"body": b'{"quantity": -1}'}, "quantity: -1 is less than the minimum"),
        ({"body": b'{"quantity": "1"}'}, "quantity: '1' is not of type"),
        ({"body": b'{"quantity": 1, "more": 1}'}, "more"),
        ({"body": b"{}"}, "'quantity' is a required property"),
    ],
)
def test_what_does_not_fit_is_noticed(change: dict[str, Any], complaint: str) -> None:
    right = RecordedRequest(
        "PUT",
        f"/internal/admin/stock/{BOOK}",
        {},
        {"authorization": "Bearer x", "content-type": "application/json"},
        b'{"quantity": 1}',
    )
    assert DOCUMENTS["inventory"].accept(right).name == "setStock"
    with pytest.raises(ContractError, match=complaint):
        DOCUMENTS["inventory"].accept(replace(right, **change))


@pytest.mark.parametrize(
    ("peer_name", "schema", "model"),
    [
        ("ecom", "AdminBook", admin_books.Book),
        ("ecom", "AdminOrderSummary", admin_orders.OrderSummary),
        ("ecom", "AdminOrderDetail", admin_orders.OrderDetail),
        ("ecom", "ShippingAddress", admin_orders.ShippingAddress),
        ("ecom", "OrderLine", admin_orders.OrderLine),
        ("inventory", "AdminStock", admin_stock.Stock),
        ("inventory", "Movement", admin_stock.Movement),
    ],
)
def test_answers_have_the_members_that_are_read(peer_name: str, schema: str, model: type[BaseModel]) -> None:
    """Nothing that a service answers is dropped on the way, and whatever must be there is promised."""
    component = DOCUMENTS[peer_name].content["components"]["schemas"][schema]
    assert set(component["properties"]) == set(model.model_fields)
    needed = {name for name, field in model.model_fields.items() if field.is_required()}
    assert needed <= set(component["required"])


@pytest.mark.parametrize(
    ("peer_name", "schema", "model", "added"),
    [
        ("ecom", "BookFields", admin_books.NewBook, {"initial_quantity"}),
        ("ecom", "BookEdit", admin_books.BookEdit, set()),
        ("ecom", "NewStatus", admin_orders.NewStatus, set()),
        ("inventory", "StockSetting", admin_stock.StockSetting, set()),
        ("inventory", "StockAdjustment", admin_stock.StockAdjustment, set()),
    ],
)
def test_bodies_have_the_same_members(peer_name: str, schema: str, model: type[BaseModel], added: set[str]) -> None:
    """An administrator can say everything that the service behind takes, and nothing else."""
    component = DOCUMENTS[peer_name].content["components"]["schemas"][schema]
    assert set(component["properties"]) == set(model.model_fields) - added
    assert set(component["required"]) == {name for name, field in model.model_fields.items() if field.is_required()} - added


def test_values_agree() -> None:
    assert [status.value for status in admin_orders.Status] == [status.value for status in Status]
    assert MAX_FILTER_IDS == INVENTORY_MAX_FILTER_IDS


@pytest.mark.parametrize("name", FORWARDED)
def test_refusals_are_documented_on_both_sides(name: str) -> None:
    """A refusal that is passed on is in the Admin API's document, too."""
    peer_name, operation = FORWARDED[name]
    answers = set(DOCUMENTS[peer_name].named(operation).content["responses"]) & PASSED_ON
    assert answers == set(ADMIN.named(name).content["responses"]) & PASSED_ON


@pytest.mark.parametrize(
    ("name", "error", "members"),
    [
        ("new book", IsbnExistsError("Another book has this ISBN."), {}),
        ("edit", StaleVersionError("The book was changed meanwhile.", version=4), {"version": 4}),
        ("order to SHIPPED", InvalidTransitionError(Status.DELIVERED, Status.SHIPPED), {}),
        (
            "stock set",
            StaleVersionError("The stock was changed meanwhile.", version=9, quantity=7, reserved=0),
            {"version": 9, "quantity": 7, "reserved": 0},
        ),
        ("stock set", BelowReservedError("3 of 5 are reserved.", quantity=5, reserved=3), {"quantity": 5, "reserved": 3}),
    ],
)
def test_refusals_arrive(peer: HttpStub, name: str, error: ProblemError, members: dict[str, Any]) -> None:
    """A peer's own error, rendered by it, is understood by the Admin API."""
    call = CALLS[name]
    refuse(peer, call, error)
    with pytest.raises(RefusedError) as caught:
        call.run(peer.url)
    assert (caught.value.peer_status, caught.value.peer_code) == (error.status, error.code)
    assert (caught.value.detail, caught.value.members) == (error.detail, members)


def test_short_stock_arrives(peer: HttpStub) -> None:
    """Checkout learns which books are short."""
    short = [{"book_id": BOOK, "requested": 99, "available": 1}]
    refuse(peer, CALLS["reservation"], inventory_reservations.InsufficientStockError("Too few copies.", books=short))
    with pytest.raises(OutOfStockError) as caught:
        CALLS["reservation"].run(peer.url)
    assert caught.value.members == {"book_ids": [str(BOOK)]}


def test_other_refusals_of_reservations_arrive(peer: HttpStub) -> None:
    refuse(peer, CALLS["reservation"], inventory_reservations.ReservationMismatchError("Other items."))
    with pytest.raises(ReservationMismatchError):
        CALLS["reservation"].run(peer.url)
    refuse(peer, CALLS["release"], inventory_reservations.AlreadyCommittedError("The order was placed."))
    assert CALLS["release"].run(peer.url) is None


@pytest.mark.parametrize(
    ("call", "operation", "version_of"), [("book", "getBookForAdmin", edited_version), ("stock", "getStockForAdmin", counted_version)]
)
def test_an_etag_may_be_sent_back(peer: HttpStub, call: str, operation: str, version_of: Callable[[str | None], Any]) -> None:
    """The ETag that comes with a book or a stock is, as If-Match, the version that the change is a change of."""
    read = DOCUMENTS[CALLS[call].peer].named(operation)
    example = read.example()
    peer.always("GET", path_of(read), 200, example, headers={"etag": etag_of(example["version"])})
    answer = CALLS[call].run(peer.url)
    assert asyncio.run(version_of(answer.etag)) == answer.body.version == example["version"]


def test_a_stock_that_is_not_kept_has_one_version() -> None:
    assert etag_of(NO_STOCK_VERSION) == NO_STOCK_YET
