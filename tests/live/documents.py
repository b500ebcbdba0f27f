"""The OpenAPI documents of the services, printed by the checkout's own code, as cases for generated tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

APPS = Path(__file__).parents[2] / "apps"
# Service and listener; the Admin API has one listener.
LISTENERS = (("ecom", "public"), ("ecom", "internal"), ("inventory", "public"), ("inventory", "internal"), ("admin", "public"))
_METHODS = {"get", "put", "post", "patch", "delete"}
# In place of every path parameter: nothing has this id.
NOTHING = "ffffffff-0000-4000-8000-0000000000ff"
_QUERIES = {"/ecom/books/search": "?q=the", "/inven/stock/bulk": f"?book_ids={NOTHING}"}


@dataclass(frozen=True)
class Operation:
    """One method of one path. ``roles``: any of them may; None: public; empty: anyone who is signed in."""

    listener: str
    name: str
    method: str
    path: str
    roles: frozenset[str] | None

    def __str__(self) -> str:
        return f"{self.listener}-{self.name}"


@cache
def operations() -> tuple[Operation, ...]:
    """Every operation of every listener."""
    found: list[Operation] = []
    for service, listener in LISTENERS:
        arguments = [] if service == "admin" else [listener]
        paths = json.loads(_document(service, arguments))["paths"]
        for template, methods in paths.items():
            path = re.sub(r"\{\w+\}", NOTHING, template)
            for method, content in methods.items():
                if method in _METHODS:
                    roles = frozenset(content["x-roles"]) if "x-roles" in content else None
                    name = f"{service}.{content['operationId']}"
                    found.append(Operation(listener, name, method.upper(), path + _QUERIES.get(path, ""), roles))
    return tuple(found)


def _document(service: str, arguments: list[str]) -> str:
    """Printed by a process of its own: the services are not installed here, and importing them would mix their paths with ours."""
    sources = os.pathsep.join(str(APPS / name / "src") for name in ("common", service))
    command = [sys.executable, "-m", f"{service}.openapi", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": sources}, capture_output=True, text=True, check=True).stdout
