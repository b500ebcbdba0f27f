"""Benchmark of the bring-up: phases of the last `make up`, memory of the cluster's containers, sizes of its images.

Run after `make up`: ``python -m tests.perf.bringup``. It repeats nothing but reads what the run wrote and what the engine
reports, so it can be run at any time. It judges nothing: the figures belong to the machine that is printed with them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from .machine import REPORTS, STATE, facts, sentence, table

UNITS = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def mebibytes(text: str) -> float:
    """Return an amount as docker writes it ("1.2GB", "983.1MiB") in MiB; ValueError for anything else."""
    found = re.fullmatch(r"([\d.]+)\s*([A-Za-z]+)", text.strip())
    if found is None or found.group(2).upper() not in UNITS:
        raise ValueError(f"{text!r} is no amount of memory such as 983.1MiB")
    return round(float(found.group(1)) * UNITS[found.group(2).upper()] / 2**20, 1)


def docker(*arguments: str) -> list[str]:
    """Return the lines that a docker command prints; subprocess.CalledProcessError when it fails."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.splitlines()


def memory(prefix: str) -> dict[str, float]:
    """Return the memory in MiB that each running container of the cluster uses, page cache excluded."""
    pairs = (line.split(" ", 1) for line in docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"))
    return {name: mebibytes(usage.split(" / ")[0]) for name, usage in pairs if name.startswith(prefix)}


def images(ledger: Path) -> list[dict[str, Any]]:
    """Return name, size in MiB and source of each image of the platform; of several builds of one image the newest.

    The size is that of all layers; layers that images share (the Debian base, Python) count with each of them.
    """
    sources: dict[str, str] = json.loads(ledger.read_text(encoding="utf-8")) if ledger.is_file() else {}
    found: dict[str, dict[str, Any]] = {}
    for line in docker("image", "ls", "--filter", "reference=bookstore.local/*", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}"):
        reference, size = line.split(" ", 1)
        name = reference.partition(":")[0].removeprefix("bookstore.local/")
        # docker lists the newest first.
        found.setdefault(name, {"image": name, "mib": mebibytes(size), "source": sources.get(reference, "")})
    return sorted(found.values(), key=lambda row: -row["mib"])


def main() -> None:
    """Print the figures as tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=REPORTS / "bringup.json", help="what make up wrote (default %(default)s)")
    parser.add_argument("--ledger", type=Path, default=STATE / "ledger.json", help="the factory's ledger")
    parser.add_argument("--cluster", default="bookstore", help="name of the cluster (default %(default)s)")
    parser.add_argument("--json", type=Path, default=REPORTS / "perf-bringup.json", help="file for the figures (default %(default)s)")
    arguments = parser.parse_args()
    if not arguments.report.is_file():
        sys.exit(f"{arguments.report} does not exist: run `make up` first")
    run = json.loads(arguments.report.read_text(encoding="utf-8"))
    machine, used, built = facts(), memory(f"{arguments.cluster}-"), images(arguments.ledger)
    print(sentence(machine))
    print(f"\n{run['playbook']} of {run['started']}: {run['seconds']} s, ok={run['ok']}, changed={run['changed']}\n")
    print(table(("phase", "seconds", "changed"), [(phase["name"], phase["seconds"], phase["changed"]) for phase in run["phases"]]))
    print(f"\nMemory in use: {sum(used.values()):.0f} MiB\n")
    print(table(("container", "MiB"), sorted(used.items())))
    print(f"\n{len(built)} images; shared layers count with each\n")
    print(table(("image", "MiB", "source"), [(row["image"], row["mib"], row["source"]) for row in built]))
    document = {"machine": machine, "run": run, "memory_mib": used, "images": built}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    print(f"\nwritten to {arguments.json}")


if __name__ == "__main__":
    main()
