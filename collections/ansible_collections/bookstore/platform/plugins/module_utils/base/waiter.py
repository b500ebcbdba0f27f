# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""The one place that waits: polls until done, until it is hopeless, or until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What waiting needs of time; tests put their own in its place."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass."""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The last value seen, whether it satisfied the condition, and the seconds that passed."""

    value: T
    done: bool
    elapsed: float


def wait_for(
    poll: Callable[[], T],
    done: Callable[[T], bool],
    *,
    timeout: float,
    interval: float = 0.5,
    clock: Clock = time,
    left: Callable[[T], float | None] | None = None,
) -> Outcome[T]:
    """Call ``poll`` every ``interval`` seconds until ``done`` says yes or ``timeout`` seconds have passed.

    ``poll`` is called at least once, and once more at the deadline. What it raises is not caught: a state that
    cannot become good is reported by raising from ``poll``. ``left`` says how much work a value leaves, None if it does not
    tell: while that becomes less than it ever was, the time starts anew, so work may take as long as it gets on.
    """
    if timeout < 0 or interval <= 0:
        raise ValueError(f"timeout={timeout} must be 0 or more and interval={interval} more than 0 seconds")
    start = moved = clock.monotonic()
    least: float | None = None
    while True:
        value = poll()
        now = clock.monotonic()
        if done(value):
            return Outcome(value, True, now - start)
        work = None if left is None else left(value)
        if work is not None and (least is None or work < least):
            least, moved = work, now
        if now - moved >= timeout:
            return Outcome(value, False, now - start)
        clock.sleep(min(interval, timeout - (now - moved)))
