"""Inventory as checkout and cancelling call it: I-04 and I-06 (SPEC 5.4)."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

import structlog

from bookstore_common.outbound import OutboundClient, OutboundResponse, UpstreamUnavailableError
from bookstore_common.problem import DependencyUnavailableError, ProblemError
from bookstore_common.service_token import ServiceToken

_PATH = "/internal/reservations"
_log = structlog.get_logger(__name__)


class OutOfStockError(ProblemError):
    """Nothing was ordered; member ``book_ids`` lists the books that cannot be had as wanted."""

    status = 409
    code = "out_of_stock"

    def __init__(self, book_ids: Sequence[uuid.UUID | str]) -> None:
        super().__init__(
            "Some books cannot be delivered in the wanted quantity; nothing was ordered.",
            book_ids=[str(book_id) for book_id in book_ids],
        )


class ReservationMismatchError(Exception):
    """The order id already has a reservation of other items."""


class InventoryUnavailableError(DependencyUnavailableError):
    """Inventory gave no usable answer; nothing was ordered. ``asked``: it may have done what it was asked for."""

    code = "inventory_unavailable"

    def __init__(self, *, asked: bool) -> None:
        self.asked = asked
        super().__init__(
            "The stock cannot be reserved at the moment; nothing was ordered. Try again.", headers={"retry-after": "5"}
        )


class Reservations:
    """Holds stock for orders. ``patience_seconds`` bounds a call with all its retries."""

    def __init__(self, client: OutboundClient, token: ServiceToken, patience_seconds: float) -> None:
        self._client = client
        self._token = token
        self._patience_seconds = patience_seconds

    async def hold(self, order_id: uuid.UUID, quantities: Mapping[uuid.UUID, int]) -> None:
        """Reserve all copies or none; repeating it changes nothing.

        Raises OutOfStockError, ReservationMismatchError or InventoryUnavailableError.
        """
        wanted = [{"book_id": str(book_id), "quantity": quantity} for book_id, quantity in quantities.items()]
        response = await self._call("POST", _PATH, {"order_id": str(order_id), "items": wanted}, repeat=True)
        if response.status in {HTTPStatus.CREATED, HTTPStatus.OK}:
            return
        problem = _problem(response)
        if response.status == HTTPStatus.CONFLICT and problem.get("code") == "insufficient_stock":
            raise OutOfStockError(_short_books(problem, quantities))
        if response.status == HTTPStatus.CONFLICT and problem.get("code") == "reservation_mismatch":
            raise ReservationMismatchError(str(order_id))
        _refuse(response, problem)

    async def release(self, order_id: uuid.UUID) -> None:
        """Give the hold of an order back; does nothing if there is none, or if the order.created event committed it.

        Tried once: holds expire, and a peer that is down should not be asked more often than callers need its answer.
        Raises InventoryUnavailableError.
        """
        response = await self._call("DELETE", f"{_PATH}/{order_id}", None, repeat=False)
        if response.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.CONFLICT}:
            _refuse(response, _problem(response))

    async def _call(self, method: str, path: str, body: dict[str, Any] | None, *, repeat: bool) -> OutboundResponse:
        asked = False
        try:
            async with asyncio.timeout(self._patience_seconds):
                token = await self._token.get()
                asked = True
                response = await self._client.request(method, path, json=body, token=token, idempotent=repeat)
        except (DependencyUnavailableError, TimeoutError) as error:
            _log.warning("inventory_unavailable", method=method, reason=f"{type(error).__name__}: {error}")
            raise InventoryUnavailableError(asked=asked) from error
        if response.status == HTTPStatus.UNAUTHORIZED:  # the realm's keys were changed, for example
            self._token.forget()
        return response


def _problem(response: OutboundResponse) -> dict[str, Any]:
    """The problem document, or nothing if the answer is none (a proxy's page, for example)."""
    try:
        body = response.json()
    except UpstreamUnavailableError:
        return {}
    return body if isinstance(body, dict) else {}


def _short_books(problem: Mapping[str, Any], wanted: Mapping[uuid.UUID, int]) -> list[uuid.UUID]:
    """The books of ``wanted`` that the problem names; all of them if it names none that we know."""
    books = problem.get("books")
    named = {str(book.get("book_id")) for book in books if isinstance(book, dict)} if isinstance(books, list) else set()
    return [book_id for book_id in wanted if str(book_id) in named] or list(wanted)


def _refuse(response: OutboundResponse, problem: Mapping[str, Any]) -> NoReturn:
    """An answer that the contract does not foresee: our mistake or theirs, so it is an error for the operator."""
    _log.error("inventory_answer_unexpected", status=response.status, code=problem.get("code", ""))
    raise InventoryUnavailableError(asked=response.status >= HTTPStatus.INTERNAL_SERVER_ERROR)
