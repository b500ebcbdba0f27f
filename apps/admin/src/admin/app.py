"""Wires the service together: one process, two applications; nothing calls it from inside (SPEC 4.3, 5.5)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from admin.peers import Peer, Peers
from admin.routes import public_router
from admin.settings import Settings
from bookstore_common.access import AccessControl
from bookstore_common.application import create_app
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.outbound import OutboundClient
from bookstore_common.redis import RedisClient
from bookstore_common.server import Listener, serve
from bookstore_common.tokens import TokenVerifier


@dataclass(frozen=True)
class Service:
    """The applications and what they share."""

    public: FastAPI
    management: FastAPI
    readiness: Readiness
    metrics: Metrics
    redis: RedisClient
    verifier: TokenVerifier
    clients: tuple[OutboundClient, ...]

    async def close(self) -> None:
        """Close every connection."""
        for client in self.clients:
            await client.close()
        await self.verifier.close()
        await self.redis.close()


def create_service(settings: Settings) -> Service:
    """Build everything without connecting to anything."""
    metrics = Metrics()
    redis = RedisClient(settings)
    verifier = TokenVerifier(settings, metrics, redis=redis)
    ecom = OutboundClient("ecom-api", settings.ecom_url, metrics)
    inventory = OutboundClient("inventory-api", settings.inventory_url, metrics)
    # Not the services behind it: without one of them the other's half still works.
    readiness = Readiness(
        {"tokens": verifier.check}, settings.readiness_timeout_seconds, degrading={"redis": redis.check}
    )
    public = create_app("Admin API", listener="public", metrics=metrics, cors_origins=settings.cors_allowed_origins)
    public.include_router(public_router())
    public.state.access = AccessControl(
        verifier, redis, settings.cors_allowed_origins, metrics, csrf=True, rate_factor=settings.rate_limit_factor
    )
    public.state.peers = Peers(
        Peer("E-Commerce API", ecom),
        Peer("Inventory API", inventory),
        settings.request_patience_seconds,
        settings.optional_patience_seconds,
    )
    management = create_management_app(readiness, metrics)
    return Service(public, management, readiness, metrics, redis, verifier, (ecom, inventory))


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
        [Listener("public", service.public, settings.public_port, "PUBLIC_PORT")],
        Listener("management", service.management, settings.management_port, "MANAGEMENT_PORT"),
        resources=resources(),
    )
