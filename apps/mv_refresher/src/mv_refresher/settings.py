"""Settings of mv-refresher; names and defaults stand in the README."""

from pydantic import Field

from bookstore_common.consumer import WorkerSettings
from bookstore_common.migrations import MigrationSettings

SERVICE = "mv-refresher"


class Settings(WorkerSettings):
    """Environment of ``python -m mv_refresher.worker``."""

    mv_poll_seconds: float = Field(
        default=0.2, gt=0, le=10, description="seconds between two looks for changes, for example 0.2"
    )
    mv_full_refresh_seconds: float = Field(
        default=300, ge=1, le=86_400, description="seconds after which every view is refreshed, for example 300"
    )
    mv_refresh_timeout_seconds: float = Field(
        default=60, gt=0, le=3600, description="seconds that a refresh may take, for example 60"
    )
    mv_audit_seconds: float = Field(
        default=10, gt=0, le=3600, description="seconds between two looks at 2000 counted orders, for example 10"
    )
    mv_sums_audit_seconds: float = Field(
        default=86_400, ge=1, le=2_592_000, description="seconds between two looks at all sums, for example 86400"
    )
    cdc_audit_patience_seconds: float = Field(
        default=90, gt=0, le=3600, description="seconds granted to Flink to reach an audit's position, for example 90"
    )
    cdc_audit_confirm_seconds: float = Field(
        default=20, gt=0, le=600, description="seconds between two looks at a bucket that differs, for example 20"
    )
    quarantine_seconds: float = Field(
        default=2, gt=0, le=600, description="seconds between two looks at quarantined records, for example 2"
    )
    quarantine_keep_days: float = Field(
        default=30, gt=0, le=3650, description="days for which resolved quarantined records are kept, for example 30"
    )


class RefresherMigrationSettings(MigrationSettings):
    """Environment of ``python -m mv_refresher.migrate``; the user is the owner role."""

    database_app_role: str = Field(
        default="analytics_app", description="the role that changes rows, for example analytics_app"
    )
    database_ro_role: str = Field(
        default="analytics_ro", description="the role that only reads, for example analytics_ro"
    )
    database_cdc_role: str = Field(
        default="analytics_cdc", description="the role that captures changes, for example analytics_cdc"
    )
