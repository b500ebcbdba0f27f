"""E-13."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from bookstore_common.access import Limit, signed_in
from bookstore_common.idempotency import IdempotencyKeyReusedError, idempotency_key
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.problem import InvalidInputError, responses
from bookstore_common.tokens import Principal
from ecom.checkout.schemas import CheckoutRequest
from ecom.checkout.service import CartEmptyError, CheckoutService, PriceChangedError
from ecom.orders.schemas import OrderDetail
from ecom.reservations.clients import InventoryUnavailableError, OutOfStockError

router = APIRouter(prefix="/checkout", tags=["checkout"])


async def _service(request: Request) -> CheckoutService:
    service: CheckoutService = request.app.state.checkout
    return service


@router.post(
    "",
    operation_id="checkout",
    summary="Order what is in the cart",
    description="Reserves the stock, writes the order and empties the cart, or changes nothing. The same"
    " Idempotency-Key and body get the same order again (200). 409 is `out_of_stock` (member `book_ids`),"
    " `price_changed` (member `total`) or `idempotency_key_reused`.",
    status_code=HTTPStatus.CREATED,
    response_model=OrderDetail,
    responses={
        HTTPStatus.OK.value: {"model": OrderDetail, "description": "This key made this order before"},
        **responses(
            CartEmptyError, IdempotencyKeyReusedError, PriceChangedError, OutOfStockError, InvalidInputError,
            InventoryUnavailableError,
        ),
    },
)  # fmt: skip
async def checkout(
    who: Annotated[Principal, Depends(signed_in("customer", limit=Limit.CHECKOUT))],
    checkouts: Annotated[CheckoutService, Depends(_service)],
    key: Annotated[str, Depends(idempotency_key)],
    wanted: CheckoutRequest,
) -> Response:
    body, new = await checkouts.place(who.sub, key, wanted)
    return JSONBytes(dumps(body), HTTPStatus.CREATED if new else HTTPStatus.OK, headers=PRIVATE)
