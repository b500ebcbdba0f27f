"""Settings of the Admin API; names and defaults stand in the README."""

from typing import Annotated

from pydantic import AfterValidator, Field

from bookstore_common.redis import RedisSettings
from bookstore_common.settings import ServerSettings
from bookstore_common.tokens import OidcSettings

SERVICE = "admin-api"


def _is_base_url(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest or rest.strip("/") != rest or "/" in rest:
        raise ValueError("not scheme://host[:port] without a path")
    return value


BaseUrl = Annotated[str, AfterValidator(_is_base_url)]


class Settings(ServerSettings, RedisSettings, OidcSettings):
    """Environment of ``python -m admin``."""

    ecom_url: BaseUrl = Field(
        description="the E-Commerce API's internal address, for example http://ecom-api.ecom.svc.cluster.local:8001"
    )
    inventory_url: BaseUrl = Field(
        description="the Inventory API's internal address, for example"
        " http://inventory-api.inventory.svc.cluster.local:8001"
    )
    rate_limit_factor: float = Field(
        default=1, gt=0, le=1000, description="1; more only for load tests, which multiplies every rate limit"
    )
    # The gateway gives up after 15 s (SPEC 4.1); a 504 problem must be out before.
    request_patience_seconds: float = Field(
        default=12, gt=0, le=60, description="seconds for all calls of one request together, for example 12"
    )
    # A list without stock now is worth more than one with stock much later. Above the 3 s after which a call counts as
    # failed (SPEC 5.1), so that the breaker learns of it.
    optional_patience_seconds: float = Field(
        default=3.5, gt=0, le=60, description="seconds for what an answer can do without, for example 3.5"
    )
