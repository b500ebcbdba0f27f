"""Which paths each listener serves; the same for the process and for its OpenAPI documents."""

from fastapi import APIRouter

from bookstore_common.health import health_router
from ecom.admin_books.endpoints import router as admin_books_router
from ecom.admin_orders.endpoints import router as admin_orders_router
from ecom.books.endpoints import books_router, genres_router
from ecom.cart.endpoints import router as cart_router
from ecom.checkout.endpoints import router as checkout_router
from ecom.orders.endpoints import router as orders_router
from ecom.sessions.endpoints import csrf_router, keys_router, logout_router


def public_router() -> APIRouter:
    """E-01 to E-16, and the keys for the gateway."""
    router = APIRouter(prefix="/ecom")
    parts = (
        health_router(),
        books_router,
        genres_router,
        csrf_router,
        keys_router,
        cart_router,
        checkout_router,
        orders_router,
    )
    for part in parts:
        router.include_router(part)
    return router


def internal_router() -> APIRouter:
    """E-17 to E-23."""
    router = APIRouter(prefix="/internal")
    for part in (admin_books_router, admin_orders_router, logout_router):
        router.include_router(part)
    return router
