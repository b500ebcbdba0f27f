"""Settings of the Inventory API; names and defaults stand in the README."""

from pydantic import Field

from bookstore_common.migrations import MigrationSettings
from bookstore_common.redis import RedisSettings
from bookstore_common.settings import DatabaseSettings, ServerSettings
from bookstore_common.tokens import OidcSettings

SERVICE = "inventory-api"
# Debezium's; tells which events it has published (SPEC 7).
SLOT = "debezium_inventory_slot"


class Settings(ServerSettings, DatabaseSettings, RedisSettings, OidcSettings):
    """Environment of ``python -m inventory``."""

    # SPEC 5.4, I-04.
    reservation_hold_seconds: int = Field(
        default=900, ge=1, le=86_400, description="seconds that a hold lasts, for example 900"
    )


class InventoryMigrationSettings(MigrationSettings):
    """Environment of ``python -m inventory.migrate``; the user is the owner role."""

    database_app_role: str = Field(
        default="inventory_app", description="the role that changes rows, for example inventory_app"
    )
    database_ro_role: str = Field(
        default="inventory_ro", description="the role that only reads, for example inventory_ro"
    )
    database_cdc_role: str = Field(
        default="inventory_cdc", description="the role that captures changes, for example inventory_cdc"
    )
