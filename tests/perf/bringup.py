"""Benchmark of the bring-up: phases of the last `make up`, memory of the nodes, sizes of the images.

Run: ``python -m tests.perf.bringup`` after `make up`. It measures nothing itself but reads what the run wrote and what
the engine reports, so it can be run at any time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

from .machine import facts

STATE = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "bookstore-platform"


def docker(*arguments: str) -> list[str]:
    """Return the lines that a docker command prints."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()


def images() -> dict[str, str]:
    """Return the engine's images of the platform and their sizes, layers counted with each."""
    lines = docker("image", "ls", "--filter", "reference=bookstore.local/*", "--format", "{{.Repository}} {{.Size}}")
    return {name.removeprefix("bookstore.local/"): size for name, size in (line.split(" ", 1) for line in lines)}


def memory() -> dict[str, str]:
    """Return the memory in use by each container of the cluster."""
    lines = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}")
    pairs = (line.split(" ", 1) for line in lines)
    return {name: usage.split(" / ")[0] for name, usage in pairs if name.startswith("bookstore-")}


def main() -> None:
    """Print the figures, with ``--json`` as a document, too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()
    report = STATE / "reports" / "bringup.json"
    document = {"machine": facts(), "run": json.loads(report.read_text()) if report.is_file() else None,
                "memory": memory(), "images": images()}
    print(json.dumps(document, indent=1))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
