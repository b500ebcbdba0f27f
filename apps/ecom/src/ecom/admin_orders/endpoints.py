"""E-21 and E-22, internal: called by the Admin API with the administrator's own token."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from bookstore_common.access import signed_in
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.pagination import Page, PageRequest, page_request
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, NotFoundError, responses
from ecom.admin_orders.schemas import AdminOrderDetail, AdminOrderSummary, NewStatus, order_filter
from ecom.orders.endpoints import Changes, Reads
from ecom.orders.repository import OrderFilter
from ecom.orders.service import InvalidTransitionError, order_body

router = APIRouter(prefix="/admin/orders", tags=["admin"], dependencies=[Depends(signed_in("admin"))])


@router.get(
    "",
    operation_id="listOrdersForAdmin",
    summary="List everybody's orders, newest first",
    response_model=Page[AdminOrderSummary],
    responses=responses(InvalidInputError, DependencyUnavailableError),
)
async def list_orders(
    orders: Reads,
    paging: Annotated[PageRequest, Depends(page_request)],
    wanted: Annotated[OrderFilter, Depends(order_filter)],
) -> Response:
    return JSONBytes(dumps(await orders.find(wanted, paging, owner=False)), headers=PRIVATE)


@router.get(
    "/{order_id}",
    operation_id="getOrderForAdmin",
    summary="Show anybody's order",
    response_model=AdminOrderDetail,
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def get_order(orders: Reads, order_id: uuid.UUID) -> Response:
    return JSONBytes(dumps(await orders.get(order_id)), headers=PRIVATE)


@router.patch(
    "/{order_id}/status",
    operation_id="setOrderStatus",
    summary="Move an order on",
    description="CONFIRMED -> SHIPPED -> DELIVERED, or CONFIRMED -> CANCELLED.",
    response_model=AdminOrderDetail,
    responses=responses(NotFoundError, InvalidTransitionError, InvalidInputError, DependencyUnavailableError),
)
async def set_order_status(orders: Changes, order_id: uuid.UUID, wanted: NewStatus) -> Response:
    order = await orders.set_status(order_id, wanted.status)
    return JSONBytes(dumps(order_body(order, with_user=True)), headers=PRIVATE)
