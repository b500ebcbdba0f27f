"""``python -m admin.openapi``: print the public API's OpenAPI document, from which clients are generated.

Needs no environment: nothing is connected to.
"""

import json
import sys

from fastapi import FastAPI

from admin.routes import public_router
from bookstore_common.access_docs import describe


def document() -> str:
    """The document as JSON text with sorted keys, so that a difference is a change of the API."""
    app = FastAPI(title="Admin API", version="1")
    app.include_router(public_router())
    return json.dumps(describe(app.openapi(), app.routes, public=True), indent=2, sort_keys=True)


if __name__ == "__main__":
    sys.stdout.write(document() + "\n")
