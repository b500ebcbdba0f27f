"""What pgAdmin's own sign-in lacks: a lock that ends by itself, and the declared servers for whoever signs in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Locks:
    """Ends the lock of an account after ``seconds``. pgAdmin's own lasts until an administrator ends it, who is the one locked out."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._since: dict[int, float] = {}

    def over(self, account: int, attempts: int, most: int) -> bool:
        """Return whether the account's wrong passwords are to be forgotten."""
        if attempts < most:
            self._since.pop(account, None)
            return False
        if self._clock() - self._since.setdefault(account, self._clock()) < self._seconds:
            return False
        del self._since[account]
        return True


class OwnPages:
    """Refuses requests that a page of another origin makes, its web sockets included, for which pgAdmin accepts every origin."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """Hand the request on, or refuse it."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is None or origin.lower() == f"http://{environ.get('HTTP_HOST', '')}".lower():
            return self._application(environ, start_response)
        start_response("403 Forbidden", [
            ("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
        ])  # fmt: skip
        return [b'{"error":"a page of another origin may ask for nothing here"}\n']
