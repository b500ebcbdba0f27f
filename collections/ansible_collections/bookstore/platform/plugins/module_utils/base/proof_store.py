# Copyright: the Bookstore Platform authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps what was proven in a file, for as long as all stays that the proof depended on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Object = dict[str, Any]


class Store:
    """A proof in a file: {fingerprint, proven_at, result}. ``hours``: how long it counts; 0: it is written and never read."""

    def __init__(self, path: Path, hours: float, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self.hours = hours
        self._now = now

    def recall(self, fingerprint: str) -> Object | None:
        """Return {proven_at, result} of this fingerprint, or None; a file that cannot be read is no proof."""
        try:
            with self.path.open(encoding="utf-8") as file:
                # Whoever else could write it could say that anything was proven.
                status = os.fstat(file.fileno())
                if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                    return None
                kept: Object = json.loads(file.read())
            age = self._now() - float(kept["proven_at"])
            # A clock that was set back gives a negative age: nobody knows how old that proof is.
            fresh = 0 <= age < self.hours * 3600 and kept["fingerprint"] == fingerprint and isinstance(kept["result"], dict)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept if fresh else None

    def remember(self, fingerprint: str, result: Object, proven_at: float | None = None) -> None:
        """Keep a result; ``proven_at``: when the oldest part of it was proven, now without it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"fingerprint": fingerprint, "proven_at": self._now() if proven_at is None else proven_at, "result": result}, file)
        os.replace(temporary, self.path)

    def forget(self) -> None:
        """End the proof of before."""
        self.path.unlink(missing_ok=True)
