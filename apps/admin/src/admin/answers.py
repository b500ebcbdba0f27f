"""How the endpoints answer, and how they document it."""

from typing import Any

from fastapi import Response
from pydantic import BaseModel

from bookstore_common.jsonbody import PRIVATE, JSONBytes
from bookstore_common.problem import document


def answer(body: BaseModel, status: int = 200, *, etag: str | None = None, location: str | None = None) -> Response:
    """``body`` as JSON; no cache stores it."""
    headers = {**PRIVATE}
    if etag is not None:
        headers["etag"] = etag
    if location is not None:
        headers["location"] = location
    return JSONBytes(body.model_dump_json().encode(), status, headers)


def problems(**codes: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses``: ``problems(not_found=404, below_reserved=409)``; one status may have several codes."""
    described: dict[int | str, dict[str, Any]] = {}
    for code, status in codes.items():
        document(described, status, code)
    return described
