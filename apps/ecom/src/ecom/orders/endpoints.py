"""E-14 to E-16: what a customer does with their own orders; other customers' do not exist here."""

import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response

from bookstore_common.access import signed_in
from bookstore_common.db import Database, Reading
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.outbox import OutboxRepository
from bookstore_common.pagination import Page, PageRequest, page_request
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, NotFoundError, responses
from bookstore_common.tokens import Principal
from ecom.orders.repository import OrderFilter, OrderReadRepository, OrderRepository
from ecom.orders.schemas import Cancellation, OrderDetail, OrderSummary, WantedStatus
from ecom.orders.service import InvalidTransitionError, OrderChanges, OrderReads, order_body
from ecom.reservations.clients import Reservations

router = APIRouter(prefix="/orders", tags=["orders"])

Customer = Annotated[Principal, Depends(signed_in("customer"))]


async def _reads(session: Reading) -> OrderReads:
    return OrderReads(OrderReadRepository(session))


async def changing_orders(request: Request) -> AsyncIterator[OrderChanges]:
    """Dependency: one transaction; stock of cancelled orders is given back after its commit."""
    database: Database = request.app.state.database
    reservations: Reservations = request.app.state.reservations
    async with database.transaction() as session:
        changes = OrderChanges(OrderRepository(session), OutboxRepository(session))
        yield changes
    await changes.give_back(reservations)


Reads = Annotated[OrderReads, Depends(_reads)]
# scope="function": committed before the answer is sent.
Changes = Annotated[OrderChanges, Depends(changing_orders, scope="function")]


@router.get(
    "",
    operation_id="listOrders",
    summary="List one's own orders, newest first",
    response_model=Page[OrderSummary],
    responses=responses(InvalidInputError, DependencyUnavailableError),
)
async def list_orders(
    who: Customer,
    orders: Reads,
    paging: Annotated[PageRequest, Depends(page_request)],
    status: WantedStatus = None,
) -> Response:
    wanted = OrderFilter(user_id=who.sub, status=status)
    return JSONBytes(dumps(await orders.find(wanted, paging, owner=True)), headers=PRIVATE)


@router.get(
    "/{order_id}",
    operation_id="getOrder",
    summary="Show one of one's own orders",
    response_model=OrderDetail,
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def get_order(who: Customer, orders: Reads, order_id: uuid.UUID) -> Response:
    return JSONBytes(dumps(await orders.get(order_id, who.sub)), headers=PRIVATE)


@router.post(
    "/{order_id}/cancel",
    operation_id="cancelOrder",
    summary="Cancel an order that was not shipped yet",
    response_model=OrderDetail,
    responses=responses(NotFoundError, InvalidTransitionError, InvalidInputError, DependencyUnavailableError),
)
async def cancel_order(
    who: Customer,
    orders: Changes,
    order_id: uuid.UUID,
    cancellation: Annotated[Cancellation | None, Body()] = None,
) -> Response:
    reason = None if cancellation is None else cancellation.reason
    return JSONBytes(dumps(order_body(await orders.cancel(order_id, who.sub, reason))), headers=PRIVATE)
