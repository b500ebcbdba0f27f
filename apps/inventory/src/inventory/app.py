"""Wires the service together: one process, three applications (SPEC 5.1)."""

from dataclasses import dataclass
from datetime import timedelta

from fastapi import FastAPI

from bookstore_common.access import AccessControl
from bookstore_common.application import create_app
from bookstore_common.db import Database
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.outbox import OutboxAge
from bookstore_common.process import ServiceBase, serve_applications
from bookstore_common.redis import RedisClient
from bookstore_common.tokens import TokenVerifier
from inventory.migrate import migrations_folder
from inventory.openapi import document
from inventory.reservations.metrics import ReservationMetrics
from inventory.routes import internal_router, public_router
from inventory.settings import SERVICE, SLOT, Settings


@dataclass(frozen=True, kw_only=True)
class Service(ServiceBase):
    """The applications and what they share."""

    internal: FastAPI
    database: Database
    redis: RedisClient
    verifier: TokenVerifier


def create_service(settings: Settings) -> Service:
    """Build everything without connecting to anything; raises MigrationError if the migrations are missing."""
    database = Database(settings, SERVICE)
    metrics = Metrics()
    schema = Migrations(migrations_folder()).readiness_check(database)
    redis = RedisClient(settings)
    verifier = TokenVerifier(settings, metrics, redis=redis)

    readiness = Readiness(
        {"database": database.check, "schema": schema, "tokens": verifier.check},
        settings.readiness_timeout_seconds,
        # Reads and reservations work without it.
        degrading={"redis": redis.check},
    )
    OutboxAge(metrics, database, SLOT)
    public = create_app(
        document.title_of("public"), listener="public", metrics=metrics, cors_origins=settings.cors_allowed_origins
    )
    public.include_router(public_router())
    internal = create_app(document.title_of("internal"), listener="internal", metrics=metrics)
    internal.include_router(internal_router())
    internal.state.reservation_metrics = ReservationMetrics(metrics.registry)
    internal.state.reservation_period = timedelta(seconds=settings.reservation_hold_seconds)
    for app in (public, internal):
        app.state.database = database
        # Nothing that a browser can reach changes anything here: no CSRF on the internal listener (SPEC 5.1).
        app.state.access = AccessControl(verifier, redis, settings.cors_allowed_origins, metrics, csrf=app is public)
    return Service(
        public=public,
        internal=internal,
        management=create_management_app(readiness, metrics),
        readiness=readiness,
        metrics=metrics,
        database=database,
        redis=redis,
        verifier=verifier,
        resources=(database, redis, verifier),
    )


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    await serve_applications(settings, create_service(settings))
