"""What every benchmark needs: facts about the machine, where the platform keeps its files, and tables."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "bookstore-platform"
REPORTS = STATE / "reports"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bookstore-platform"


def facts() -> dict[str, str | int | float]:
    """Return processor model, cores, memory in MiB, kernel, load of the last minute, and the time (UTC)."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]) // 1024
    return {
        "processor": model, "cores": os.cpu_count() or 0, "memory_mib": memory, "kernel": platform.release(),
        "load_1min": round(os.getloadavg()[0], 2), "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip


def sentence(found: dict[str, str | int | float]) -> str:
    """Return the facts as one line."""
    return (
        f"{found['cores']} cores ({found['processor']}), {found['memory_mib']} MiB, kernel {found['kernel']}, "
        f"load {found['load_1min']} at the start, {found['measured']}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table, columns aligned so that a terminal shows it well; numbers stand to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(head), *texts]) for column in range(len(head))]
    right = [all(isinstance(row[column], int | float) for row in rows) and bool(rows) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        placed = [cell.rjust(width) if number else cell.ljust(width) for cell, width, number in zip(cells, widths, right, strict=True)]
        return f"| {' | '.join(placed)} |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if number else "-") for width, number in zip(widths, right, strict=True)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in texts)])
