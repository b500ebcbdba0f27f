"""E-13: cart -> reservation -> order (SPEC 5.3).

All attempts at one order (same customer, same idempotency key) hold the order's lock from before they reserve until
they have committed or given up, so at any moment one of them knows what is true. That is why the call to Inventory is
made inside the transaction. Its price, a database connection that waits for another service, is bounded: by
``Reservations``' patience, which is below the server's idle-in-transaction timeout, and by ``slots``, which leave
connections to everybody else while Inventory hangs.
"""

import asyncio
import uuid
from decimal import Decimal
from typing import Any

import orjson
import structlog
from prometheus_client import Counter

from bookstore_common.db import Database, Session
from bookstore_common.events import EventLine, order_created
from bookstore_common.idempotency import IdempotencyKeyReusedError, IdempotencyRepository, request_hash
from bookstore_common.jsonbody import dumps
from bookstore_common.outbox import OutboxRepository
from bookstore_common.problem import DependencyUnavailableError, ProblemError
from ecom.cart.repository import CartLine, CartRepository
from ecom.cart.service import total_of
from ecom.checkout.schemas import CheckoutRequest
from ecom.orders.models import Order, OrderItem
from ecom.orders.repository import OrderRepository
from ecom.orders.service import order_body
from ecom.orders.transitions import Status
from ecom.reservations.clients import InventoryUnavailableError, OutOfStockError, ReservationMismatchError, Reservations

# For giving a reservation back after a failure; what takes longer is left to Inventory's expiry.
RELEASE_SECONDS = 3.0
OPERATION = "checkout"
# What a metric shows from the start: of a series that begins with its first event no increase is seen.
RESULTS = (
    "created", "replayed", "failed", "cart_empty", "out_of_stock", "price_changed", "inventory_unavailable",
    "dependency_unavailable", "idempotency_key_reused",
)  # fmt: skip
_log = structlog.get_logger(__name__)


class CartEmptyError(ProblemError):
    status = 400
    code = "cart_empty"


class PriceChangedError(ProblemError):
    """Member ``total`` is what the cart costs now."""

    status = 409
    code = "price_changed"


def order_id_of(user_id: str, key: str) -> uuid.UUID:
    """The id that every attempt with this key of this customer shares (uuid5, SPEC 5.3).

    A sub is a UUID in Keycloak; any other becomes one.
    """
    try:
        namespace = uuid.UUID(user_id)
    except ValueError:
        namespace = uuid.uuid5(uuid.NAMESPACE_OID, user_id)
    return uuid.uuid5(namespace, key)


class CheckoutService:
    """Places orders. ``slots`` bounds how many checkouts hold a connection; ``slot_seconds`` the wait for one."""

    def __init__(
        self,
        database: Database,
        reservations: Reservations,
        results: Counter,
        slots: asyncio.Semaphore,
        slot_seconds: float,
    ) -> None:
        self._database = database
        self._reservations = reservations
        self._results = results
        self._slots = slots
        self._slot_seconds = slot_seconds
        for result in RESULTS:
            results.labels(result)

    async def place(self, user_id: str, key: str, request: CheckoutRequest) -> tuple[dict[str, Any], bool]:
        """The order and whether it was made now (else: the answer of the first time).

        Raises IdempotencyKeyReusedError, CartEmptyError, OutOfStockError, PriceChangedError and
        InventoryUnavailableError; none of them uses the key up, and after all of them nothing has changed.
        """
        try:
            body, new = await self._with_slot(user_id, key, request)
        except ProblemError as error:
            self._results.labels(error.code).inc()
            raise
        except Exception:
            self._results.labels("failed").inc()
            raise
        self._results.labels("created" if new else "replayed").inc()
        return body, new

    async def _with_slot(self, user_id: str, key: str, request: CheckoutRequest) -> tuple[dict[str, Any], bool]:
        try:
            async with asyncio.timeout(self._slot_seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise DependencyUnavailableError(
                "Too many checkouts are waiting; try again.", headers={"retry-after": "1"}
            ) from None
        try:
            return await self._attempt(user_id, key, request)
        finally:
            self._slots.release()

    async def _attempt(self, user_id: str, key: str, request: CheckoutRequest) -> tuple[dict[str, Any], bool]:
        order_id = order_id_of(user_id, key)
        holding = False
        try:
            async with self._database.transaction() as session:
                idempotency = IdempotencyRepository(session)
                orders = OrderRepository(session)
                await orders.lock(order_id)
                stored = await idempotency.begin(user_id, key, request_hash(request, OPERATION))
                if stored is not None:
                    return stored.body, False
                if await orders.exists(order_id):
                    # Its record is older than 24 h, so nobody can tell whether this is the same request.
                    raise IdempotencyKeyReusedError(f"This key made the order {order_id} before; use a new key.")
                lines = await _lines(session, user_id, request.expected_total)
                await self._reservations.hold(order_id, {line.book_id: line.quantity for line in lines})
                holding = True
                order = await _write(session, order_id, user_id, lines, request)
                body: dict[str, Any] = orjson.loads(dumps(order_body(order)))
                await idempotency.complete(user_id, key, 201, body)
            return body, True
        except ReservationMismatchError:
            # An earlier attempt with this key reserved, failed, and the cart has changed since.
            await self._give_up(order_id)
            raise IdempotencyKeyReusedError(
                "The cart has changed since the first attempt with this Idempotency-Key; use a new key."
            ) from None
        except InventoryUnavailableError as error:
            if error.asked:
                await self._give_up(order_id)
            raise
        except Exception:
            if holding:
                await self._give_up(order_id)
            raise

    async def _give_up(self, order_id: uuid.UUID) -> None:
        """Release the reservation, unless the order exists: a lost connection may hide a commit that succeeded."""
        try:
            async with asyncio.timeout(RELEASE_SECONDS), self._database.transaction() as session:
                orders = OrderRepository(session)
                await orders.lock(order_id)
                if not await orders.exists(order_id):
                    await self._reservations.release(order_id)
        except Exception as error:  # the first error is what the customer is told
            _log.warning("reservation_left_to_expire", order_id=str(order_id), reason=type(error).__name__)


async def _lines(session: Session, user_id: str, expected_total: Decimal) -> list[CartLine]:
    """The cart's lines, locked, if they may be ordered at ``expected_total``."""
    lines = await CartRepository(session, user_id).lock_lines()
    if not lines:
        raise CartEmptyError("The cart is empty.")
    withdrawn = [line.book_id for line in lines if not line.available_for_sale]
    if withdrawn:
        raise OutOfStockError(withdrawn)
    total = total_of(lines)
    if total != expected_total:
        raise PriceChangedError(f"The cart costs {total}, not {expected_total}.", total=str(total))
    return lines


async def _write(
    session: Session, order_id: uuid.UUID, user_id: str, lines: list[CartLine], request: CheckoutRequest
) -> Order:
    """Order, items, emptied cart and event; not yet committed."""
    order = Order(
        id=order_id,
        user_id=user_id,
        status=Status.CONFIRMED.value,
        total=total_of(lines),
        currency="USD",
        shipping=request.shipping.model_dump(),
        items=[
            OrderItem(
                book_id=line.book_id,
                title_at_purchase=line.title,
                quantity=line.quantity,
                price_at_purchase=line.price,
            )
            for line in lines
        ],
    )
    orders = OrderRepository(session)
    orders.add(order)
    await orders.flush()
    # These lines and no others: what was added to the cart meanwhile stays in it.
    await CartRepository(session, user_id).remove([line.id for line in lines])
    items = [EventLine(line.book_id, line.quantity, line.price) for line in lines]
    await OutboxRepository(session).add(
        order_created(order_id=order_id, user_id=user_id, items=items, total=order.total, currency=order.currency)
    )
    return order
