"""Settings of the E-Commerce API; names and defaults stand in the README."""

from pydantic import Field

from bookstore_common.migrations import MigrationSettings
from bookstore_common.redis import RedisSettings
from bookstore_common.service_token import ServiceTokenSettings
from bookstore_common.settings import DatabaseSettings, ServerSettings
from bookstore_common.tokens import OidcSettings

SERVICE = "ecom-api"
# Debezium's; tells which events it has published (SPEC 7).
SLOT = "debezium_ecom_slot"


class Settings(ServerSettings, DatabaseSettings, RedisSettings, OidcSettings, ServiceTokenSettings):
    """Environment of ``python -m ecom``."""

    oidc_logout_audience: str | None = Field(  # required here
        description="the client whose back-channel logout tokens are accepted, for example ui-client"
    )
    inventory_url: str = Field(
        pattern=r"^https?://[^/\s]+$",
        description="Inventory's internal address, for example http://inventory-api.inventory.svc.cluster.local:8001",
    )
    rate_limit_factor: float = Field(
        default=1, gt=0, le=1000, description="1; more only for load tests, which multiplies every rate limit"
    )
    checkout_slot_timeout_seconds: float = Field(
        default=10, gt=0, le=60, description="seconds that a checkout waits for its turn, for example 10"
    )

    @property
    def checkout_slots(self) -> int:
        """How many checkouts at once may hold a connection while Inventory answers; the others' share is the rest."""
        return max(1, self.database_pool_size * 3 // 5)

    @property
    def reservation_patience_seconds(self) -> float:
        """For a call to Inventory inside a transaction: below the server's patience with an idle one (2 x command)."""
        return self.database_command_timeout_seconds * 1.5


class EcomMigrationSettings(MigrationSettings):
    """Environment of ``python -m ecom.migrate``; the user is the owner role."""

    database_app_role: str = Field(default="ecom_app", description="the role that changes rows, for example ecom_app")
    database_ro_role: str = Field(default="ecom_ro", description="the role that only reads, for example ecom_ro")
    database_cdc_role: str = Field(
        default="ecom_cdc", description="the role that captures changes, for example ecom_cdc"
    )
