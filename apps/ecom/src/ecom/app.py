"""Wires the service together: one process, three applications (SPEC 5.1)."""

import asyncio
from dataclasses import dataclass

from fastapi import FastAPI
from prometheus_client import Counter

from bookstore_common.access import AccessControl
from bookstore_common.application import create_app
from bookstore_common.db import Database
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.outbound import OutboundClient
from bookstore_common.outbox import OutboxAge
from bookstore_common.process import ServiceBase, serve_applications
from bookstore_common.redis import RedisClient
from bookstore_common.service_token import ServiceToken
from bookstore_common.tokens import TokenVerifier
from ecom.books.cache import BookCache
from ecom.checkout.service import CheckoutService
from ecom.migrate import migrations_folder
from ecom.openapi import document
from ecom.reservations.clients import Reservations
from ecom.routes import internal_router, public_router
from ecom.settings import SERVICE, SLOT, Settings


@dataclass(frozen=True, kw_only=True)
class Service(ServiceBase):
    """The applications and what they share."""

    internal: FastAPI
    database: Database
    verifier: TokenVerifier
    redis: RedisClient


def create_service(settings: Settings) -> Service:
    """Build everything without connecting to anything; raises MigrationError if the migrations are missing."""
    database = Database(settings, SERVICE)
    metrics = Metrics()
    schema = Migrations(migrations_folder()).readiness_check(database)
    redis = RedisClient(settings)
    verifier = TokenVerifier(settings, metrics, redis=redis)
    inventory = OutboundClient("inventory", settings.inventory_url, metrics)
    token = ServiceToken(settings, metrics, store=verifier.store, outage_seconds=settings.oidc_outage_seconds)
    OutboxAge(metrics, database, SLOT)

    # Redis is no reason to take the pod away: the catalogue works without it, and the rest answers as SPEC 5.1 says.
    readiness = Readiness(
        {"database": database.check, "schema": schema, "tokens": verifier.check},
        settings.readiness_timeout_seconds,
        degrading={"redis": redis.check},
    )
    reservations = Reservations(inventory, token, settings.reservation_patience_seconds)
    checkout = CheckoutService(
        database,
        reservations,
        Counter("checkout_total", "Checkouts, by result.", ["result"], registry=metrics.registry),
        asyncio.Semaphore(settings.checkout_slots),
        settings.checkout_slot_timeout_seconds,
    )
    public = create_app(
        document.title_of("public"), listener="public", metrics=metrics, cors_origins=settings.cors_allowed_origins
    )
    public.include_router(public_router())
    internal = create_app(document.title_of("internal"), listener="internal", metrics=metrics)
    internal.include_router(internal_router())
    for app in (public, internal):
        app.state.access = AccessControl(
            verifier,
            redis,
            settings.cors_allowed_origins,
            metrics,
            csrf=app is public,
            rate_factor=settings.rate_limit_factor,
        )
        app.state.cache = BookCache(redis)
        app.state.checkout = checkout
        app.state.database = database
        app.state.redis = redis
        app.state.reservations = reservations
        app.state.verifier = verifier
    return Service(
        public=public,
        internal=internal,
        management=create_management_app(readiness, metrics),
        readiness=readiness,
        metrics=metrics,
        database=database,
        verifier=verifier,
        redis=redis,
        resources=(database, redis, verifier, token, inventory),
    )


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    await serve_applications(settings, create_service(settings))
