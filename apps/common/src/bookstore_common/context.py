"""What is known about the request being served, for logs and error answers."""

import re
import uuid
from contextvars import ContextVar

_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")

request_id_var: ContextVar[str] = ContextVar("request_id", default="")


def accept_request_id(offered: str | None) -> str:
    """Return ``offered`` if it is harmless to log and echo, else a new id.

    The gateway sets X-Request-ID (SPEC 4.1); anything but 1-128 characters of ``[A-Za-z0-9._-]`` could smuggle text
    into logs or headers, so it is replaced, not repaired.
    """
    if offered is not None and _ACCEPTED.fullmatch(offered):
        return offered
    return uuid.uuid4().hex
