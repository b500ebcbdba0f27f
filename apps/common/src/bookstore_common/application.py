"""The FastAPI application of one listener."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from bookstore_common import access_docs, problem
from bookstore_common.bodies import BodyRulesMiddleware
from bookstore_common.metrics import Metrics, RouteTemplates
from bookstore_common.middleware import RequestContextMiddleware, UnforeseenErrorMiddleware

# SPEC 4.1.
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CORS_REQUEST_HEADERS = ("Authorization", "Content-Type", "X-CSRF-Token", "Idempotency-Key", "If-Match")
CORS_EXPOSED_HEADERS = (
    "ETag",
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-Request-ID",
)
CORS_MAX_AGE_SECONDS = 600


class Application(FastAPI):
    """FastAPI whose OpenAPI document says who may call each operation; see ``access_docs``."""

    public = True

    def openapi(self) -> dict[str, Any]:
        return access_docs.describe(super().openapi(), self.routes, public=self.public)


def create_app(title: str, *, listener: str, metrics: Metrics, cors_origins: Sequence[str] = ()) -> Application:
    """Build an application with errors, request ids, metrics and (given origins) CORS in place.

    It serves no documentation pages: nothing but the product's paths is reachable (SPEC 4.2).
    """
    app = Application(
        title=title,
        version="1",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # A trailing slash is another path: 404, not a redirect to an address the gateway never saw.
        redirect_slashes=False,
        # Off: it would count and name routes a second time, and nothing collects it here.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.public = listener == "public"
    # Middleware is called in this order.
    app.user_middleware = [
        Middleware(RequestContextMiddleware, listener=listener, metrics=metrics, templates=RouteTemplates(app.routes)),
    ]
    if cors_origins:
        app.user_middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(cors_origins),
                allow_methods=CORS_METHODS,
                allow_headers=CORS_REQUEST_HEADERS,
                expose_headers=CORS_EXPOSED_HEADERS,
                allow_credentials=False,
                max_age=CORS_MAX_AGE_SECONDS,
            )
        )
    app.user_middleware.append(Middleware(UnforeseenErrorMiddleware))
    app.user_middleware.append(Middleware(BodyRulesMiddleware))
    problem.install(app)
    return app
