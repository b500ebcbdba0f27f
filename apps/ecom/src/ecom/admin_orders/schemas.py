"""What administrators send and see of orders."""

from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from bookstore_common.characters import refuse_control_characters
from bookstore_common.inputs import Moment, StrictModel
from bookstore_common.problem import FieldError, InvalidInputError
from ecom.orders.repository import OrderFilter
from ecom.orders.schemas import DETAIL_EXAMPLE, ORDER_EXAMPLE, OrderDetail, OrderSummary, WantedStatus
from ecom.orders.transitions import Status

_BEFORE = "Created before this moment, which is excluded: for a whole day, the beginning of the next one"
_USER: JsonDict = {"user_id": "7d1a2f0e-0f5a-4d55-9b1e-3c1f1f2e9a77"}


class NewStatus(StrictModel):
    """The status that the order shall have."""

    model_config = ConfigDict(json_schema_extra={"example": {"status": "SHIPPED"}})

    status: Status


class AdminOrderSummary(OrderSummary):
    """An order in the list of all orders."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {**ORDER_EXAMPLE, **_USER, "item_count": 2}}
    )

    user_id: str = Field(description="The customer's sub")


class AdminOrderDetail(OrderDetail):
    """An order with its items and its customer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {**DETAIL_EXAMPLE, **_USER}})

    user_id: str = Field(description="The customer's sub")


UserId = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(refuse_control_characters)]


async def order_filter(
    status: WantedStatus = None,
    created_from: Annotated[
        Moment | None,
        Query(alias="from", description="Created at this moment or later", examples=["2026-01-01T00:00:00Z"]),
    ] = None,
    created_before: Annotated[
        Moment | None, Query(alias="to", description=_BEFORE, examples=["2026-02-01T00:00:00Z"])
    ] = None,
    user_id: Annotated[UserId | None, Query(description="Only this customer's")] = None,
) -> OrderFilter:
    """FastAPI dependency; raises a 422 problem if the period is upside down."""
    if created_from is not None and created_before is not None and created_from > created_before:
        message = f"from {created_from.isoformat()} is later than to {created_before.isoformat()}"
        raise InvalidInputError(
            "Invalid input: from, to.",
            errors=[FieldError(field=name, location="query", message=message) for name in ("from", "to")],
        )
    return OrderFilter(user_id, status, created_from, created_before)
