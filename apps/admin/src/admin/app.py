"""Wires the service together: one process, two applications; nothing calls it from inside (SPEC 4.3, 5.5)."""

from dataclasses import dataclass

from admin.openapi import document
from admin.peers import Peer, Peers
from admin.routes import public_router
from admin.settings import Settings
from bookstore_common.access import AccessControl
from bookstore_common.application import create_app
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.outbound import OutboundClient
from bookstore_common.process import ServiceBase, serve_applications
from bookstore_common.redis import RedisClient
from bookstore_common.tokens import TokenVerifier


@dataclass(frozen=True, kw_only=True)
class Service(ServiceBase):
    """The applications and what they share."""

    redis: RedisClient
    verifier: TokenVerifier


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
    public = create_app(
        document.title_of("public"), listener="public", metrics=metrics, cors_origins=settings.cors_allowed_origins
    )
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
    return Service(
        public=public,
        management=create_management_app(readiness, metrics),
        readiness=readiness,
        metrics=metrics,
        redis=redis,
        verifier=verifier,
        resources=(redis, verifier, inventory, ecom),
    )


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    await serve_applications(settings, create_service(settings))
