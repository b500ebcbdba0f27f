"""Facts about the machine that a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def facts() -> dict[str, str | int]:
    """Return processor model, cores, memory in MiB and kernel."""
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {"processor": model, "cores": os.cpu_count() or 0, "memory_mib": memory, "kernel": platform.release()}
