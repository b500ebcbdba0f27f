"""What is known about the request being served, for logs, error answers, calls to other services and events."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeGuard

import structlog

MAX_REQUEST_ID = 128

_ACCEPTED = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_REQUEST_ID}}}")

request_id_var: ContextVar[str] = ContextVar("request_id", default="")


def accept_request_id(offered: str | None) -> str:
    """Return ``offered`` if it is harmless to log and echo, else a new id.

    The gateway sets X-Request-ID (SPEC 4.1); anything but 1-128 characters of ``[A-Za-z0-9._-]`` could smuggle text
    into logs or headers, so it is replaced, not repaired.
    """
    return offered if harmless(offered) else uuid.uuid4().hex


def harmless(offered: str | None) -> TypeGuard[str]:
    """Whether ``offered`` has the form of a request id."""
    return offered is not None and _ACCEPTED.fullmatch(offered) is not None


@contextmanager
def request_context(request_id: str | None) -> Iterator[None]:
    """Log lines, calls and events of the block carry ``request_id``; of None, none that was set before."""
    token = request_id_var.set(request_id or "")
    bound = {"request_id": request_id} if request_id else {}
    try:
        with structlog.contextvars.bound_contextvars(**bound):
            yield
    finally:
        request_id_var.reset(token)
