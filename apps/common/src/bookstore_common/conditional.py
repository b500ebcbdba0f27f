"""Strong entity tags and If-None-Match (RFC 9110, 8.8.3 and 13.1.2)."""

import hashlib
import re
from typing import Any

from fastapi import Request, Response

from bookstore_common.jsonbody import JSONBytes

# For OpenAPI ``responses`` of an endpoint that answers with ``respond``.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has this already (If-None-Match)"}}
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag_of(body: bytes) -> str:
    """Strong tag of exactly these bytes, for example ``"Yk3…"``.

    A digest of the body, not a row's version: it stays true when a backup is restored or the representation changes.
    """
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def none_match(header: str | None, etag: str) -> bool:
    """True if the client already has ``etag``: the weak comparison that RFC 9110 asks for with If-None-Match."""
    if header is None:
        return False
    return header.strip() == "*" or etag in _TAG.findall(header)


def respond(request: Request, body: bytes, *, cache_control: str) -> Response:
    """200 with ``body`` and its tag, or 304 without a body if the client has it already."""
    etag = etag_of(body)
    headers = {"etag": etag, "cache-control": cache_control}
    if none_match(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return JSONBytes(body, headers=headers)
