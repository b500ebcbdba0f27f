"""Waiting for a fact that no event announces."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(done: Callable[[], bool], what: str, seconds: float = 30, pause: float = 0.2) -> float:
    """Ask until ``done``; returns the seconds that it took, fails after ``seconds``."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, f"waited {seconds:g} s for: {what}"
        time.sleep(pause)
    return time.monotonic() - began
