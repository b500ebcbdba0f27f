"""JSON bodies written once, straight from rows (PITFALLS: validating our own output costs more than the query)."""

from typing import Any

import orjson
from fastapi import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
# Headers of an answer that belongs to one user, or that is true now only: no cache stores it.
PRIVATE = {"cache-control": "no-store"}


def dumps(content: Any) -> bytes:
    """Serialise to UTF-8 JSON; times become RFC 3339 with ``Z``, UUIDs become strings.

    Raises TypeError for a Decimal: money must have become a string of fixed scale before (SPEC 5.1).
    """
    return orjson.dumps(content, option=_OPTIONS)


class JSONBytes(Response):
    """A response that takes ready JSON bytes."""

    media_type = "application/json"
