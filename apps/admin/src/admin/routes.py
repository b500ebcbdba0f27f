"""Which paths the listener serves; the same for the process and for its OpenAPI document."""

from fastapi import APIRouter, Depends

from admin.books.endpoints import router as books_router
from admin.orders.endpoints import router as orders_router
from admin.stock.endpoints import router as stock_router
from admin.summary.endpoints import router as summary_router
from bookstore_common.access import public
from bookstore_common.health import health_router


def public_router() -> APIRouter:
    """A-01 to A-12."""
    router = APIRouter(prefix="/admin")
    for part in (health_router([Depends(public())]), summary_router, books_router, stock_router, orders_router):
        router.include_router(part)
    return router
