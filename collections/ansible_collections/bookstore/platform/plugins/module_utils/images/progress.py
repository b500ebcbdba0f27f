"""What is building right now, in a file that the playbook's output reads."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path


class Progress:
    """Keeps a JSON document {running: [{name, since, log}], done, total} up to date; thread-safe."""

    def __init__(self, file: Path | None, total: int) -> None:
        self.file = file
        self.total = total
        self.done: dict[str, float] = {}
        self._running: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self._write()

    def start(self, name: str, log: Path) -> None:
        """Note that a build began."""
        with self._lock:
            self._running[name] = (time.time(), str(log))
            self._write()

    def finish(self, name: str) -> None:
        """Note that a build ended, well or not."""
        with self._lock:
            since, _ = self._running.pop(name)
            self.done[name] = round(time.time() - since, 1)
            self._write()

    def _write(self) -> None:
        if self.file is None:
            return
        running = [{"name": name, "since": since, "log": log} for name, (since, log) in self._running.items()]
        document = {"running": running, "done": len(self.done), "total": self.total}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(document), encoding="utf-8")
        os.replace(temporary, self.file)
