"""Wires the service together: one process, three applications (SPEC 5.1)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from bookstore_common.application import create_app
from bookstore_common.db import Database
from bookstore_common.health import Readiness, create_management_app
from bookstore_common.metrics import Metrics
from bookstore_common.migrations import Migrations
from bookstore_common.server import Listener, serve
from ecom.books.endpoints import books_router, genres_router
from ecom.health.endpoints import router as health_router
from ecom.migrate import migrations_folder
from ecom.settings import SERVICE, Settings


@dataclass(frozen=True)
class Service:
    """The applications and what they share."""

    public: FastAPI
    internal: FastAPI
    management: FastAPI
    readiness: Readiness
    database: Database


def create_service(settings: Settings) -> Service:
    """Build everything without connecting to anything; raises MigrationError if the migrations are missing."""
    database = Database(settings, SERVICE)
    metrics = Metrics()
    migrations = Migrations(migrations_folder())

    async def schema() -> None:
        async with database.reading() as session:
            await migrations.check(session)

    readiness = Readiness({"database": database.check, "schema": schema}, settings.readiness_timeout_seconds)
    public = create_app(
        "E-Commerce API", listener="public", metrics=metrics, cors_origins=settings.cors_allowed_origins
    )
    ecom = APIRouter(prefix="/ecom")
    for router in (health_router, books_router, genres_router):
        ecom.include_router(router)
    public.include_router(ecom)
    # Calls between services (E-17 ff.) will live here; until then every path is a 404.
    internal = create_app("E-Commerce API, internal", listener="internal", metrics=metrics)
    for app in (public, internal):
        app.state.database = database
    return Service(public, internal, create_management_app(readiness, metrics), readiness, database)


async def main(settings: Settings) -> None:
    """Serve until told to stop."""
    service = create_service(settings)

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await service.database.close()

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
