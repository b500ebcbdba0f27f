"""I-04 to I-06, internal: only the E-Commerce API reserves."""

import uuid
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from bookstore_common.access import signed_in
from bookstore_common.db import Reading, Writing
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, NotFoundError, responses
from bookstore_common.tokens import Principal
from inventory.reservations import service
from inventory.reservations.metrics import ReservationMetrics
from inventory.reservations.repository import ReservationReadRepository
from inventory.reservations.schemas import Reservation, ReservationRequest
from inventory.reservations.service import (
    AlreadyCommittedError,
    InsufficientStockError,
    ReservationMismatchError,
    ReservationService,
)

CALLER = "ecom-service"

router = APIRouter(prefix="/reservations", tags=["reservations"])


async def _service(request: Request, session: Writing) -> ReservationService:
    metrics: ReservationMetrics = request.app.state.reservation_metrics
    period: timedelta = request.app.state.reservation_period
    return ReservationService(session, metrics, period)


Reservations = Annotated[ReservationService, Depends(_service)]
Caller = Annotated[Principal, Depends(signed_in("service", clients=(CALLER,)))]


@router.post(
    "",
    operation_id="reserve",
    summary="Hold copies for an order",
    description="All or nothing. A repeat of the same order and items answers 200, holds nothing more and"
    " renews the hold. 409 is"
    " `insufficient_stock` (member `books`: book_id, requested, available) or `reservation_mismatch` (the order has a"
    " reservation of other items).",
    status_code=HTTPStatus.CREATED,
    response_model=Reservation,
    responses={
        200: {"model": Reservation, "description": "The order has this reservation already"},
        **responses(InsufficientStockError, ReservationMismatchError, InvalidInputError, DependencyUnavailableError),
    },
)
async def reserve(caller: Caller, reservations: Reservations, wanted: ReservationRequest) -> Response:
    held, new = await reservations.hold(wanted.order_id, wanted.by_book(), caller.azp)
    return JSONBytes(dumps(held.body()), HTTPStatus.CREATED if new else HTTPStatus.OK, PRIVATE)


@router.get(
    "/{order_id}",
    operation_id="getReservation",
    summary="Show what is reserved for an order",
    response_model=Reservation,
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def get_reservation(_caller: Caller, session: Reading, order_id: uuid.UUID) -> Response:
    held = await service.find(ReservationReadRepository(session), order_id)
    return JSONBytes(dumps(held.body()), headers=PRIVATE)


@router.delete(
    "/{order_id}",
    operation_id="release",
    summary="Give back what was held for an order",
    description="204 also if nothing is held (any more).",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(AlreadyCommittedError, InvalidInputError, DependencyUnavailableError),
)
async def release(caller: Caller, reservations: Reservations, order_id: uuid.UUID) -> Response:
    await reservations.release(order_id, caller.azp)
    return Response(status_code=HTTPStatus.NO_CONTENT)
