"""E-07 to E-12. Every change answers with the whole cart."""

import uuid
from http import HTTPStatus
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Response

from bookstore_common.access import signed_in
from bookstore_common.db import Reading, Writing
from bookstore_common.idempotency import (
    IdempotencyKeyReusedError,
    IdempotencyRepository,
    idempotency_key,
    request_hash,
)
from bookstore_common.jsonbody import PRIVATE, JSONBytes, dumps
from bookstore_common.problem import DependencyUnavailableError, InvalidInputError, NotFoundError, responses
from bookstore_common.tokens import Principal
from ecom.cart.repository import CartRepository, read_lines
from ecom.cart.schemas import Cart, GuestCart, MergedCart, NewLine, NewQuantity
from ecom.cart.service import CartFullError, CartService, cart_body

router = APIRouter(prefix="/cart", tags=["cart"])

Customer = Annotated[Principal, Depends(signed_in("customer"))]


async def _service(who: Customer, session: Writing) -> CartService:
    return CartService(CartRepository(session, who.sub))


Carts = Annotated[CartService, Depends(_service)]


@router.get(
    "",
    operation_id="getCart",
    summary="Show the cart",
    response_model=Cart,
    responses=responses(DependencyUnavailableError),
)
async def get_cart(who: Customer, session: Reading) -> Response:
    return JSONBytes(dumps(cart_body(await read_lines(session, who.sub))), headers=PRIVATE)


@router.post(
    "/items",
    operation_id="addCartItem",
    summary="Add copies of a book",
    description="Adds to the line of this book if there is one; a line holds 99 copies at most.",
    response_model=Cart,
    responses=responses(NotFoundError, CartFullError, InvalidInputError, DependencyUnavailableError),
)
async def add_cart_item(carts: Carts, line: NewLine) -> Response:
    return JSONBytes(dumps(await carts.add(line.book_id, line.quantity)), headers=PRIVATE)


@router.put(
    "/items/{item_id}",
    operation_id="setCartItemQuantity",
    summary="Set the number of copies in a line",
    response_model=Cart,
    responses=responses(NotFoundError, InvalidInputError, DependencyUnavailableError),
)
async def set_cart_item_quantity(carts: Carts, item_id: uuid.UUID, line: NewQuantity) -> Response:
    return JSONBytes(dumps(await carts.set_quantity(item_id, line.quantity)), headers=PRIVATE)


@router.delete(
    "/items/{item_id}",
    operation_id="removeCartItem",
    summary="Remove a line",
    description="204 also if there is no such line.",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(InvalidInputError, DependencyUnavailableError),
)
async def remove_cart_item(carts: Carts, item_id: uuid.UUID) -> Response:
    await carts.remove(item_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.delete(
    "",
    operation_id="clearCart",
    summary="Remove all lines",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(DependencyUnavailableError),
)
async def clear_cart(carts: Carts) -> Response:
    await carts.clear()
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post(
    "/merge",
    operation_id="mergeCart",
    summary="Add a guest's cart after signing in",
    description="Quantities add up to 99 at most; books that are not on sale or find no line left are skipped. The"
    " same Idempotency-Key merges once and gets the first answer again.",
    response_model=MergedCart,
    responses=responses(IdempotencyKeyReusedError, InvalidInputError, DependencyUnavailableError),
)
async def merge_cart(
    who: Customer, session: Writing, carts: Carts, key: Annotated[str, Depends(idempotency_key)], guest: GuestCart
) -> Response:
    idempotency = IdempotencyRepository(session)
    stored = await idempotency.begin(who.sub, key, request_hash(guest, "merge"))
    if stored is not None:
        return JSONBytes(dumps(stored.body), headers=PRIVATE)
    body = dumps(await carts.merge(guest.items))
    await idempotency.complete(who.sub, key, HTTPStatus.OK, orjson.loads(body))
    return JSONBytes(body, headers=PRIVATE)
