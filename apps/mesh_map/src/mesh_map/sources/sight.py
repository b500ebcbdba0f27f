"""Whether a source is seen, and since when not."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Blindness:
    """``since``: Unix time. ``ever``: the source was seen before; otherwise ``since`` is when the map began to look."""

    since: float
    reason: str
    ever: bool


class Sight:
    """Remembers since when a source is not seen. A clock that is set back moves no time into the future."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._blind: Blindness | None = Blindness(clock(), "not looked at yet", ever=False)

    @property
    def blind(self) -> Blindness | None:
        return self._blind

    def seen(self) -> None:
        self._blind = None

    def lost(self, reason: str, since: float | None = None) -> None:
        """``since``: when it was last seen, if that is known better than from here."""
        now = self._clock()
        if self._blind is None:
            self._blind = Blindness(min(since if since is not None else now, now), reason, ever=True)
        else:
            first = min(self._blind.since, since if since is not None else now, now)
            self._blind = Blindness(first, reason, self._blind.ever or since is not None)

    def told(self) -> dict[str, Any]:
        """For the page: state, since, reason."""
        if self._blind is None:
            return {"state": "seen"}
        return {"state": "blind", "since": self._blind.since, "reason": self._blind.reason, "ever": self._blind.ever}
