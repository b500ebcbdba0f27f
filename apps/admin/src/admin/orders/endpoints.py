"""A-11 and A-12. There is nothing to merge, so the endpoints use the client without a service between."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from admin.answers import answer, problems
from admin.dependencies import CallerDep, Paging, PeersDep
from admin.orders.clients import OrderClient
from admin.orders.schemas import NewStatus, OrderDetail, OrderFilter, OrderSummary, order_filter
from bookstore_common.pagination import Page

router = APIRouter(prefix="/orders", tags=["orders"])


async def _client(caller: CallerDep, peers: PeersDep) -> OrderClient:
    return OrderClient(peers.ecom, caller)


Orders = Annotated[OrderClient, Depends(_client)]


@router.get(
    "",
    operation_id="listOrders",
    summary="List everybody's orders, newest first",
    response_model=Page[OrderSummary],
    responses=problems(validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def list_orders(
    orders: Orders, paging: Paging, wanted: Annotated[OrderFilter, Depends(order_filter)]
) -> Response:
    return answer(await orders.find(paging, wanted))


@router.get(
    "/{order_id}",
    operation_id="getOrder",
    summary="Show anybody's order",
    response_model=OrderDetail,
    responses=problems(not_found=404, validation_error=422, bad_gateway=502, gateway_timeout=504),
)
async def get_order(orders: Orders, order_id: uuid.UUID) -> Response:
    return answer(await orders.get(order_id))


@router.patch(
    "/{order_id}/status",
    operation_id="setOrderStatus",
    summary="Move an order on",
    description="CONFIRMED -> SHIPPED -> DELIVERED, or CONFIRMED -> CANCELLED.",
    response_model=OrderDetail,
    responses=problems(
        not_found=404, invalid_transition=409, validation_error=422, bad_gateway=502, gateway_timeout=504
    ),
)
async def set_order_status(orders: Orders, order_id: uuid.UUID, wanted: NewStatus) -> Response:
    return answer(await orders.set_status(order_id, wanted))
