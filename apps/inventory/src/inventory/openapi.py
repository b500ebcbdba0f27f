"""``python -m inventory.openapi [public|internal]``: print a listener's OpenAPI document (default: public).

Needs no environment: nothing is connected to.
"""

import argparse
import json
import sys
from typing import Literal

from fastapi import FastAPI

from bookstore_common.access_docs import describe
from inventory.routes import internal_router, public_router


def document(listener: Literal["public", "internal"] = "public") -> str:
    """The document as JSON text with sorted keys, so that a difference is a change of the API."""
    if listener == "public":
        app = FastAPI(title="Inventory API", version="1")
        app.include_router(public_router())
    else:
        app = FastAPI(title="Inventory API, internal", version="1")
        app.include_router(internal_router())
    return json.dumps(describe(app.openapi(), app.routes, public=listener == "public"), indent=2, sort_keys=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m inventory.openapi", description="Print an OpenAPI document.")
    parser.add_argument("listener", nargs="?", default="public", choices=["public", "internal"])
    sys.stdout.write(document(parser.parse_args().listener) + "\n")
