"""Wires the service together: one process, three applications (SPEC 5.1)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
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
from bookstore_common.redis import RedisClient
from bookstore_common.server import Listener, serve
from bookstore_common.tokens import TokenVerifier
from inventory.migrate import migrations_folder
from inventory.reservations.metrics import ReservationMetrics
from inventory.routes import internal_router, public_router
from inventory.settings import SERVICE, SLOT, Settings


@dataclass(frozen=True)
class Service:
    """The applications and what they share."""

    public: FastAPI
    internal: FastAPI
    management: FastAPI
    readiness: Readiness
    metrics: Metrics
    database: Database
    redis: RedisClient
    verifier: TokenVerifier

    async def close(self) -> None:
        """Close every connection."""
        async with AsyncExitStack() as stack:
            for resource in (self.database, self.redis, self.verifier):
                stack.push_async_callback(resource.close)


def create_service(settings: Settings) -> Service:
    """Build everything without connecting to anything; raises MigrationError if the migrations are missing."""
    database = Database(settings, SERVICE)
    metrics = Metrics()
    migrations = Migrations(migrations_folder())
    redis = RedisClient(settings)
    verifier = TokenVerifier(settings, metrics, redis=redis)

    async def schema() -> None:
        async with database.reading() as session:
            await migrations.check(session)

    readiness = Readiness(
        {"database": database.check, "schema": schema, "tokens": verifier.check},
        settings.readiness_timeout_seconds,
        # Reads and reservations work without it.
        degrading={"redis": redis.check},
    )
    OutboxAge(metrics, database, SLOT)
    public = create_app("Inventory API", listener="public", metrics=metrics, cors_origins=settings.cors_allowed_origins)
    public.include_router(public_router())
    internal = create_app("Inventory API, internal", listener="internal", metrics=metrics)
    internal.include_router(internal_router())
    internal.state.reservation_metrics = ReservationMetrics(metrics.registry)
    internal.state.reservation_period = timedelta(seconds=settings.reservation_hold_seconds)
    for app in (public, internal):
        app.state.database = database
        # Nothing that a browser can reach changes anything here: no CSRF on the internal listener (SPEC 5.1).
        app.state.access = AccessControl(verifier, redis, settings.cors_allowed_origins, metrics, csrf=app is public)
    management = create_management_app(readiness, metrics)
    return Service(public, internal, management, readiness, metrics, database, redis, verifier)


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    service = create_service(settings)

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await service.close()

    await serve(
        settings,
        service.readiness,
        [
            Listener("public", service.public, settings.public_port, "PUBLIC_PORT"),
            Listener("internal", service.internal, settings.internal_port, "INTERNAL_PORT"),
        ],
        Listener("management", service.management, settings.management_port, "MANAGEMENT_PORT"),
        resources=resources(),
    )
