"""``python -m ecom.openapi``: print the public API's OpenAPI document, from which clients are generated.

Needs no environment: nothing is connected to.
"""

import json
import sys

from fastapi import APIRouter, FastAPI

from ecom.books.endpoints import books_router, genres_router
from ecom.health.endpoints import router as health_router


def document() -> str:
    """The document as JSON text with sorted keys, so that a difference is a change of the API."""
    app = FastAPI(title="E-Commerce API", version="1")
    ecom = APIRouter(prefix="/ecom")
    for router in (health_router, books_router, genres_router):
        ecom.include_router(router)
    app.include_router(ecom)
    return json.dumps(app.openapi(), indent=2, sort_keys=True)


if __name__ == "__main__":
    sys.stdout.write(document() + "\n")
