"""What checkout accepts; it answers with an order."""

from typing import Annotated

from pydantic import ConfigDict, StringConstraints

from bookstore_common.inputs import Money, ShortText, StrictModel, Text
from ecom.orders.schemas import SHIPPING_EXAMPLE


class Shipping(StrictModel):
    """Where the order goes. The shop delivers anywhere, so nothing but lengths is checked."""

    name: ShortText
    line1: Text
    line2: Text | None = None
    city: ShortText
    postal_code: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    country: Annotated[str, StringConstraints(min_length=2, max_length=60)]


class CheckoutRequest(StrictModel):
    """The address, and the total that the customer saw and agrees to."""

    model_config = ConfigDict(json_schema_extra={"example": {"shipping": SHIPPING_EXAMPLE, "expected_total": "21.98"}})

    shipping: Shipping
    expected_total: Money
