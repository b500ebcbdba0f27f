"""``python -m <service>.openapi [listener]``: print a listener's OpenAPI document, from which clients are generated.

Needs no environment: nothing is connected to.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from bookstore_common.access_docs import describe


@dataclass(frozen=True)
class Documents:
    """Titles and documents of a service's listeners; ``routers`` has ``public`` and whatever else there is."""

    title: str
    routers: Mapping[str, Callable[[], APIRouter]]

    def title_of(self, listener: str) -> str:
        return self.title if listener == "public" else f"{self.title}, {listener}"

    def __call__(self, listener: str = "public") -> str:
        """The document as JSON text with sorted keys, so that a difference is a change of the API."""
        app = FastAPI(title=self.title_of(listener), version="1")
        app.include_router(self.routers[listener]())
        return json.dumps(describe(app.openapi(), app.routes, public=listener == "public"), indent=2, sort_keys=True)

    def main(self, package: str) -> None:
        """Command line of ``python -m <package>.openapi``."""
        parser = argparse.ArgumentParser(prog=f"python -m {package}.openapi", description="Print an OpenAPI document.")
        parser.add_argument("listener", nargs="?", default="public", choices=sorted(self.routers))
        sys.stdout.write(self(parser.parse_args().listener) + "\n")
