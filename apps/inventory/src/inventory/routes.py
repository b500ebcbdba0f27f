"""Which paths each listener serves; the same for the process and for its OpenAPI documents."""

from fastapi import APIRouter

from bookstore_common.health import health_router
from inventory.reservations.endpoints import router as reservations_router
from inventory.stock.endpoints import admin_router as admin_stock_router
from inventory.stock.endpoints import public_router as stock_router


def public_router() -> APIRouter:
    """I-01 to I-03, for the gateway."""
    router = APIRouter(prefix="/inven")
    for part in (health_router(), stock_router):
        router.include_router(part)
    return router


def internal_router() -> APIRouter:
    """I-04 to I-10, for other services."""
    router = APIRouter(prefix="/internal")
    for part in (reservations_router, admin_stock_router):
        router.include_router(part)
    return router
