"""``python -m ecom.openapi [public|internal]``: print a listener's OpenAPI document, from which clients are generated.

Needs no environment: nothing is connected to.
"""

import argparse
import json
import sys

from fastapi import FastAPI

from bookstore_common.access_docs import describe
from ecom.routes import internal_router, public_router

ROUTERS = {"public": public_router, "internal": internal_router}


def document(listener: str = "public") -> str:
    """The document as JSON text with sorted keys, so that a difference is a change of the API."""
    title = "E-Commerce API" if listener == "public" else f"E-Commerce API, {listener}"
    app = FastAPI(title=title, version="1")
    app.include_router(ROUTERS[listener]())
    return json.dumps(describe(app.openapi(), app.routes, public=listener == "public"), indent=2, sort_keys=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m ecom.openapi", description="Print an OpenAPI document.")
    parser.add_argument("listener", nargs="?", default="public", choices=sorted(ROUTERS))
    sys.stdout.write(document(parser.parse_args().listener) + "\n")
