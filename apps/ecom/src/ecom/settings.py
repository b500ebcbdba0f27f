"""Settings of the E-Commerce API; names and defaults stand in the README."""

from pydantic import Field

from bookstore_common.migrations import MigrationSettings
from bookstore_common.settings import DatabaseSettings, ServerSettings

SERVICE = "ecom-api"


class Settings(ServerSettings, DatabaseSettings):
    """Environment of ``python -m ecom``."""


class EcomMigrationSettings(MigrationSettings):
    """Environment of ``python -m ecom.migrate``; the user is the owner role."""

    database_app_role: str = Field(default="ecom_app", description="the role that changes rows, for example ecom_app")
    database_ro_role: str = Field(default="ecom_ro", description="the role that only reads, for example ecom_ro")
    database_cdc_role: str = Field(
        default="ecom_cdc", description="the role that captures changes, for example ecom_cdc"
    )
