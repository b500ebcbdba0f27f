"""What an operator does after a fault."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ..conftest import STATE

CHECKOUT = Path(__file__).parents[3]
NODES = ("bookstore-control-plane", "bookstore-worker", "bookstore-worker2")


def log_of(name: str) -> Path:
    """Where the output of an operator's command is kept."""
    log = STATE / f"logs/faults-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def operator(name: str, *command: str, timeout: float = 900) -> float:
    """Run a command, which must succeed; returns the seconds that it took."""
    log, began = log_of(name), time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        code = subprocess.run(command, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, timeout=timeout, check=False).returncode
    assert code == 0, f"{' '.join(command)} ended with {code}, see {log}"
    return time.monotonic() - began
