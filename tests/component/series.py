"""What a program tells Prometheus, and which of it its role promises."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
# One sample of the text format; values that are no numbers are NaN or infinite.
SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Samples = dict[str, list[tuple[dict[str, str], float]]]


def promised(role: str) -> dict[str, set[str]]:
    """Return the series of a role's README and their labels: the rows of its table below the heading Series."""
    text = (ROOT / f"roles/{role}/README.md").read_text(encoding="utf-8")
    section = text.split("\n## Series\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(\w+)(?:\{([\w, ]*)\})?` \|", section, re.MULTILINE)
    assert rows, f"roles/{role}/README.md promises no series"
    return {name: set(filter(None, re.split(r",\s*", labels))) for name, labels in rows}


def parse(text: str) -> Samples:
    """Read Prometheus' text format, in which a series occurs once."""
    found: Samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            sample = SAMPLE.fullmatch(line)
            assert sample, f"no sample: {line!r}"
            labels, told = dict(LABEL.findall(sample["labels"] or "")), found.setdefault(sample["name"], [])
            assert labels not in [other for other, _ in told], f"told twice: {line!r}"
            told.append((labels, float(sample["value"])))
    return found


def scrape(port: int, path: str = "/metrics") -> Samples:
    """Ask once, as Prometheus does."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return parse(answer.read().decode())


def scraped(port: int) -> Samples:
    """Ask until somebody answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return scrape(port)
        except OSError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"nobody tells anything on port {port} within {PATIENCE_SECONDS:.0f} s: {error}") from error
            time.sleep(0.1)  # the step of a bounded poll


def value(samples: Samples, name: str, /, **labels: str) -> float | None:
    """Return the only sample that has these labels, or None."""
    found = [number for have, number in samples.get(name, []) if labels.items() <= have.items()]
    assert len(found) < 2, f"{name} has {len(found)} samples with {labels}"
    return found[0] if found else None


def missing(samples: Samples, role: str) -> list[str]:
    """Return what the role promises and nobody told; a label that is absent counts, too."""
    told = {name: set().union(*(labels for labels, _ in found)) for name, found in samples.items()}
    return [
        f"{name}{sorted(labels)}, told: {sorted(told.get(name, []))}"
        for name, labels in promised(role).items()
        if name not in told or not labels <= told[name]
    ]  # fmt: skip
